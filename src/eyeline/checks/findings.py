"""What a check found, said so that a reader can act on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem of the data, with the images it concerns."""

    kind: str
    """One word or two joined by ``_``: ``unreadable``, ``label_conflict``, ``near_duplicate`` ..."""
    severity: Severity
    """``error``: figures or the network would be wrong; ``warning``: likely worse; ``note``: worth knowing."""
    message: str
    """What was found, one sentence with its numbers."""
    advice: str
    """What to do about it, one sentence."""
    effect: float = 0.0
    """What it may do to the result, from 0 (nothing) to 1 (everything): mostly the share of images concerned, or
    the points of AUROC by which a figure would flatter. Ranks findings of the same severity."""
    rows: tuple[int, ...] = ()
    """Rows of the table, the worst first."""
    details: dict[str, Any] = field(default_factory=dict)
    """Plain values for a program: pairs of rows, thresholds, measured figures."""

    def to_dict(self, paths: Sequence[str]) -> dict[str, Any]:
        """Plain values; `paths` are those of the table."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "advice": self.advice,
            "effect": round(self.effect, 4),
            "paths": [paths[row] for row in self.rows],
            "details": self.details,
        }


def rank_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then by effect; equal ones keep their order."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.effect))
