"""Learning-rate schedules as pure functions of progress.

Each maps `t`, the share of training that is done (0..1), to a multiple of the peak rate (0..1).
"""

import math

__all__ = ["SCHEDULES", "constant", "cosine", "linear", "rate"]


def constant(t: float) -> float:
    return 1.0


def linear(t: float) -> float:
    return 1.0 - t


def cosine(t: float) -> float:
    """Half a cosine from 1 to 0. Paper: Loshchilov & Hutter, "SGDR", ICLR 2017, arXiv:1608.03983, eq. (5)."""
    return 0.5 * (1.0 + math.cos(math.pi * t))


SCHEDULES = {"linear": linear, "cosine": cosine, "constant": constant}


def rate(step: int, steps: int, warmup: float, name: str) -> float:
    """The multiple of the peak rate for `step` (0-based) of `steps`.

    It climbs in a line over the first `warmup` share of the steps, never starting at 0 (a step at rate 0
    is a batch read for nothing), and then follows the schedule called `name` over the rest.
    """
    climb = round(warmup * steps)
    if step < climb:
        return (step + 1) / (climb + 1)
    return SCHEDULES[name]((step - climb) / max(1, steps - climb))
