"""The sections with pictures: what the data is, and the worst mistakes with what spoke for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.images import SPLITS
from eyeline.reports import charts
from eyeline.reports.data import ReportData
from eyeline.reports.embed import PIXELATED, data_uri, enlarged
from eyeline.reports.figures import Context, Judged
from eyeline.reports.overlay import draw_overlay, evidence_scale, signed_evidence
from eyeline.reports.text import counted, decimal, percent
from eyeline.verdicts import decide

_MISTAKES = 12  # of each kind
_EXAMPLES = 8  # of each class
_COMPARED = 3  # right calls shown beside them, of each kind
_SIDE = 300  # pixels of a picture in the gallery
_MOST_CLASSES = 24  # with example pictures
_MOST_GROUPS = 240  # with a bar each


def data_section(data: ReportData) -> Context:
    """Images a class and part, groups, examples, licence."""
    table = data.table
    splits = np.asarray(data.splits)
    parts = [part for part in SPLITS if (splits == part).any()]
    labels = np.asarray(table.labels)
    groups = None if table.groups is None else np.asarray(table.groups)
    classes = [
        {
            "name": name,
            "good": name == table.good,
            "counts": [f"{int(((labels == name) & (splits == part)).sum()):,}" for part in parts],
            "total": f"{int((labels == name).sum()):,}",
            "share": percent(float((labels == name).mean())),
        }
        for name in table.classes
    ]
    return {
        "parts": parts,
        "classes": classes,
        "totals": [f"{int((splits == part).sum()):,}" for part in parts],
        "images": f"{len(table):,}",
        "groups": None
        if groups is None
        else {
            "parts": [f"{len(np.unique(groups[splits == part])):,}" for part in parts],
            "total": f"{len(np.unique(groups)):,}",
        },
        "group_sentence": _group_sentence(data),
        "group_bars": None if groups is None else _group_bars(data, groups, splits),
        "examples": _examples(data),
        "licence": table.licence,
        "unusable": [{"path": path, "reason": reason} for path, reason in list(data.unusable.items())[:20]],
        "unusable_count": len(data.unusable),
        "skipped": counted(len(table.skipped), "other file") if table.skipped else "",
    }


def _group_sentence(data: ReportData) -> str:
    table = data.table
    if table.groups is None:
        return (
            "No groups are known: images were dealt out one by one. If several images show the same part, lot or "
            "module, name them with --group-by, or every figure here is too good."
        )
    kind, _, rule = table.group_source.partition(": ")
    found = {"inferred": "Groups are inferred", "given": "Groups are given"}.get(kind, "Groups come")
    torn = _torn(data)
    kept = (
        "No group is on two sides of the split."
        if torn == 0
        else f"{counted(torn, 'group')} have images on both sides of the split: the figures are too good for "
        "new groups."
    )
    return f"{found} ({rule or kind}). {kept}"


def _torn(data: ReportData) -> int:
    """How many groups have images in more than one part."""
    pairs = {(g, s) for g, s in zip(data.table.groups or (), data.splits, strict=False) if s}
    return sum(n > 1 for n in Counter(group for group, _ in pairs).values())


def _group_bars(data: ReportData, groups: NDArray[Any], splits: NDArray[Any]) -> Any:
    names, index = np.unique(groups, return_inverse=True)
    if not 1 < len(names) <= _MOST_GROUPS:
        return None
    images = np.bincount(index)
    share = np.bincount(index, weights=data.table.is_defect) / images
    part: dict[str, str] = {}
    for group, split in zip(groups.tolist(), splits.tolist(), strict=True):
        part[group] = split if part.get(group, split) == split else "mixed"
    order = np.argsort(-share, kind="stable")
    return charts.group_bars(
        [(str(names[i]), float(share[i]), int(images[i]), part[names[i]]) for i in order]
    )


def _examples(data: ReportData) -> list[Context]:
    """A few pictures of every class, evenly spaced through the table so that they come from many groups."""
    table = data.table
    shown = table.classes[:_MOST_CLASSES]
    limit = 14_000 if len(shown) <= 4 else 7_000
    examples = []
    for number, name in enumerate(shown):
        usable = [i for i in np.flatnonzero(table.targets == number) if table.paths[i] not in data.unusable]
        picked = np.linspace(0, len(usable) - 1, min(_EXAMPLES, len(usable))).round().astype(int)
        pictures = []
        for i in (int(usable[p]) for p in picked):
            picture = enlarged(data.pixels(i), 168)
            pictures.append({"uri": data_uri(picture, side=168, limit=limit), "path": table.paths[i]})
        if pictures:
            examples.append({"name": name, "good": name == table.good, "pictures": pictures})
    return examples


def mistakes(data: ReportData, judged: Judged) -> Context:
    """Escapes, overkills and mixed-up defects, worst first, and some right calls for comparison."""
    e = data.evaluation
    called = decide(data.probabilities, e.threshold, judged.good, unknown=judged.unknown)
    s, d, fails = judged.scores, judged.is_defect, judged.fails
    mixed = d & fails & (called != judged.targets)
    cards = _Cards(data, judged, called)
    sections = [
        ("escape", "Escapes", "defect", "passed", d & ~fails, s),
        ("overkill", "Overkill", "good part", judged.verb, ~d & fails, -s),
        ("mixed", "Mixed-up defects", "defect", "failed under another name", mixed, -s),
    ]
    kinds = []
    for key, title, noun, verb, chosen, order in sections:
        found = np.flatnonzero(chosen)
        found = found[np.argsort(order[found], kind="stable")]
        if len(found) or key != "mixed":
            kinds.append(
                {
                    "key": key,
                    "title": title,
                    "text": f"{counted(len(found), noun)} {verb}"
                    + (", the surest first" if len(found) > 1 else "")
                    if len(found)
                    else f"no {noun} {verb}",
                    "count": len(found),
                    "cards": [cards.card(int(i)) for i in found[:_MISTAKES]],
                }
            )
    right = [
        *_best(np.flatnonzero(d & fails & (called == judged.targets)), -s),
        *_best(np.flatnonzero(~d & ~fails), s),
    ]
    return {
        "kinds": kinds,
        "right": [cards.card(i) for i in right],
        "scale": cards.scale_text,
        "defect": cards.defect_name,
        "good": e.good,
        "any": any(kind["count"] for kind in kinds),
    }


def _best(found: NDArray[np.int64], order: NDArray[np.float64]) -> list[int]:
    return [int(i) for i in found[np.argsort(order[found], kind="stable")][:_COMPARED]]


class _Cards:
    """Gallery cards of judged images, with evidence drawn on one scale."""

    def __init__(self, data: ReportData, judged: Judged, called: NDArray[np.int64]) -> None:
        self.data, self.judged, self.called = data, judged, called
        self.scale = 1.0
        self.scale_text = ""
        others = [name for name in data.evaluation.classes if name != data.evaluation.good]
        self.defect_name = others[0] if len(others) == 1 else "the likeliest defect"
        if data.evidence is not None:
            self.scale = data.evidence.scale or evidence_scale(
                data.evidence.maps, data.probabilities, good=judged.good
            )
            self.scale_text = decimal(self.scale, 2 if self.scale >= 0.1 else 4)

    def card(self, i: int) -> Context:
        """The context of judged image `i` (not its row in the table)."""
        data, judged = self.data, self.judged
        row = int(data.rows[i])
        table, classes = data.table, data.evaluation.classes
        pixels = data.pixels(row)
        facts = [f"{name} {values[row]}" for name, values in table.slices.items()]
        return {
            "plain": data_uri(enlarged(pixels, _SIDE), side=_SIDE, limit=40_000),
            "overlay": self._overlay(i, pixels),
            "pixelated": max(pixels.shape[:2]) <= PIXELATED,
            "path": table.paths[row],
            "truth": classes[judged.targets[i]],
            "call": classes[self.called[i]],
            "score": decimal(float(judged.scores[i])),
            "group": None if table.groups is None else table.groups[row],
            "facts": facts,
        }

    def _overlay(self, i: int, pixels: NDArray[np.uint8]) -> str | None:
        evidence = self.data.evidence
        if evidence is None:
            return None
        signed = signed_evidence(evidence.maps[i], self.data.probabilities[i], good=self.judged.good)
        drawn = draw_overlay(
            enlarged(pixels, _SIDE),
            signed.values,
            scale=self.scale,
            placement=evidence.placement,
            input_size=evidence.input_size or (pixels.shape[0], pixels.shape[1]),
        )
        return data_uri(drawn, side=_SIDE, limit=40_000)
