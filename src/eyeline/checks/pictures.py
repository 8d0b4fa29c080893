"""What is odd about single pictures: unreadable, blank, clipped, blurred, of another size or kind.

Outliers are judged among their own: by class for exposure, by class and slices for sharpness. A dark solar
cell is no fault of the camera when all cells of its kind are dark.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from eyeline.checks.findings import Finding, Severity, rank_findings
from eyeline.checks.scan import Scan
from eyeline.images import ImageTable

# Training refuses a table with a larger share of unusable files (--max-bad).
MAX_BAD = 0.01
# One grey level: less than the noise of any camera, so nothing was photographed.
BLANK_DEVIATION = 1.0
# A quarter of the picture more than its class usually clips is worth a look; less is a reflection or a hole.
CLIPPED_ABOVE_CLASS = 0.25
# Robust standard deviations (1.4826 MAD) from the median. Real spreads have longer tails than a normal
# distribution, so each outlier must also differ by an amount that matters by itself.
OUTLIER = 4.0
# A Gaussian blur of two pixels at the measured size takes ELPV cells and textured parts below this share.
BLURRED_SHARE = 1 / 3
# Fewer pictures of a kind tell nothing about what is usual.
FEWEST_PEERS = 20
# Twice as large is common practice for pretrained networks; beyond it pixels are mostly interpolated.
ENLARGED = 2.0
# Squashing changes a shape by its ratio of sides; 10 % is about where shapes visibly change.
ASPECT_SPREAD = 1.1

_COLOUR_MODES = ("RGB", "RGBA", "CMYK", "YCbCr")

Floats = NDArray[np.float64]


def picture_findings(
    scan: Scan,
    table: ImageTable,
    image_size: tuple[int, int] | None = None,
    *,
    resize: str = "squash",
) -> list[Finding]:
    """Everything that this file can find, ranked.

    Parameters
    ----------
    scan : of the same table.
    image_size : the planned input ``(H, W)`` of the network.
    resize : how pictures come to that size.
    """
    return rank_findings(
        [
            *unreadable(table, scan),
            *skipped(table),
            *wrong_extension(table, scan),
            *mixed_kinds(scan),
            *colour_unneeded(scan),
            *blank(table, scan),
            *badly_exposed(table, scan),
            *blurred(table, scan),
            *odd_sizes(table, scan, resize),
            *enlarged(table, scan, image_size),
        ]
    )


def unreadable(table: ImageTable, scan: Scan) -> list[Finding]:
    """Files that training could not use either, one finding for each reason."""
    by_code: dict[str, list[int]] = defaultdict(list)
    for row, error in scan.errors.items():
        by_code[error.code].append(row)
    severity: Severity = "error" if len(scan.errors) > MAX_BAD * len(table) else "warning"
    return [
        Finding(
            kind="unreadable",
            severity=severity,
            message=f"{_of(rows, table)} cannot be used, {code}: {scan.errors[rows[0]].message}"
            f"{' (the first)' if len(rows) > 1 else ''}.",
            advice="Save or copy them again from the source, or take them out; training leaves them out, and "
            f"stops when they are more than {MAX_BAD:.0%}.",
            effect=len(rows) / len(table),
            rows=tuple(rows),
            details={"code": code},
        )
        for code, rows in sorted(by_code.items(), key=lambda item: -len(item[1]))
    ]


def skipped(table: ImageTable) -> list[Finding]:
    """Files that lie in the folder and did not come into the table."""
    if not table.skipped:
        return []
    reasons = Counter(table.skipped.values())
    path, reason = next(iter(table.skipped.items()))
    many = len(table.skipped) != 1
    return [
        Finding(
            kind="skipped",
            severity="warning",
            message=f"{len(table.skipped)} {'files were' if many else 'file was'} left out, "
            f"{'the first ' if many else ''}{path} ({reason}).",
            advice="Move them to where they belong, or away; they are neither trained nor tested on.",
            effect=len(table.skipped) / (len(table) + len(table.skipped)),
            details={"reasons": dict(reasons), "files": dict(list(table.skipped.items())[:100])},
        )
    ]


def wrong_extension(table: ImageTable, scan: Scan) -> list[Finding]:
    """Files that are called like another format than they have."""
    rows = np.flatnonzero(~scan.extension_agrees).tolist()
    if not rows:
        return []
    return [
        Finding(
            kind="wrong_extension",
            severity="note",
            message=f"{_of(rows, table)} have a name that ends like another format; the first is a "
            f"{scan.format[rows[0]]}.",
            advice="Nothing is lost here, since formats are known by content; rename them for other programs.",
            effect=0.0,
            rows=tuple(rows),
            details={"formats": dict(Counter(scan.format[row] for row in rows))},
        )
    ]


def mixed_kinds(scan: Scan) -> list[Finding]:
    """Bit depths, colour and formats that differ within the table."""
    modes = np.array(scan.mode)
    deep = np.char.startswith(modes, "I;16")
    findings = [
        *_mixed(
            scan,
            kind="mixed_depths",
            what="bits a pixel",
            values=np.where(deep, "16 bits", "8 bits"),
            severity="warning",
            advice="16-bit values are divided by 257: if the camera fills only 10 or 12 bits of them, these pictures "
            "come out dark; bring all to 8 bits in one way first.",
        ),
        *_mixed(
            scan,
            kind="mixed_colours",
            what="colours",
            values=np.where(scan.grey, "grey", "colour"),
            severity="warning",
            advice="Train on grey, or find out why some pictures have no colour.",
        ),
    ]
    if not findings:  # otherwise it has been said
        findings = _mixed(
            scan,
            kind="mixed_modes",
            what="way of storing pixels",
            values=modes,
            severity="note",
            advice="They are all brought to one form; find out whether they come from one camera.",
        )
    return findings + _mixed(
        scan,
        kind="mixed_formats",
        what="file formats",
        values=np.array(scan.format),
        severity="note",
        advice="They are all decoded alike, but compression leaves traces; prefer one format without losses.",
    )


def _mixed(
    scan: Scan, *, kind: str, what: str, values: NDArray[np.str_], severity: Severity, advice: str
) -> list[Finding]:
    counts = Counter(values[scan.usable].tolist()).most_common()
    if len(counts) < 2:
        return []
    rows = np.flatnonzero(scan.usable & (values != counts[0][0])).tolist()
    return [
        Finding(
            kind=kind,
            severity=severity,
            message=f"The pictures differ in their {what}: "
            f"{', '.join(f'{name} ({count})' for name, count in counts)}.",
            advice=advice,
            effect=len(rows) / len(scan) if severity == "warning" else 0.0,
            rows=tuple(rows),
            details={"counts": dict(counts)},
        )
    ]


def colour_unneeded(scan: Scan) -> list[Finding]:
    """Files that are all stored in colour and hold nothing but grey."""
    stored = [
        mode in _COLOUR_MODES and name != "memory" for mode, name in zip(scan.mode, scan.format, strict=True)
    ]
    if not scan.usable.any() or not (np.array(stored) & scan.grey)[scan.usable].all():
        return []
    return [
        Finding(
            kind="colour_unneeded",
            severity="note",
            message=f"All {int(scan.usable.sum())} pictures are stored in colour, yet every pixel is grey.",
            advice="One channel is enough: nothing is lost by storing and training them as grey.",
        )
    ]


def blank(table: ImageTable, scan: Scan) -> list[Finding]:
    """Pictures of one even tone."""
    rows = _worst_first(scan.usable & (scan.deviation < BLANK_DEVIATION), scan.deviation)
    if not rows:
        return []
    return [
        Finding(
            kind="blank",
            severity="warning",
            message=f"{_of(rows, table)} are blank: their grey levels differ by less than {BLANK_DEVIATION:.0f}.",
            advice="Take them out: the shutter, the lamp or the export failed, and no label can be right.",
            effect=len(rows) / len(table),
            rows=tuple(rows),
            details={"levels": [round(float(scan.mean[row]), 1) for row in rows[:100]]},
        )
    ]


def badly_exposed(table: ImageTable, scan: Scan) -> list[Finding]:
    """Pictures with far more clipped pixels than their class has, at the bright or at the dark end."""
    judged = scan.usable & (scan.deviation >= BLANK_DEVIATION)
    findings = []
    for kind, end, share in (
        ("over_exposed", "white", scan.bright),
        ("under_exposed", "black", scan.dark),
    ):
        excess = np.full(len(scan), -np.inf)
        for peers in _peers(list(table.labels), judged):
            median, spread = _robust(share[peers])
            high = share[peers] - median > np.maximum(CLIPPED_ABOVE_CLASS, OUTLIER * spread)
            excess[peers] = np.where(high, share[peers] - median, -np.inf)
        rows = _worst_first(excess > -np.inf, -excess)
        if rows:
            findings.append(
                Finding(
                    kind=kind,
                    severity="warning",
                    message=f"{_of(rows, table)} are {kind.replace('_', '-')}: up to "
                    f"{share[rows[0]]:.0%} of their pixels are {end}, far more than usual in their class "
                    f"(median {np.median(share[judged]):.1%} in the table).",
                    advice="Look at them: no defect can be seen in clipped pixels; photograph them again or "
                    "take them out.",
                    effect=len(rows) / len(table),
                    rows=tuple(rows),
                    details={"shares": [round(float(share[row]), 3) for row in rows[:100]]},
                )
            )
    return findings


def blurred(table: ImageTable, scan: Scan) -> list[Finding]:
    """Pictures much less sharp than others of the same class and slices."""
    judged = scan.usable & (scan.deviation >= BLANK_DEVIATION) & (scan.sharpness > 0)
    logs = np.log(np.where(scan.sharpness > 0, scan.sharpness, 1.0))
    below = np.zeros(len(scan))
    strata = list(zip(table.labels, *table.slices.values(), strict=True))
    for peers in _peers(strata, judged, fallback=list(table.labels)):
        median, spread = _robust(logs[peers])
        less = median - logs[peers]
        below[peers] = np.where(less > max(-np.log(BLURRED_SHARE), OUTLIER * spread), less, 0.0)
    rows = _worst_first(below > 0, -below)
    if not rows:
        return []
    ratio = float(np.exp(below[rows[0]]))
    return [
        Finding(
            kind="blurred",
            severity="warning",
            message=f"{_of(rows, table)} are blurred: the worst has {1 / ratio:.0%} of the sharpness that is "
            "usual among its own.",
            advice="Look at them: out of focus, moved, or a wet lens; fine defects cannot be seen in them.",
            effect=len(rows) / len(table),
            rows=tuple(rows),
            details={"sharpness": [round(float(scan.sharpness[row]), 4) for row in rows[:100]]},
        )
    ]


def odd_sizes(table: ImageTable, scan: Scan, resize: str) -> list[Finding]:
    """Pictures of another size than most, and shapes that squashing would distort."""
    if not scan.usable.any():
        return []
    sizes = np.array([f"{w} x {h}" for w, h in zip(scan.width, scan.height, strict=True)])
    usable = np.flatnonzero(scan.usable)
    counts = Counter(sizes[usable].tolist()).most_common()
    findings = []
    aspect = np.ones(len(scan))
    aspect[usable] = scan.width[usable] / scan.height[usable]
    usual = float(np.median(aspect[usable]))
    distortion = np.exp(np.abs(np.log(aspect / usual)))
    if len(counts) > 1:
        others = scan.usable & (sizes != counts[0][0])
        rows = _worst_first(others, -distortion)
        shown = ", ".join(f"{name} ({count})" for name, count in counts[:4])
        findings.append(
            Finding(
                kind="odd_size",
                severity="note",
                message=f"The pictures have {len(counts)} sizes: {shown}{', ...' if len(counts) > 4 else ''}.",
                advice="All are brought to one size; look at the odd ones, they may be crops or come from "
                "elsewhere.",
                rows=tuple(rows),
                details={"sizes": dict(counts[:100])},
            )
        )
    stretched = _worst_first(scan.usable & (distortion > ASPECT_SPREAD), -distortion)
    if stretched:
        findings.append(
            Finding(
                kind="mixed_aspects",
                severity="warning" if resize == "squash" else "note",
                message=f"{_of(stretched, table)} have another shape than most; squashed to one size they would be "
                f"distorted by up to a factor of {distortion[stretched[0]]:.1f}.",
                advice="Use --resize letterbox, which keeps the shape and adds bars.",
                effect=len(stretched) / len(table) if resize == "squash" else 0.0,
                rows=tuple(stretched),
                details={
                    "usual_aspect": round(usual, 3),
                    "factor": round(float(distortion[stretched[0]]), 2),
                },
            )
        )
    return findings


def enlarged(table: ImageTable, scan: Scan, image_size: tuple[int, int] | None) -> list[Finding]:
    """Pictures that are far smaller than the planned input."""
    if image_size is None:
        return []
    height, width = image_size
    factor = np.zeros(len(scan))
    usable = scan.usable
    factor[usable] = np.minimum(height / scan.height[usable], width / scan.width[usable])
    rows = _worst_first(factor > ENLARGED, -factor)
    if not rows:
        return []
    return [
        Finding(
            kind="enlarged",
            severity="note",
            message=f"{_of(rows, table)} are much smaller than the input of {height} x {width} pixels: they are "
            f"enlarged by up to {factor[rows[0]]:.1f} times.",
            advice="Enlarging adds work and no detail: choose a smaller --image-size, or take larger pictures.",
            rows=tuple(rows),
            details={"factor": round(float(factor[rows[0]]), 2)},
        )
    ]


# --- among its own --------------------------------------------------------------------------------


def _peers(
    strata: Sequence[object], judged: NDArray[np.bool_], fallback: Sequence[object] = ()
) -> Iterator[NDArray[np.intp]]:
    """Rows of one stratum each, among `judged`. Rows of small strata are pooled by `fallback`, else left out."""
    by_stratum: dict[object, list[int]] = defaultdict(list)
    small: dict[object, list[int]] = defaultdict(list)
    for row in np.flatnonzero(judged).tolist():
        by_stratum[strata[row]].append(row)
    for rows in by_stratum.values():
        if len(rows) >= FEWEST_PEERS:
            yield np.array(rows)
        elif len(fallback):
            for row in rows:
                small[fallback[row]].append(row)
    yield from (np.array(rows) for rows in small.values() if len(rows) >= FEWEST_PEERS)


def _robust(values: Floats) -> tuple[float, float]:
    """Median, and the median absolute deviation scaled to the standard deviation of a normal distribution."""
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(values - median)))


def _worst_first(chosen: NDArray[np.bool_], key: Floats) -> list[int]:
    rows = np.flatnonzero(chosen)
    order: list[int] = rows[np.argsort(key[rows], kind="stable")].tolist()
    return order


def _of(rows: Sequence[int], table: ImageTable) -> str:
    share = len(rows) / len(table)
    shown = f"{share:.1%}" if share >= 0.0005 else "under 0.1%"
    return f"{len(rows):,} of {len(table):,} pictures ({shown})"
