"""Judging numbers: figures with intervals, thresholds, calibration, promises, comparisons and costs.

NumPy and pydantic only at import; SciPy inside the functions that need it. Never torch.
"""

from __future__ import annotations

from eyeline.verdicts.agreement import Agreement, cohen_kappa, fleiss_kappa
from eyeline.verdicts.appraisal import (
    AIAG_LIMITS,
    Appraisal,
    Appraiser,
    Grade,
    Pair,
    appraise,
    grade,
)
from eyeline.verdicts.baseline import Baseline
from eyeline.verdicts.beta import CLIP, BetaCalibration, fit_beta, log_loss
from eyeline.verdicts.calibrate import choose_calibration
from eyeline.verdicts.calibration import (
    Temperature,
    fit_temperature,
    log_softmax,
    negative_log_likelihood,
    softmax,
)
from eyeline.verdicts.choice import Choice, Wishes, choose_cuts
from eyeline.verdicts.claim_check import ClaimCheck, check_claim
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
from eyeline.verdicts.cusum import Cusum, average_run_length, run_cusum
from eyeline.verdicts.detection import Detection, fit_detection
from eyeline.verdicts.drift import (
    Batch,
    Drift,
    DriftTest,
    ScoreDrift,
    population_stability,
    watch_shift,
)
from eyeline.verdicts.evaluation import ClassRates, Evaluation, SliceRates, evaluate
from eyeline.verdicts.growth import Forecast, Growth, GrowthCurve, fit_power_law
from eyeline.verdicts.guarantee import Demand, Guarantee, guaranteed_threshold
from eyeline.verdicts.intervals import clopper_pearson, delong, delong_variance, wilson
from eyeline.verdicts.metrics import (
    Decision,
    auroc,
    average_precision,
    brier,
    confusion_matrix,
    decide,
    decisions,
    defect_scores,
    expected_calibration_error,
)
from eyeline.verdicts.novelty import (
    FeatureSpace,
    UnknownFigures,
    UnknownRule,
    fit_space,
    unknown_figures,
    unknown_rule,
)
from eyeline.verdicts.promises import LineCosts, Promises, judge_promises, line_costs
from eyeline.verdicts.rates import Rate
from eyeline.verdicts.review import (
    ReviewBand,
    ReviewFigures,
    cost_band,
    guaranteed_band,
    review_figures,
)
from eyeline.verdicts.samplesize import provable_detection, success_run, success_run_table
from eyeline.verdicts.selection import choose_next, uncertainty
from eyeline.verdicts.threshold import choose_threshold

__all__ = [
    "AIAG_LIMITS",
    "CLIP",
    "Agreement",
    "Appraisal",
    "Appraiser",
    "Baseline",
    "Batch",
    "BetaCalibration",
    "Choice",
    "ClaimCheck",
    "ClassRates",
    "Comparison",
    "CostCurve",
    "Costs",
    "Cusum",
    "Decision",
    "Demand",
    "Detection",
    "Drift",
    "DriftTest",
    "Evaluation",
    "FeatureSpace",
    "Forecast",
    "Grade",
    "Growth",
    "GrowthCurve",
    "Guarantee",
    "LineCosts",
    "LineFigures",
    "Pair",
    "PrecisionRecallCurve",
    "Promises",
    "Rate",
    "ReliabilityCurve",
    "ReviewBand",
    "ReviewFigures",
    "RocCurve",
    "ScoreDrift",
    "SliceRates",
    "Temperature",
    "UnknownFigures",
    "UnknownRule",
    "Wishes",
    "appraise",
    "auroc",
    "auroc_permutation_test",
    "average_precision",
    "average_run_length",
    "brier",
    "check_claim",
    "choose_calibration",
    "choose_cuts",
    "choose_next",
    "choose_threshold",
    "clopper_pearson",
    "cohen_kappa",
    "compare_models",
    "confusion_matrix",
    "cost_band",
    "cost_curve",
    "cost_threshold",
    "decide",
    "decisions",
    "defect_scores",
    "delong",
    "delong_test",
    "delong_variance",
    "design_effect",
    "effective_groups",
    "evaluate",
    "expected_calibration_error",
    "fit_beta",
    "fit_detection",
    "fit_power_law",
    "fit_space",
    "fit_temperature",
    "fleiss_kappa",
    "grade",
    "group_permutation_test",
    "guaranteed_band",
    "guaranteed_threshold",
    "holm",
    "intraclass_correlation",
    "judge_promises",
    "line_costs",
    "line_figures",
    "log_loss",
    "log_softmax",
    "mcnemar_test",
    "negative_log_likelihood",
    "outgoing_defect_rate",
    "population_stability",
    "precision_recall_curve",
    "provable_detection",
    "reliability_curve",
    "review_band",
    "review_figures",
    "roc_curve",
    "run_cusum",
    "shift_prior",
    "softmax",
    "success_run",
    "success_run_table",
    "uncertainty",
    "unknown_figures",
    "unknown_rule",
    "watch_shift",
    "wilson",
]
