"""Which interval suits which figure: exact where that exists, by whole groups where there are groups."""

from __future__ import annotations

import math

import numpy as np

from eyeline.verdicts import clusters, intervals
from eyeline.verdicts.intervals import Bounds
from eyeline.verdicts.metrics import Floats, pass_fail
from eyeline.verdicts.rates import Rate, known
from eyeline.verdicts.sample import Sample

# Below this many of either class the normal theory behind DeLong is not to be trusted.
FEW = 10


class Judge:
    """The figures of one sample, each as a `Rate`. A unit is a group, or an image without groups."""

    def __init__(self, sample: Sample, confidence: float, resamples: int, seed: int) -> None:
        self.sample, self.confidence = sample, confidence
        self.values = sample.estimate()
        self.draws = sample.resampled(resamples, seed)
        self.grouped = sample.groups is not None
        self.units = "groups" if self.grouped else "images"
        self.decisions = pass_fail(sample.confusions, sample.good)  # (U, 2, 2)

    def rate(self, name: str) -> Rate:
        """The figure `name` of `Sample.figures` with its interval."""
        c, d = self.sample.confusions, self.decisions
        if name == "accuracy":
            return self._share(name, np.trace(c, axis1=1, axis2=2), c.sum(axis=(1, 2)))
        if name == "escape_rate":
            return self._share(name, d[:, 1, 0], d[:, 1].sum(axis=1))
        if name == "overkill_rate":
            return self._share(name, d[:, 0, 1], d[:, 0].sum(axis=1))
        value = float(self.values[name])
        if math.isnan(value) or (name == "average_precision" and self._holding()[1] == 0):
            return Rate.empty()  # without good parts the precision is 1 whatever the scores
        if name == "auroc":
            bounds, method = self._auroc(value)
        elif name == "average_precision" and value == 1.0:
            bounds, method = self._separated()
        elif name == "f1":
            bounds, method = self._agreement(self.draws[name], value, d[:, 1].sum(axis=1)[:, None], 2)
        elif name in ("balanced_accuracy", "macro_f1"):
            risks = 1 if name == "balanced_accuracy" else 2
            bounds, method = self._agreement(self.draws[name], value, c.sum(axis=2), risks)
        else:
            bounds, method = self._bootstrap(self.draws[name], value)
        return Rate(
            value=value, low=known(bounds[0]), high=known(bounds[1]), method=method, n=len(self.sample)
        )

    def class_rates(self, k: int) -> tuple[int, Rate, Rate, Rate]:
        """Images, precision, recall and F1 of class k."""
        c = self.sample.confusions
        called, true, hits = c[:, :, k].sum(axis=1), c[:, k, :].sum(axis=1), c[:, k, k]
        value, f1 = float(self.values["class_f1"][k]), Rate.empty()
        if not math.isnan(value):
            (low, high), method = self._agreement(self.draws["class_f1"][:, k], value, true[:, None], 2)
            n = int((true + called - hits).sum())
            f1 = Rate(value=value, low=known(low), high=known(high), method=method, n=n)
        precision = self._share("precision", hits, called, k)
        return int(true.sum()), precision, self._share("recall", hits, true, k), f1

    def _share(self, name: str, hits: Floats, trials: Floats, k: int | None = None) -> Rate:
        """A figure that counts hits among trials, both `(U,)`."""
        count, n = int(hits.sum()), int(trials.sum())
        if n == 0:
            return Rate.empty()
        if not self.grouped:
            (low, high), method = intervals.clopper_pearson(count, n, self.confidence), "Clopper-Pearson"
        elif count in (0, n) or (trials > 0).sum() < 2:
            # No difference between groups was seen, so each group counts as a single image.
            low, high = clusters.clopper_pearson_grouped(hits, trials, self.confidence)
            method = "Clopper-Pearson on groups"
        else:
            draws = self.draws[name] if k is None else self.draws[name][:, k]
            units = clusters.effective_groups(trials)
            candidates = {
                clusters.BY_DESIGN_EFFECT: clusters.clopper_pearson_grouped(hits, trials, self.confidence),
                "group bootstrap": intervals.percentile(draws, self.confidence, units),
            }
            # The more careful of the two.
            method = max(candidates, key=lambda m: np.nan_to_num(candidates[m][1] - candidates[m][0]))
            low, high = candidates[method]
        return Rate(value=count / n, low=low, high=high, method=method, n=n, count=count)

    def _bootstrap(self, draws: Floats, value: float) -> tuple[Bounds, str]:
        low, high = intervals.percentile(draws, self.confidence, self._effective_units())
        if math.isnan(low):
            return (low, high), f"a single {self.units[:-1]} has no spread"
        # The ECE is biased upward, more so in resamples; an interval always reaches its estimate.
        return (min(low, value), max(high, value)), f"{self.units[:-1]} bootstrap"

    def _effective_units(self) -> float:
        """Units of equal size that the sample is worth; of goods and defects, those held by fewer decide."""
        kinds = [n for n in (self.decisions[:, 0].sum(axis=1), self.decisions[:, 1].sum(axis=1)) if n.any()]
        return min(clusters.effective_groups(n) for n in kinds)

    def _auroc(self, value: float) -> tuple[Bounds, str]:
        sample, d = self.sample, self.sample.is_defect
        perfect = value in (0.0, 1.0)
        if self.grouped:
            known_draws, units = self.draws["auroc"][~np.isnan(self.draws["auroc"])], self._effective_units()
            if not perfect and units > 1 and np.ptp(known_draws) > 0:
                # The AUROC is skewed: the percentiles of its draws cover too little (docs/verdicts.md).
                spread = float(known_draws.std()) * math.sqrt(units / (units - 1))
                bounds = intervals.logit_interval(value, spread, self.confidence, units)
                return bounds, "group bootstrap on the logit scale"
        elif not perfect and min(d.sum(), (~d).sum()) >= FEW and np.ptp(sample.scores) > 0:
            return intervals.delong(sample.scores, d, self.confidence), "DeLong"
        pairs = self._pairs()
        return intervals.auroc_by_pairs(
            value, pairs, self.confidence
        ), f"Clopper-Pearson on pairs of {self.units}"

    def _holding(self) -> tuple[int, int]:
        """How many units hold defects, and how many hold good parts."""
        of_defects, of_goods = (self.decisions[:, row].sum(axis=1) > 0 for row in (1, 0))
        return int(of_defects.sum()), int(of_goods.sum())

    def _pairs(self) -> int:
        """How many disjoint pairs of units, one with a defect and another with a good part, can be formed."""
        return max(1, min(*self._holding(), self.sample.units // 2))

    def _separated(self) -> tuple[Bounds, str]:
        defects, goods = self._holding()
        method = f"exact bound for separated {self.units}"
        rate = float(self.sample.is_defect.mean())
        return intervals.average_precision_separated(defects, goods, rate, self.confidence), method

    def _agreement(self, draws: Floats, value: float, trials: Floats, risks: int) -> tuple[Bounds, str]:
        """A mean over classes of recall (one risk a class) or F1 (two: recall and precision).

        `trials` `(U, C)` counts the images of each class. Where the bootstrap sees no spread, because all or
        none were right, each class is bounded by Clopper-Pearson on its units with the risk divided among
        all bounds used (Bonferroni): F1 >= r when recall and precision both are, F1 <= 2r / (1 + r) when
        recall <= r.
        """
        if value not in (0.0, 1.0):
            return self._bootstrap(draws, value)
        holding = (trials > 0).sum(axis=0)
        holding = holding[holding > 0]
        if len(holding) == 0:
            return (math.nan, math.nan), "no images of the class"
        each = 1 - (1 - self.confidence) / 2 / (risks * len(holding))
        method = f"Clopper-Pearson on the {self.units} of each class"
        if value == 1.0:
            return (float(intervals.lower_bound(holding, holding, each).mean()), 1.0), method
        high = intervals.upper_bound(0, holding, each)
        return (0.0, float((high if risks == 1 else 2 * high / (1 + high)).mean())), method
