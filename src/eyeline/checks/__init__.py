"""Checks: what is wrong with a table of images before anything is trained on it."""

from eyeline.checks.balance import Balance, balance_findings, measure_balance
from eyeline.checks.duplicates import Pairs, connected_sets, find_duplicates
from eyeline.checks.findings import Finding, rank_findings
from eyeline.checks.groups import GroupProposal, capture_order, group_findings, propose_groups
from eyeline.checks.labels import (
    LabelReport,
    label_findings,
    label_quality,
    suspicious_labels,
    write_labels,
)
from eyeline.checks.leaks import (
    GroupIdentity,
    LeakScore,
    group_identity,
    inflation,
    leak_findings,
    metadata_findings,
    metadata_leaks,
    thumbnail_leaks,
)
from eyeline.checks.likeness import Evidence, group_evidence
from eyeline.checks.neighbours import describe_thumbnails, nearest, neighbour_probabilities
from eyeline.checks.pictures import picture_findings
from eyeline.checks.repeats import duplicate_findings
from eyeline.checks.scan import Scan, scan_images
from eyeline.checks.tiny import tiny_defect_findings

__all__ = [
    "Balance",
    "Evidence",
    "Finding",
    "GroupIdentity",
    "GroupProposal",
    "LabelReport",
    "LeakScore",
    "Pairs",
    "Scan",
    "balance_findings",
    "capture_order",
    "connected_sets",
    "describe_thumbnails",
    "duplicate_findings",
    "find_duplicates",
    "group_evidence",
    "group_findings",
    "group_identity",
    "inflation",
    "label_findings",
    "label_quality",
    "leak_findings",
    "measure_balance",
    "metadata_findings",
    "metadata_leaks",
    "nearest",
    "neighbour_probabilities",
    "picture_findings",
    "propose_groups",
    "rank_findings",
    "scan_images",
    "suspicious_labels",
    "thumbnail_leaks",
    "tiny_defect_findings",
    "write_labels",
]
