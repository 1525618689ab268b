"""Diagnoses from the training curve and the gradients: the diary in, a finding or None out.

Thresholds without a source are our choice, set so that healthy runs stay silent (benchmarks/doctor.py counts both).
Mosbach: Mosbach, Andriushchenko, Klakow, "On the Stability of Fine-tuning BERT", ICLR 2021, arXiv:2006.04884.
"""

import math
from typing import Any

import numpy as np

from burnish.train.case import Case
from burnish.train.diary import Diary
from burnish.train.readings import (
    beats,
    done,
    longer_warmup,
    losses,
    lr_over_usual,
    means,
    recent,
    reference,
    restarts,
    short,
    since_peak,
    slope_t,
    window,
)
from burnish.train.watch import Act
from burnish.words import say

__all__ = [
    "AT_EVALUATIONS",
    "AT_STEPS",
    "AT_THE_END",
    "AT_WINDOWS",
    "dead_gradients",
    "exploding_start",
    "failed_run",
    "overflow",
    "rate_too_high",
    "rate_too_low",
    "spike",
    "underfit",
]

# A rate is far off beyond the band that a finder would search: 1e-6..2e-4 around 2e-5 for full fine-tuning.
FAR_HIGH, FAR_LOW = 10.0, 1 / 20
SURE = 3.0  # standard errors of a window's mean
HIGH_SHARE = 0.15  # of the steps, after which a far rate that taught nothing is judged
LOST, FOUND = 0.95, 0.8  # of the reference: learned once (below FOUND), and back (above LOST)
GONE = 3  # evaluations in a row
NOTHING = 0.98  # Mosbach: within 2 % of the loss of a model that knows only how many labels there are
FAILED_SHARE, FAILED_STEPS = 0.2, 60  # Mosbach: failed runs show after 20-30 % of the steps
VANISHED = 1e-3  # Mosbach, figure 4: lower layers' gradient norm over that of the top
DEAD = 1e-7  # of the median layer; what rounding leaves of a zero
Z = 4.0  # standard deviations of a spike
SPIKE_WINDOW, SPIKE_LEAST, SPIKE_LEVEL, SPIKES = 50, 20, 1.25, 3
HEAL = 8  # steps after which a spike must be over
STEEPEST = 0.1  # least spread of log losses that a spike is measured with: ten percent
START = 3.0  # times ln(classes): a fresh head is at 1; squares of regression targets spread more
START_REGRESSION = 10.0
SKIPPED, SKIPPED_LEAST = 0.2, 20
FALLING, LOW_LEVEL, ALIKE = 0.03, 0.5, 0.15  # of the reference: still falling, still high, train like dev
LESS = 1 / 3


def rate_too_high(diary: Diary, case: Case) -> Act | None:
    """Above the start, or back at it after learning; or far above the usual rate and nothing learned."""
    if since_peak(diary) < window(case):
        return None
    mean, error = recent(diary, case)
    nothing = reference(diary, case)
    start = max(float(losses(diary)[:3].mean()), nothing, case.chance if case.plain else 0.0)
    best = _best_window(diary, case)
    times = lr_over_usual(diary, case)
    above = mean - SURE * error > start
    back = best < FOUND * nothing and mean - SURE * error > LOST * nothing
    idle = not any(beats(look) for look in diary.looks)
    back |= _gone(diary) and mean > LOST * nothing
    judged = bool(diary.looks) and done(diary, case) > HIGH_SHARE
    far = times > FAR_HIGH and judged and mean > LOST * nothing and idle
    if not (above or back or far) or times < LESS:
        return None
    norms = np.array(diary.norms)
    evidence = {
        "loss": short(mean),
        "loss_at_start": short(start),
        "best_loss": short(best),
        "lr": diary.curve[-1]["lr"],
        "lr_over_usual": short(times),
        "gradient_norm_growth": short(float(norms[-window(case) :].mean() / max(norms[: window(case)].mean(), 1e-12))),
        "clipped_share": short(diary.clipped / max(1, len(norms))),
    }
    why = say("the training loss is {loss:.3g}, no lower than the {start:.3g} it began with", loss=mean, start=start)
    if back:
        why = say("the training loss is {loss:.3g}: what was learned is lost again", loss=mean)
    advice = say("a third of the rate, and twice the warmup")
    # Where a third did not help, a ninth; from far off, to three times the usual rate at once.
    factor = LESS ** (1 + restarts(diary, ("rate too high",)))
    factor = min(factor, 3 / times) if times > FAR_HIGH else factor
    if idle:
        warmup = longer_warmup(diary, case)
        return Act("restart", "rate too high", why, evidence, factor=factor, warmup=warmup, advice=advice)
    return Act("back", "rate too high", why, evidence, factor=factor, advice=advice)


def _gone(diary: Diary) -> bool:
    """An evaluation knew something, and the last ones know nothing."""
    knew = any(beats(look) and look["valid_loss"] < LOST * look["entropy"] for look in diary.looks[:-GONE])
    return knew and not any(beats(look) or look["valid_loss"] < LOST * look["entropy"] for look in diary.looks[-GONE:])


