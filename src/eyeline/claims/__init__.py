"""The textbook's claims about convolutional networks as experiments with a verdict each.

Looking at names and results imports no torch; measuring does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from eyeline.claims.claim import (
    ArmFacts,
    Chart,
    Check,
    Claim,
    ClaimResult,
    Contrast,
    Findings,
    Series,
    Settings,
    Word,
)
from eyeline.claims.judging import ENOUGH, contrast, judge_together

if TYPE_CHECKING:
    from eyeline.claims.registry import claim_names, find_claim, measure_claim, missing_data

_MEASURING = ("claim_names", "find_claim", "measure_claim", "missing_data")  # these need torch, in the end

__all__ = [
    "ENOUGH",
    "ArmFacts",
    "Chart",
    "Check",
    "Claim",
    "ClaimResult",
    "Contrast",
    "Findings",
    "Series",
    "Settings",
    "Word",
    "claim_names",
    "contrast",
    "find_claim",
    "judge_together",
    "measure_claim",
    "missing_data",
]


def __getattr__(name: str) -> Any:
    if name in _MEASURING:
        return getattr(importlib.import_module("eyeline.claims.registry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
