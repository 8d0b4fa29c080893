"""The page of `eyeline explain`: every image with what spoke for a defect and for a good part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eyeline.reports.data import ExplainData, ExplainItem
from eyeline.reports.embed import PIXELATED, data_uri, enlarged
from eyeline.reports.overlay import draw_overlay, evidence_scale, signed_evidence
from eyeline.reports.page import write_page
from eyeline.reports.text import decimal, percent, signed

MOST = 400  # images on one page
_SIDE = 300
_PAGE = 5_000_000  # bytes for all pictures together


def explain_scale(items: Sequence[ExplainItem], *, good: int = 0) -> float:
    """The one scale of a set of explained images, in logits; see `evidence_scale`."""
    known = [item for item in items if item.evidence is not None and item.logits is not None]
    if not known:
        return 1.0
    maps = np.stack([np.asarray(item.evidence) for item in known])
    return evidence_scale(maps, np.stack([np.asarray(item.logits) for item in known]), good=good)


def write_explain(path: str | Path, data: ExplainData) -> Path:
    """Write the page as one file that opens anywhere, offline. Returns its path.

    At most `MOST` images are shown; the page says how many were left out.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    shown = data.items[:MOST]
    good = data.classes.index(data.good)
    scale = data.scale or explain_scale(data.items, good=good)
    limit = min(40_000, _PAGE // max(1, 2 * len(shown)))
    others = [name for name in data.classes if name != data.good]
    context = {
        "title": data.model,
        "cards": [_card(data, item, good, scale, limit) for item in shown],
        "judged": sum(not item.error for item in data.items),
        "left_out": len(data.items) - len(shown),
        "failed": sum(item.decision == "fail" for item in data.items),
        "reviewed": sum(item.decision == "review" for item in data.items),
        "errors": sum(bool(item.error) for item in data.items),
        "threshold": decimal(data.threshold),
        "high": None if data.high is None else decimal(data.high),
        "scale": decimal(scale, 2 if scale >= 0.1 else 4),
        "defect": others[0] if len(others) == 1 else "the likeliest defect",
        "good": data.good,
    }
    return write_page(path, "explain.html", context)


def _card(data: ExplainData, item: ExplainItem, good: int, scale: float, limit: int) -> dict[str, Any]:
    card: dict[str, Any] = {
        "path": item.path,
        "error": item.error,
        "label": item.label,
        "decision": item.decision,
        "score": decimal(item.score),
        "probability": percent(item.probabilities.get(item.label)),
        "plain": None,
        "overlay": None,
        "pixelated": False,
        "check": None,
    }
    if item.picture is None:
        return card
    size = (item.picture.shape[0], item.picture.shape[1])
    picture = enlarged(item.picture, _SIDE)
    card["plain"] = data_uri(picture, side=_SIDE, limit=limit)
    card["pixelated"] = max(size) <= PIXELATED
    if item.evidence is None or item.logits is None:
        return card
    found = signed_evidence(item.evidence, item.logits, good=good)
    drawn = draw_overlay(
        picture, found.values, scale=scale, placement=data.placement, input_size=data.input_size or size
    )
    card["overlay"] = data_uri(drawn, side=_SIDE, limit=limit)
    if data.bias:
        card["check"] = _check(data, item, found.defect, good, float(found.values.sum()))
    return card


def _check(data: ExplainData, item: ExplainItem, defect: int, good: int, total: float) -> dict[str, Any]:
    """Evidence plus bias against the logit the network gave: the map is the logit, taken apart."""
    logits = np.asarray(item.logits, dtype=np.float64)
    bias = data.bias[defect] - data.bias[good]
    logit = float(logits[defect] - logits[good])
    return {
        "sum": signed(total),
        "bias": signed(bias),
        "logit": signed(logit),
        "exact": abs(total + bias - logit) <= 1e-3 * max(1.0, abs(logit)),
        "name": f"{data.classes[defect]} − {data.good}",
    }
