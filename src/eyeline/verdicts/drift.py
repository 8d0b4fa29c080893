"""Is the line still what the inspector was measured on? A shift of verdicts against a baseline.

The questions share one false-alarm rate, the same part each (Bonferroni), so that a shift without any change rings at
most that often: the reject rate of the whole shift, of each batch (p-chart), its creeping change (CUSUM), the scores
(Kolmogorov and Smirnov), the share of unreadable pictures and, where the inspector tells them, of unknown objects. The
baseline is itself a sample, of grouped images: every limit allows for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.baseline import FEWEST, Baseline
from eyeline.verdicts.cusum import Cusum, run_cusum
from eyeline.verdicts.intervals import bootstrap
from eyeline.verdicts.metrics import Bools, Floats
from eyeline.verdicts.rates import Verdict

TESTS = 5  # and one more where unknown objects are told
BINS = 10  # of the PSI
FEW_IMAGES = 100  # a baseline worth fewer sees little
_RESAMPLES = 4000


class Batch(Verdict):
    """One point of the p-chart."""

    name: str
    images: int
    stopped: int
    low: int  # fewest and most rejects that do not ring
    high: int
    p_value: float  # two-sided

    @property
    def rings(self) -> bool:
        """Whether it lies outside its limits."""
        return not self.low <= self.stopped <= self.high


class ScoreDrift(Verdict):
    """The scores of a shift against those of the baseline, weighted to the line."""

    ks: float  # largest difference of the two distribution functions
    p_value: float
    at: float  # the score at which they differ most
    psi: float  # population stability index over ten equal-mass bins of the baseline
    psi_by_chance: float  # what samples of this size give without any change, about


class DriftTest(Verdict):
    """One of the questions."""

    name: str
    rings: bool
    p_value: float | None  # None where the question cannot be asked
    text: str


class Drift(Verdict):
    """What `watch_shift` found."""

    images: int
    unreadable: int
    stopped: int
    false_alarm: float
    baseline_rate: float
    baseline_images: int
    baseline_groups: int | None
    baseline_worth: float
    defect_rate: float | None
    shift: Batch
    batches: tuple[Batch, ...]
    cusums: tuple[Cusum, ...]
    scores: ScoreDrift
    tests: tuple[DriftTest, ...]
    alarm: bool
    text: str


def predictive_tail(
    stopped: ArrayLike, images: ArrayLike, hits: float, trials: float, *, upper: bool
) -> Floats:
    """Chance of so many rejects or more (`upper`), or so few or fewer, among `images` after `hits` in `trials`.

    Beta-binomial with the careful posterior. For whole numbers this is Fisher's exact test of the two samples
    (Altham 1969); `trials` may be a fraction, an effective number; infinitely many give the binomial.
    """
    from scipy.stats import betabinom

    k, n = np.asarray(stopped, dtype=np.float64), np.asarray(images, dtype=np.float64)
    misses = trials - hits
    if upper:
        if misses <= 0:
            return np.ones(np.broadcast(k, n).shape)
        return np.asarray(betabinom.sf(k - 1, n, hits + 1, misses), dtype=np.float64)
    if hits <= 0:
        return np.ones(np.broadcast(k, n).shape)
    return np.asarray(betabinom.cdf(k, n, hits, misses + 1), dtype=np.float64)


def exact_batch(name: str, stopped: int, images: int, hits: float, trials: float, level: float) -> Batch:
    """A batch with limits that unchanged batches leave at most with chance `level`."""
    counts = np.arange(images + 1)
    few = predictive_tail(counts, images, hits, trials, upper=False)
    many = predictive_tail(counts, images, hits, trials, upper=True)
    inside = np.flatnonzero(np.minimum(few, many) > level / 2)
    p = min(1.0, 2 * float(min(few[stopped], many[stopped])))
    low, high = (int(inside[0]), int(inside[-1])) if len(inside) else (stopped, stopped)
    return Batch(name=name, images=images, stopped=stopped, low=low, high=high, p_value=p)


def score_drift(
    scores: ArrayLike, baseline: Baseline, *, resamples: int = _RESAMPLES, seed: int = 0
) -> ScoreDrift:
    """Kolmogorov-Smirnov distance of a shift's scores `(M,)` to the baseline, and its PSI.

    The p-value is a bootstrap: whole groups of the baseline are drawn anew and weighted to the line, and so many new
    images from the baseline. The distance is taken at the baseline's scores.
    """
    shift = np.sort(np.asarray(scores, dtype=np.float64))
    order = np.argsort(baseline.scores, kind="stable")
    sorted_scores = baseline.scores[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_scores) > 0, True))
    levels = sorted_scores[ends]
    weights = baseline.weights[order]
    expected = np.cumsum(weights)[ends]
    found = np.searchsorted(shift, levels, side="right") / len(shift)
    gaps = np.abs(found - expected)
    rng = np.random.default_rng(seed)
    unit, units = baseline.units

    def distances(counts: Floats) -> dict[str, Floats]:
        again = np.cumsum(baseline.reweighted(counts[:, unit])[:, order], axis=1)[:, ends]
        new = rng.multinomial(len(shift), weights / weights.sum(), size=len(counts))
        return {"ks": np.abs(np.cumsum(new, axis=1)[:, ends] / len(shift) - again).max(axis=1)}

    draws = bootstrap(distances, units=units, images=len(baseline), resamples=resamples, seed=seed + 1)["ks"]
    known = draws[~np.isnan(draws)]
    ks = float(gaps.max())
    psi, chance = _stability(shift, levels, expected, len(baseline))
    return ScoreDrift(
        ks=ks,
        p_value=float((1 + (known >= ks - 1e-12).sum()) / (1 + len(known))),
        at=float(levels[gaps.argmax()]),
        psi=psi,
        psi_by_chance=chance,
    )


def population_stability(expected: ArrayLike, found: ArrayLike) -> float:
    """PSI of two distributions over the same bins: sum of (q - p) ln(q / p), the divergence made symmetric."""
    p, q = np.asarray(expected, dtype=np.float64), np.asarray(found, dtype=np.float64)
    return float(((q - p) * np.log(q / p)).sum())


def _stability(shift: Floats, levels: Floats, cumulative: Floats, images: int) -> tuple[float, float]:
    """PSI over equal-mass bins of the baseline; half a picture is added to every bin of the shift."""
    cuts = np.unique(np.searchsorted(cumulative, np.arange(1, BINS) / BINS - 1e-12))
    cuts = cuts[cuts < len(levels) - 1]
    p = np.diff(np.concatenate([[0.0], cumulative[cuts], [1.0]]))
    counts = np.diff(np.concatenate([[0], np.searchsorted(shift, levels[cuts], side="right"), [len(shift)]]))
    q = (counts + 0.5) / (len(shift) + 0.5 * len(p))
    return population_stability(p, q), (len(p) - 1) * (1 / len(shift) + 1 / images)


def watch_shift(
    scores: ArrayLike,
    stopped: ArrayLike,
    *,
    baseline: Baseline,
    batches: Sequence[str],
    unreadable: int = 0,
    unknown: int | None = None,
    false_alarm: float = 0.01,
    seed: int = 0,
) -> Drift:
    """Compare a shift with the baseline.

    Parameters
    ----------
    scores, stopped : `(N,)` of the readable images, in the order in which they were judged.
    batches : `(N,)` the batch of each; batches are in the order in which they begin.
    unreadable : further images of the shift that could not be judged.
    unknown : how many of the readable ones lie far from all that the inspector has learned; None where nothing tells.
    false_alarm : chance that a shift without any change rings.

    Raises
    ------
    EyelineError : fewer than 20 images, or arrays that do not fit.
    """
    s, x = np.asarray(scores, dtype=np.float64), np.asarray(stopped, dtype=bool)
    if s.ndim != 1 or s.shape != x.shape or len(batches) != len(s):
        raise EyelineError(f"scores, decisions and batches do not fit: {s.shape}, {x.shape}, {len(batches)}")
    if len(s) < FEWEST:
        raise EyelineError(
            f"the shift holds {len(s)} readable images, at least {FEWEST} are needed", code="too_few"
        )
    if not 0 < false_alarm < 0.5:
        raise EyelineError(
            f"the false-alarm rate is {false_alarm:g}, allowed: between 0 and 0.5", code="bad_option"
        )
    told = unknown is not None and baseline.unknown is not None
    level = false_alarm / (TESTS + told)
    hits, trials = baseline.rate * baseline.worth, baseline.worth
    whole = exact_batch("the shift", int(x.sum()), len(x), hits, trials, level)
    names = list(dict.fromkeys(batches))
    number = {name: i for i, name in enumerate(names)}
    of = np.array([number[name] for name in batches])
    sizes, counts = np.bincount(of), np.bincount(of, weights=x).astype(int)
    points = tuple(
        exact_batch(name, int(k), int(n), hits, trials, level / len(names))
        for name, k, n in zip(names, counts, sizes, strict=True)
    )
    cusums, cusum_test = _creeping(x, baseline, level)
    drifted = score_drift(s, baseline, seed=seed)
    tests: tuple[DriftTest, ...] = (
        _rate_test(whole, baseline.rate),
        _batch_test(points),
        cusum_test,
        DriftTest(
            name="scores",
            rings=drifted.p_value <= level,
            p_value=drifted.p_value,
            text=f"KS distance {drifted.ks:.3f} at a score of {drifted.at:.3f}, PSI {drifted.psi:.3f} "
            f"(by chance about {drifted.psi_by_chance:.3f})",
        ),
        _more_test(
            "unreadable pictures",
            (unreadable, len(s) + unreadable),
            (baseline.unreadable, len(baseline) + baseline.unreadable),
            level,
        ),
    )
    if unknown is not None and baseline.unknown is not None:
        tests += (_more_test("unknown objects", (unknown, len(s)), (baseline.unknown, len(baseline)), level),)
    ringing = [test for test in tests if test.rings]
    return Drift(
        images=len(s),
        unreadable=unreadable,
        stopped=int(x.sum()),
        false_alarm=false_alarm,
        baseline_rate=baseline.rate,
        baseline_images=len(baseline),
        baseline_groups=None if baseline.groups is None else baseline.units[1],
        baseline_worth=trials,
        defect_rate=baseline.defect_rate,
        shift=whole,
        batches=points,
        cusums=cusums,
        scores=drifted,
        tests=tests,
        alarm=bool(ringing),
        text=(
            "; ".join(f"{test.name}: {test.text}" for test in ringing)
            if ringing
            else f"Nothing in these {len(s):,} verdicts differs from the baseline by more than chance."
            + _blind(trials)
        ),
    )


def _blind(worth: float) -> str:
    if worth >= FEW_IMAGES:
        return ""
    return (
        f" But the baseline is worth only {worth:.0f} independent images, so that only a large change would be seen: "
        "take the log of a good shift as baseline."
    )


def _rate_test(whole: Batch, rate: float) -> DriftTest:
    return DriftTest(
        name="reject rate",
        rings=whole.rings,
        p_value=whole.p_value,
        text=f"{whole.stopped:,} of {whole.images:,} did not pass ({whole.stopped / whole.images:.1%}), "
        f"baseline {rate:.1%}, allowed {whole.low:,} to {whole.high:,}",
    )


def _batch_test(points: Sequence[Batch]) -> DriftTest:
    out = [point for point in points if point.rings]
    worst = min(points, key=lambda point: point.p_value)
    text = f"{len(out)} of {len(points)} batches outside their limits"
    if out:
        text += f", most of all {worst.name} with {worst.stopped} of {worst.images}"
    return DriftTest(
        name="batches", rings=bool(out), p_value=min(1.0, len(points) * worst.p_value), text=text
    )


def _creeping(stopped: Bools, baseline: Baseline, level: float) -> tuple[tuple[Cusum, ...], DriftTest]:
    try:
        cusums = tuple(
            run_cusum(stopped, baseline.rate, baseline.allowed(rising=rising), level=level / 2, rising=rising)
            for rising in (True, False)
        )
    except EyelineError as error:
        return (), DriftTest(name="CUSUM", rings=False, p_value=None, text=f"not asked: {error.message}")
    ringing = [chart for chart in cusums if chart.rings]
    text = "neither chart reached its limit"
    if ringing:
        first = min(ringing, key=lambda chart: chart.first or 0)
        text = (
            f"the reject rate {'rises' if first.rising else 'falls'}; rang at verdict {1 + (first.first or 0):,}, "
            f"the change began about verdict {1 + (first.since or 0):,}"
        )
    p = min(1.0, 2 * min(chart.p_value for chart in cusums))
    return cusums, DriftTest(name="CUSUM", rings=bool(ringing), p_value=p, text=text)


def _more_test(name: str, shift: tuple[int, int], baseline: tuple[int, int], level: float) -> DriftTest:
    """Whether there are more of something, (count, of how many), than in the baseline."""
    p = float(predictive_tail(*shift, *baseline, upper=True))
    return DriftTest(
        name=name,
        rings=p <= level,
        p_value=p,
        text=f"{shift[0]:,} of {shift[1]:,}, baseline {baseline[0]:,} of {baseline[1]:,}",
    )
