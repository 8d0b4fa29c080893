"""The CUSUM of a proportion: creeping changes of the reject rate, verdict by verdict.

Bernoulli CUSUM (Reynolds and Stoumbos 1999): each rejected part adds, each passed part takes away, never below zero
(or the reverse, to see a falling rate). It is tuned to the odds of a reject doubling (or halving). The steps are whole
numbers, so that the run length has an exact Markov chain (Brook and Evans 1972) and nothing is simulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.metrics import Floats, Ints
from eyeline.verdicts.rates import Verdict

ODDS = 2.0  # the change it is tuned to
_FINEST = 2000  # steps a unit: below a rate of about one in 1,400 the chain would be too long
_EXACT = 0.03  # of the reference value that rounding to whole steps may take
_STRETCH, _SETTLED, _GONE = 8, 1e-4, 1e-200
_MOST_STATES = 4000  # of a chain whose average run length is solved for


class Cusum(Verdict):
    """One chart over a shift."""

    rising: bool  # looks for more rejects; else for fewer
    hit: int  # step at a reject
    miss: int  # step at a pass
    limit: int  # it rings when it reaches this
    largest: int
    p_value: float  # of so large a value within a shift this long, when nothing has changed
    first: int | None  # the verdict (from 0) at which it rang
    since: int | None  # the verdict after which it never fell to zero again: where the change began, about
    average_run_length: float | None  # verdicts between two false alarms
    path: tuple[int, ...]

    @property
    def rings(self) -> bool:
        """Whether the limit was reached."""
        return self.largest >= self.limit


def cusum_steps(rate: float, *, rising: bool = True) -> tuple[int, int]:
    """Whole steps (at a reject, at a pass) of the chart tuned to `ODDS` times (or one over) the odds of `rate`.

    Raises
    ------
    EyelineError : the rate is 0 or 1, or too near to it for a chart (``code="too_rare"``).
    """
    if not 0 < rate < 1:
        raise EyelineError(f"no CUSUM for a reject rate of {rate:g}", code="too_rare")
    odds = rate / (1 - rate) * (ODDS if rising else 1 / ODDS)
    other = odds / (1 + odds)
    # The rate at which steps up and down cancel: log-likelihood ratio of a pass over that of pass and reject.
    balance = abs(math.log((1 - other) / (1 - rate))) / math.log(ODDS)
    for down in range(1, _FINEST):
        unit = round(down / balance)
        if unit > _FINEST:
            break
        if unit > down and abs(down / unit - balance) <= _EXACT * min(balance, 1 - balance):
            return (unit - down, -down) if rising else (down - unit, down)
    raise EyelineError(f"a reject rate of {rate:.2g} is too near to 0 or 1 for a CUSUM", code="too_rare")


def cusum_path(stopped: ArrayLike, hit: int, miss: int) -> Ints:
    """The chart after each verdict, `(N,)`."""
    total = np.cumsum(np.where(np.asarray(stopped, dtype=bool), hit, miss).astype(np.int64))
    return np.asarray(total - np.minimum(np.minimum.accumulate(total), 0), dtype=np.int64)


def alarm_chance(verdicts: int, limit: int, rates: ArrayLike, hit: int, miss: int) -> Floats:
    """Probability that the chart reaches `limit` within so many verdicts, for each of the reject `rates` `(J,)`.

    The chain is followed until the share that survives a stretch no longer changes; from there on it is a power.
    """
    p = np.asarray(rates, dtype=np.float64)[:, None]
    if limit <= 0:
        return np.ones(len(p))
    up, down = max(hit, miss), -min(hit, miss)
    rise = p if hit > 0 else 1 - p  # chance of the step upwards
    state = np.zeros((len(p), limit))
    state[:, 0] = 1.0
    stretch = _STRETCH * (up + down)
    alive, lost = np.ones(len(p)), np.full(len(p), np.inf)
    for step in range(1, verdicts + 1):
        fallen, risen = state * (1 - rise), state * rise
        state = np.zeros_like(state)
        state[:, 0] = fallen[:, : down + 1].sum(axis=1)
        if down + 1 < limit:
            state[:, 1 : limit - down] = fallen[:, down + 1 :]
        if up < limit:
            state[:, up:] += risen[:, : limit - up]
        if step % stretch == 0 and step >= 4 * limit:  # earlier the chart may not have got there at all
            now = state.sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                rate = np.where(now > _GONE, np.log(alive / now), np.inf)
                settled = np.isinf(rate) | (np.abs(rate - lost) <= _SETTLED * rate + 1e-15)
            if settled.all():
                known = np.where(np.isinf(rate), 0.0, rate)
                left = np.where(np.isinf(rate), 0.0, now * np.exp(-known * (verdicts - step) / stretch))
                return np.asarray(1 - left, dtype=np.float64)
            alive, lost = now, rate
    return np.asarray(1 - state.sum(axis=1), dtype=np.float64)


def average_run_length(rate: float, limit: int, hit: int, miss: int) -> float | None:
    """Verdicts until the chart reaches `limit` when the reject rate stays at `rate`; None for too long a chain."""
    if limit > _MOST_STATES:
        return None
    up, down = max(hit, miss), -min(hit, miss)
    rise = rate if hit > 0 else 1 - rate
    system = np.eye(limit)
    states = np.arange(limit)
    np.add.at(system, (states, np.maximum(states - down, 0)), -(1 - rise))
    stays = states[states + up < limit]
    np.add.at(system, (stays, stays + up), -rise)
    return float(np.linalg.solve(system, np.ones(limit))[0])


def run_cusum(
    stopped: ArrayLike, rate: float, spread: tuple[Floats, Floats], *, level: float, rising: bool = True
) -> Cusum:
    """The chart of a shift.

    Parameters
    ----------
    stopped : `(N,)` in order.
    rate : the baseline's reject rate.
    spread : rates `(J,)` that the baseline allows and their weights `(J,)`; its own uncertainty must not ring.
    level : chance of an alarm within the shift when nothing has changed.

    Raises
    ------
    EyelineError : as `cusum_steps`.
    """
    hit, miss = cusum_steps(rate, rising=rising)
    path = cusum_path(stopped, hit, miss)
    rates, weights = spread

    def chance(limit: int) -> float:
        return float(weights @ alarm_chance(len(path), limit, rates, hit, miss))

    largest = int(path.max(initial=0))
    limit = _limit(chance, level, max(abs(hit), abs(miss)))
    over = np.flatnonzero(path >= limit)
    first = int(over[0]) if len(over) else None
    since = None
    if first is not None:
        zeros = np.flatnonzero(path[:first] == 0)
        since = int(zeros[-1]) + 1 if len(zeros) else 0
    return Cusum(
        rising=rising,
        hit=hit,
        miss=miss,
        limit=limit,
        largest=largest,
        p_value=chance(largest),
        first=first,
        since=since,
        average_run_length=average_run_length(rate, limit, hit, miss),
        path=tuple(path.tolist()),
    )


def _limit(chance: Callable[[int], float], level: float, step: int) -> int:
    """The smallest limit that is reached by chance at most so often."""
    low, high = 1, 4 * step
    while chance(high) > level:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if chance(middle) > level:
            low = middle
        else:
            high = middle
    return high