def _best_window(diary: Diary, case: Case) -> float:
    """The lowest mean loss of any window."""
    size = window(case)
    total = np.concatenate([[0.0], np.cumsum(losses(diary))])
    return float((total[size:] - total[:-size]).min() / size) if len(total) > size else math.inf


def failed_run(diary: Diary, case: Case) -> Act | None:
    """Mosbach's failed run: the loss is that of the labels' shares, and the lower layers hear nothing of it."""
    if len(diary.curve) < FAILED_STEPS or done(diary, case) < FAILED_SHARE or len(diary.layers) < 2:
        return None
    mean, _ = recent(diary, case)
    nothing = reference(diary, case)
    ratios = [_lower_over_top(look["norms"]) for look in diary.layers[-2:]]
    if mean < NOTHING * nothing or max(ratios) > VANISHED or any(beats(look) for look in diary.looks):
        return None
    if lr_over_usual(diary, case) < FAR_LOW:
        return None  # nothing has moved yet
    evidence = {"loss": short(mean), "nothing_learned": short(nothing), "lower_over_top": short(max(ratios))}
    why = say("the loss is that of guessing, and the gradient has vanished from the lower layers")
    # Where another seed did not help, a lower rate may, unless it is low.
    tried = restarts(diary, ("failed run",)) and lr_over_usual(diary, case) >= 1
    return again(diary, case, "failed run", why, evidence, LESS if tried else 1.0)


def again(diary: Diary, case: Case, name: str, why: str, evidence: dict[str, float], factor: float) -> Act:
    """Another seed, a new head and a longer warmup."""
    advice = say("another seed, a longer warmup; AdamW with bias correction; a larger clip where every step was cut")
    warmup = longer_warmup(diary, case)
    return Act("restart", name, why, evidence, factor=factor, warmup=warmup, head=True, advice=advice)


def _lower_over_top(norms: list[list[Any]]) -> float:
    layers = [norm for name, norm in norms if name != "embeddings"]
    return layers[0] / max(layers[-1], 1e-30) if len(layers) > 1 else math.inf


def dead_gradients(diary: Diary, case: Case) -> Act | None:
    """Layers whose matrices get no gradient, look after look."""
    if len(diary.layers) < 3:
        return None
    dead: set[str] | None = None
    for look in diary.layers[-3:]:
        middle = float(np.median([norm for _, norm in look["norms"]]))
        now = {name for name, norm in look["norms"] if norm <= DEAD * middle}
        dead = now if dead is None else dead & now
    if not dead:
        return None
    names = sorted(dead, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0))
    why = say("no gradient reaches these layers: {names}", names=", ".join(names))
    advice = say("look whether they are frozen, cut off or all zeros")
    return Act("say", "dead gradients", why, {"layers": names, "norms": dict(diary.layers[-1]["norms"])}, advice=advice)


def exploding_start(diary: Diary, case: Case) -> Act | None:
    """The first loss, before any update, is far above ln(classes): the head is too large, or was made for others."""
    if not case.plain or not 1 <= len(diary.curve) <= 3:
        return None
    first = diary.curve[0]["loss"]
    limit = (START if case.chance != 1.0 else START_REGRESSION) * case.chance
    if first <= limit:
        return None
    evidence = {"first_loss": short(first), "chance": short(case.chance)}
    why = say("the first loss is {first:.3g}; a fresh head has {chance:.3g}", first=first, chance=case.chance)
    advice = say("--new-head, or a head with smaller weights")
    return Act("restart", "exploding start", why, evidence, head=True, advice=advice)


def overflow(diary: Diary, case: Case) -> Act | None:
    """fp16 cannot hold the gradients even at its smallest scales."""
    total = diary.skipped + len(diary.norms)
    share = diary.skipped / max(1, total)
    if total < SKIPPED_LEAST or share < SKIPPED:
        return None
    why = say("{share:.0%} of the steps were skipped: fp16 could not hold their gradients", share=share)
    return Act("say", "overflow", why, {"skipped_share": short(share)}, advice="--set precision=bf16, precision=fp32")


def spike(diary: Diary, case: Case) -> Act | None:
    """A step far off the last ones; when the loss does not come down again, back to good weights."""
    now = diary.curve[-1]["step"] if diary.curve else 0
    seen = [e for e in diary.events if e["name"] == "spike"]
    if 0 < len(seen) < SPIKES and seen[-1]["did"] == "say" and now == seen[-1]["step"] + HEAL:
        return _unhealed(diary, seen[-1]["evidence"])
    near = seen and now - seen[-1]["step"] < SPIKE_LEAST
    points = diary.curve[-SPIKE_WINDOW - 1 :]
    if near or len(seen) >= SPIKES or len(points) <= SPIKE_LEAST:
        return None
    loss, level = points[-1]["loss"], SPIKE_LEVEL * reference(diary, case)
    if loss < level:
        return None
    z = {name: _z(np.array([p[name] for p in points])) for name in ("loss", "grad_norm")}
    usual = float(np.median([p["loss"] for p in points[:-1]]))
    if max(z.values()) < Z or loss < 2 * usual:
        return None
    evidence = {"loss": short(loss), "usual": short(usual), "level": short(level), "rows": diary.rows[:16]}
    evidence |= {f"z_{name}": short(value) for name, value in z.items()}
    why = say("the loss jumped from about {usual:.3g} to {loss:.3g} in one step", usual=usual, loss=loss)
    return Act("say", "spike", why, evidence, advice=say("look at these rows; --with tune/zclip cuts such steps"))


