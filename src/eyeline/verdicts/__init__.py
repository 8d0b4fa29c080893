"""Judging numbers: figures with intervals, thresholds, calibration, promises, comparisons and costs.

NumPy and pydantic only at import; SciPy inside the functions that need it. Never torch.
"""

from __future__ import annotations

from eyeline.verdicts.calibration import (
    Temperature,
    fit_temperature,
    log_softmax,
    negative_log_likelihood,
    softmax,
)
from eyeline.verdicts.clusters import design_effect, effective_groups, intraclass_correlation
from eyeline.verdicts.compare import (
    Comparison,
    auroc_permutation_test,
    compare_models,
    delong_test,
    group_permutation_test,
    holm,
    mcnemar_test,
)
from eyeline.verdicts.cost import (
    CostCurve,
    Costs,
    LineFigures,
    cost_curve,
    cost_threshold,
    line_figures,
    outgoing_defect_rate,
    review_band,
    shift_prior,
)
from eyeline.verdicts.curves import (
    PrecisionRecallCurve,
    ReliabilityCurve,
    RocCurve,
    precision_recall_curve,
    reliability_curve,
    roc_curve,
)
from eyeline.verdicts.evaluation import ClassRates, Evaluation, SliceRates, evaluate
from eyeline.verdicts.guarantee import Demand, Guarantee, guaranteed_threshold
from eyeline.verdicts.intervals import clopper_pearson, delong, delong_variance, wilson
from eyeline.verdicts.metrics import (
    auroc,
    average_precision,
    brier,
    confusion_matrix,
    decide,
    defect_scores,
    expected_calibration_error,
)
from eyeline.verdicts.rates import Rate
from eyeline.verdicts.samplesize import provable_detection, success_run, success_run_table
from eyeline.verdicts.threshold import choose_threshold

__all__ = [
    "ClassRates",
    "Comparison",
    "CostCurve",
    "Costs",
    "Demand",
    "Evaluation",
    "Guarantee",
    "LineFigures",
    "PrecisionRecallCurve",
    "Rate",
    "ReliabilityCurve",
    "RocCurve",
    "SliceRates",
    "Temperature",
    "auroc",
    "auroc_permutation_test",
    "average_precision",
    "brier",
    "choose_threshold",
    "clopper_pearson",
    "compare_models",
    "confusion_matrix",
    "cost_curve",
    "cost_threshold",
    "decide",
    "defect_scores",
    "delong",
    "delong_test",
    "delong_variance",
    "design_effect",
    "effective_groups",
    "evaluate",
    "expected_calibration_error",
    "fit_temperature",
    "group_permutation_test",
    "guaranteed_threshold",
    "holm",
    "intraclass_correlation",
    "line_figures",
    "log_softmax",
    "mcnemar_test",
    "negative_log_likelihood",
    "outgoing_defect_rate",
    "precision_recall_curve",
    "provable_detection",
    "reliability_curve",
    "review_band",
    "roc_curve",
    "shift_prior",
    "softmax",
    "success_run",
    "success_run_table",
    "wilson",
]
