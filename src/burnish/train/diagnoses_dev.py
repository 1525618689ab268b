"""Diagnoses from the validation rows: the diary in, a finding or None out. Thresholds: as in `diagnoses`."""

import math

import numpy as np

from burnish.measure.power import smallest_visible_drop
from burnish.train.case import Case
from burnish.train.diagnoses import FAR_LOW, LESS, NOTHING, again
from burnish.train.diary import Diary
from burnish.train.readings import beats, done, losses, lr_over_usual, recent, reference, short, slope_t
from burnish.train.watch import Act
from burnish.words import say

__all__ = ["AT_EVALUATIONS", "AT_THE_END", "noisy_dev", "overfit", "plateau", "too_little_data", "wrong_label_map"]

ONE_ANSWER = 0.99  # share of the rows with the same answer
LOOKS = 3  # evaluations in a row that must agree
PLATEAU_SHARE, PLATEAU_STEPS = 0.3, 40  # of the steps: until then a slow start is no failure
MOVES = 1e-4  # of the entropy: a dev loss that changes less does not move, and waiting is in vain
SWINGS = 0.03  # of the entropy: stuck and yet restless, as at too high a rate; a failed run sits still
FALLING = -3.0  # the slope of the training loss in its standard errors: then it is slow, not stuck
RARE = 0.9  # a majority above this is an answer that no restart will change
PAST = 1.10  # times the lowest dev loss
WORSE = 2.0  # standard errors of the score
EXCHANGE, EXCHANGE_SURE = 0.1, 3.0  # gain in accuracy from exchanging labels: so large, and so sure
LEARNED, BEGUN = 0.7, 0.9  # of the reference: the training rows are known, or some of them
UNRELATED = 1.64  # n x mcc^2 is chi-squared with one degree of freedom: below 1.64 errors nothing is shown
LOUD = 1.5  # times the entropy: a dev loss that is worse than knowing nothing
LAST = 5  # evaluations whose spread is the noise of dev
NOISE_LEAST = 0.02
HOPELESS = 30.0  # points: with so few rows on dev no gain can be shown
PER_LABEL = 10  # training rows a label, below which nothing can be said


def plateau(diary: Diary, case: Case) -> Act | None:
    """One answer for all rows, or losses of guessing on train and dev, evaluation after evaluation."""
    looks = diary.looks[-LOOKS:]
    if len(looks) < LOOKS or lr_over_usual(diary, case) < FAR_LOW:
        return None
    one = min(look["one_answer"] for look in looks)
    dev = min(look["valid_loss"] / max(look["entropy"], 1e-9) for look in looks)
    mean, nothing = recent(diary, case)[0], reference(diary, case)
    guessing = dev >= NOTHING and mean >= NOTHING * nothing
    if not (one >= ONE_ANSWER or guessing) or any(beats(look) for look in diary.looks):
        return None
    evidence = {
        "one_answer": short(one),
        "valid_loss_over_entropy": short(dev),
        "score": short(looks[-1]["score"]),
        "baseline": short(looks[-1]["baseline"]),
        "loss": short(mean),
        "nothing_learned": short(nothing),
        "clipped_share": short(diary.clipped / max(1, len(diary.norms))),
    }
    why = say("the losses on train and dev are those of guessing")
    if one >= ONE_ANSWER:
        why = say("the model gives {share:.0%} of the rows the same answer", share=one)
    if looks[-1].get("majority", 0.0) >= RARE:
        advice = say("--with tune/class_weights, and a metric such as macro_f1")
        return Act("say", "plateau at the majority", why, evidence, advice=advice) if looks[-1]["last"] else None
    return _stuck(diary, case, why, evidence, dev)


