"""From the result of a check to what its page draws."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, decode_region
from eyeline.jobs.inputs import display_names
from eyeline.reports import CheckData, Proposal, Suspect

if TYPE_CHECKING:
    from eyeline.jobs.check import Check


def page_data(check: Check) -> CheckData:
    """What `write_check` draws."""
    table, looked = check.table, check.looked
    named = replace(table, paths=display_names(table.paths))

    def picture(row: int) -> NDArray[np.uint8] | None:
        if not looked.scan.usable[row]:
            return None
        try:
            return decode_region(table.source(row), check.decode)
        except EyelineError:  # gone since it was scanned
            return None

    suspects = []
    if check.labels is not None:
        labels = check.labels
        suspects = [
            Suspect(
                row=int(row),
                given=table.classes[given],
                suggested=table.classes[suggested],
                probability=float(labels.quality[row]),
                split="" if table.splits is None else table.splits[row],
            )
            for row, given, suggested in zip(labels.rows, labels.given, labels.suggested, strict=True)
        ]
    return CheckData(
        table=named,
        findings=check.findings,
        picture=picture,
        facts=_facts(check),
        comparisons=check.comparisons,
        proposals=[
            Proposal(
                source=proposal.source,
                rule=proposal.rule or "",
                confidence=proposal.confidence,
                reason=proposal.reason,
                groups=proposal.groups,
            )
            for proposal in looked.proposals
        ],
        suspects=suspects,
        labels_note=check.labels_note,
        labels_judged=check.labels is not None,
        label_rows=_label_rows(table),
    )


def _facts(check: Check) -> dict[str, str]:
    balance = check.looked.balance
    facts = {"Images": f"{len(check.table):,}"}
    if balance.groups is not None:
        facts |= {
            "Groups": f"{balance.groups:,}",
            "Label within groups": f"intraclass correlation {balance.intraclass_correlation:.2f}",
            "Worth": f"{balance.effective_images:,.0f} independent images",
        }
    for each in check.comparisons[-1:]:
        if each.grouped:
            facts["AUROC, random and grouped"] = f"{np.mean(each.random):.2f} and {np.mean(each.grouped):.2f}"
    return facts


def _label_rows(table: ImageTable) -> list[dict[str, str]]:
    """All rows as a manifest with absolute paths, since a browser saves where it likes."""
    if table.pixels is not None:
        return []
    rows = []
    for row, path in enumerate(table.paths):
        values = {"path": os.path.abspath(path), "label": table.labels[row]}
        if table.splits is not None:
            values["split"] = table.splits[row]
        if table.groups is not None:
            values["group"] = table.groups[row]
        if table.masks is not None:
            mask = table.masks[row]
            values["mask"] = "" if mask is None else os.path.abspath(mask)
        if table.weights is not None:
            values["weight"] = repr(table.weights[row])
        rows.append(values | {name: column[row] for name, column in table.slices.items()})
    return rows
