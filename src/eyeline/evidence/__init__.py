"""Where the network looked, and why that is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.evidence.class_maps import class_evidence, require_gap_head
    from eyeline.evidence.placement import map_placement

__all__ = ["class_evidence", "map_placement", "require_gap_head"]

# These need torch, which takes a second to import.
_LAZY = {
    "class_evidence": "class_maps",
    "require_gap_head": "class_maps",
    "map_placement": "placement",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