def _stuck(diary: Diary, case: Case, why: str, evidence: dict[str, float], dev: float) -> Act | None:
    """Go on while it is early or still falling; else begin again."""
    look = diary.looks[-1]
    mean, _ = recent(diary, case)
    slow = slope_t(losses(diary)[len(diary.curve) // 4 :]) < FALLING or dev < NOTHING
    early = done(diary, case) < PLATEAU_SHARE or len(diary.curve) < PLATEAU_STEPS
    valid = [e["valid_loss"] for e in diary.evals]
    moves = max(valid) - min(valid) > MOVES * look["entropy"]
    if look["stopped"] and moves and (early or slow):
        advice = say("more patience: --set patience=12")
        told = why + say("; it is too early to give up")
        return Act("on", "plateau at the majority", told, evidence, advice=advice)
    if look["last"] and not look["stopped"]:
        advice = say("a higher rate, more epochs, another seed")
        return Act("say", "plateau at the majority", why, evidence, advice=advice)
    if early or slow or mean < NOTHING * reference(diary, case):
        return None
    hot = max(valid[-LOOKS:]) - min(valid[-LOOKS:]) > SWINGS * look["entropy"]
    name = "rate too high" if hot else "plateau at the majority"
    return again(diary, case, name, why, evidence, LESS if hot else 1.0)


def overfit(diary: Diary, case: Case) -> Act | None:
    """Past the lowest dev loss. While the score still rises that is no reason to stop; when both are worse, it is."""
    if len(diary.evals) <= LOOKS or len(diary.looks) < LOOKS:
        return None
    dev = [e["valid_loss"] for e in diary.evals]
    lowest, best = min(dev), max(diary.scores())
    late = diary.evals[-LOOKS:]
    if min(e["valid_loss"] for e in late) < PAST * lowest or recent(diary, case)[0] > LEARNED * lowest:
        return None
    error = diary.looks[-1]["error"]
    gap = best - max(e["score"] for e in late)
    evidence = {
        "lowest_valid_loss": short(lowest),
        "valid_loss": short(dev[-1]),
        "best_score": short(best),
        "score": short(diary.evals[-1]["score"]),
        "standard_error": short(error),
        "train_loss": short(recent(diary, case)[0]),
    }
    if gap > WORSE * error:
        why = say("loss and score on dev are both past their best, by more than chance")
        advice = say("fewer epochs, --with tune/rdrop or tune/label_smoothing")
        return Act("stop", "overfit", why, evidence, advice=advice)
    if not diary.looks[-1]["last"]:
        return None
    why = say("the loss on dev is past its best while the score holds: the score decides, so nothing was stopped")
    advice = say("probabilities are too sure: --with tune/label_smoothing where they matter")
    return Act("say", "overfit in the loss", why, evidence, advice=advice)


def wrong_label_map(diary: Diary, case: Case) -> Act | None:
    """The training rows are known, and dev is confidently wrong: its labels, or theirs, are exchanged or random."""
    if not diary.looks:
        return None
    look, dev = diary.looks[-1], diary.evals[-1]["valid_loss"]
    if recent(diary, case)[0] > (BEGUN if look["last"] else LEARNED) * reference(diary, case):
        return None
    if "mcc" not in look:
        return _wrong_sign(look)
    gain = look["permuted"] - look["accuracy"]
    error = math.sqrt(max(gain, 1e-9) / look["rows"])
    evidence = {
        "accuracy": short(look["accuracy"]),
        "accuracy_after_exchange": short(look["permuted"]),
        "sure_and_wrong": short(look["sure_and_wrong"]),
        "valid_loss": short(dev),
        "entropy": short(look["entropy"]),
        "train_loss": short(recent(diary, case)[0]),
    }
    if gain > max(EXCHANGE, EXCHANGE_SURE * error):
        pairs = ", ".join(f"{true} = {said}" for true, said in look["exchange"][:6])
        why = say("train and dev name their labels differently: on dev, {pairs}", pairs=pairs)
        advice = say("check the order of the labels in both files")
        return Act("say", "wrong label map", why, {**evidence, "exchange": look["exchange"][:12]}, advice=advice)
    if _unrelated(diary) and (dev > LOUD * look["entropy"] or look["last"]):
        why = say("the training rows are being learned by heart, and dev answers are no better than chance")
        advice = say("check that labels belong to their texts, in both files")
        return Act("say", "wrong label map", why, {**evidence, "mcc": short(look["mcc"])}, advice=advice)
    return None


def _unrelated(diary: Diary) -> bool:
    """No evaluation was better than guessing, in score, loss or correlation, though answers differ from row to row."""
    silent = not any(beats(look) or look["valid_loss"] < NOTHING * look["entropy"] for look in diary.looks)
    last = diary.looks[-LOOKS:]
    chance = all(s["mcc"] < UNRELATED / math.sqrt(s["rows"]) and s["one_answer"] < ONE_ANSWER for s in last)
    return silent and chance and len(last) == LOOKS


def _wrong_sign(look: dict[str, float]) -> Act | None:
    """Regression: dev goes the other way."""
    correlation = look.get("correlation", 0.0)
    if correlation > -EXCHANGE_SURE / math.sqrt(look["rows"]) or correlation > -EXCHANGE:
        return None
    why = say("answers on dev go against the truth: their correlation is {r:.2f}", r=correlation)
    advice = say("check the sign and the unit of the targets in both files")
    return Act("say", "wrong label map", why, {"correlation": short(correlation)}, advice=advice)


def noisy_dev(diary: Diary, case: Case) -> Act | None:
    """The last evaluations spread more than all of training gained."""
    scores = diary.scores()
    if len(scores) <= LAST or not diary.looks:
        return None
    spread = float(np.std(scores[-LAST:]))
    gain = float(np.mean(scores[-LAST:])) - scores[0]
    if spread < max(gain, NOISE_LEAST):
        return None
    evidence = {"spread": short(spread), "gain": short(gain), "rows": diary.looks[-1]["rows"]}
    why = say(
        "the score on dev spreads by {s:.3f} from one evaluation to the next, and gained {g:.3f}", s=spread, g=gain
    )
    advice = say("more rows on dev, or --with tune/ema")
    return Act("say", "noisy dev", why, evidence, advice=advice)


def too_little_data(diary: Diary, case: Case) -> Act | None:
    """Fewer rows than can be learned from, or a gain that dev cannot tell from chance."""
    if not diary.looks:
        return None
    look = diary.looks[-1]
    gain = 100 * (max(diary.scores()) - look["baseline"])
    visible = smallest_visible_drop(look["rows"]) if "majority" in look else 280 * look["error"]
    evidence = {"train_rows": case.rows, "dev_rows": look["rows"], "gain": short(gain), "visible": short(visible)}
    advice = say("more labelled rows; `burnish check` says how many show what")
    if case.rows < PER_LABEL * max(2, case.classes):
        why = say("{n} rows to learn from are too few to say anything", n=case.rows)
        return Act("say", "too little data", why, evidence, advice=advice)
    if gain < visible and (gain > 0 or visible > HOPELESS):
        text = "{n} rows on dev show differences from {v:.1f} points on; the gain over not reading is {g:.1f}"
        why = say(text, n=look["rows"], v=visible, g=gain)
        return Act("say", "too little data", why, evidence, advice=advice)
    return None


AT_EVALUATIONS = (plateau, wrong_label_map, overfit)
AT_THE_END = (noisy_dev, too_little_data)