def _unhealed(diary: Diary, before: dict[str, float]) -> Act | None:
    after = float(losses(diary, HEAL).mean())
    if after < before["level"] or after < 2 * before["usual"]:
        return None
    why = say("the loss has not come down again in {n} steps after a spike", n=HEAL)
    evidence = {"loss": short(after), "usual": before["usual"], "level": before["level"], "rows": before["rows"]}
    return Act("back", "spike", why, evidence, factor=0.5, advice=say("half the rate, or --with tune/zclip"))


def _z(values: np.ndarray) -> float:
    """How far the last value is from the others, in robust standard deviations of the logarithm."""
    logs = np.log(np.maximum(values, 1e-8))
    middle = np.median(logs[:-1])
    spread = 1.4826 * float(np.median(np.abs(logs[:-1] - middle)))
    return float((logs[-1] - middle) / max(spread, STEEPEST))


def rate_too_low(diary: Diary, case: Case) -> Act | None:
    """At the end: high still, falling still, and dev no worse than train; or far below the usual rate."""
    if len(diary.curve) < SPIKE_LEAST or not diary.evals:
        return None
    nothing, times = reference(diary, case), lr_over_usual(diary, case)
    middle, late, last = means(losses(diary), ((0.4, 0.7), (0.7, 1.0), (0.9, 1.0)))
    far = times < FAR_LOW and last > 0.7 * nothing
    falling = middle - late > FALLING * nothing and slope_t(losses(diary)[len(diary.curve) // 2 :]) < -3
    alike = abs(diary.evals[-1]["valid_loss"] - last) < ALIKE * nothing or not case.plain
    if not (far or (done(diary, case) > 0.9 and falling and last > LOW_LEVEL * nothing and alike)):
        return None
    evidence = {
        "loss": short(last),
        "loss_before": short(middle),
        "valid_loss": short(diary.evals[-1]["valid_loss"]),
        "lr_over_usual": short(times),
        "clipped_share": short(diary.clipped / max(1, len(diary.norms))),
    }
    why = say("the training loss is still {loss:.3g} at the end, and on its way down", loss=last)
    if far:
        why = say("the rate is {x:.2g} times the usual one, and the loss still {loss:.3g}", x=times, loss=last)
    return Act("say", "rate too low", why, evidence, advice=say("three times the rate, or twice the epochs"))


def rate_far_too_low(diary: Diary, case: Case) -> Act | None:
    """Far below the usual rate, and nothing learned yet: waiting for the end would only cost the time."""
    times = lr_over_usual(diary, case)
    if times >= FAR_LOW or not diary.looks or since_peak(diary) < window(case) or done(diary, case) < HIGH_SHARE:
        return None
    (mean, error), nothing = recent(diary, case), reference(diary, case)
    if mean + error < LOST * nothing or any(beats(look) for look in diary.looks):
        return None
    evidence = {"loss": short(mean), "nothing_learned": short(nothing), "lr_over_usual": short(times)}
    why = say("the rate is {x:.2g} times the usual one, and nothing has been learned", x=times)
    advice = say("leave lr out: the usual rate is known")
    return Act("restart", "rate too low", why, evidence, factor=1 / times, advice=advice)


def underfit(diary: Diary, case: Case) -> Act | None:
    """At the end: something was learned, the loss is high and no longer falls, on train as on dev."""
    if not case.plain or len(diary.curve) < SPIKE_LEAST or not diary.looks or done(diary, case) < 0.9:
        return None
    nothing = reference(diary, case)
    middle, last = means(losses(diary), ((0.5, 0.75), (0.85, 1.0)))
    dev = diary.evals[-1]["valid_loss"]
    if not LOW_LEVEL * nothing < last < NOTHING * nothing or middle - last > FALLING * nothing:
        return None
    if dev > last + ALIKE * nothing or not beats(diary.looks[-1]):
        return None
    evidence = {"loss": short(last), "loss_before": short(middle), "valid_loss": short(dev), "nothing": short(nothing)}
    why = say("the training loss stays at {loss:.3g} and dev is no worse: the model cannot follow the rows", loss=last)
    advice = say("less dropout and weight decay, a larger model; `burnish check` finds equal texts with two labels")
    return Act("say", "underfit", why, evidence, advice=advice)


AT_STEPS = (exploding_start, spike)
AT_WINDOWS = (*AT_STEPS, rate_too_high)
AT_EVALUATIONS = (overflow, rate_too_high, rate_far_too_low, failed_run, dead_gradients)
AT_THE_END = (rate_too_low, underfit)
