"""When a run has lost its way, it stops before the damage reaches the weights."""

from __future__ import annotations

import math

from eyeline.errors import EyelineError
from eyeline.training.recipe import Recipe

# Times the loss of a network that knows nothing and says so, log K for K classes. No loss that training comes back
# from is near it: a mean over the batch of this size means logits in the hundreds, nearly all of them wrong.
EXPLODED = 1000.0


def refuse_divergence(loss: float, norm: float, step: int, classes: int, recipe: Recipe) -> None:
    """Raise unless the loss of `step` and the `norm` of its gradient are finite and the loss has not exploded.

    Called before the step changes any weight, so that nothing that is saved later is spoilt.

    Raises
    ------
    EyelineError : ``code="diverged"``; the hint says what to try.
    """
    limit = EXPLODED * math.log(max(2, classes))
    if math.isfinite(loss) and math.isfinite(norm) and loss <= limit:
        return
    if not math.isfinite(loss):
        what = f"the loss is {loss}"
    elif not math.isfinite(norm):
        what = f"the norm of the gradient is {norm}"
    else:
        what = f"the loss is {loss:.4g}, more than {limit:.4g},"
    raise EyelineError(
        f"{what} at step {step}: training has diverged",
        code="diverged",
        hint="what was saved before is kept; begin anew with a smaller learning_rate in the recipe, such as "
        f"{recipe.learning_rate / 3:.2g}"
        + ("" if recipe.clip <= 5 else f", or a smaller clip than {recipe.clip:g}, such as 5"),
    )
