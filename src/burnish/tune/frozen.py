"""Leave the encoder as it is and fit the output layer alone: logistic regression on its features.

Paper: Alain & Bengio, "Understanding intermediate layers using linear classifier probes", ICLR 2017 workshop,
arXiv:1610.01644; the solvers are scikit-learn's (ridge regression for numbers, Hoerl & Kennard, Technometrics 1970).
Differs from it: the last layer only, and the probe is the product, as the output layer of a plain model. Features are
what the family's head sees, the first token, or the mean of all tokens; they and the strength of the penalty are
chosen by the loss on the validation rows. How a plain model can read the mean is told in tune/_reading.py: it takes
one more encoder layer, which only averages.

When it helps: a hundred rows, or a sentence encoder such as MiniLM, whose mean already tells texts apart; as a control
for any tuning; before tune/finetune, which then starts from a head that knows something (Kumar et al., "Fine-Tuning
can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022, arXiv:2202.10054).
What it costs: two passes over the rows, no gradients; with the mean, one more layer's time in the model ever after.

Shapes: N = rows, H = features, C = outputs.
"""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from burnish.core import Rng, Task, Work, desk, name_of
from burnish.errors import UsageError, problem
from burnish.train.evaluate import pad_id_of
from burnish.train.given import Data
from burnish.train.objective import loss_sum
from burnish.train.prepare import bounded, encode_work, length_for, one_answer_a_row
from burnish.train.scale import head_of
from burnish.tune._reading import READINGS, all_features, features, readings, reshape
from burnish.words import say

__all__ = ["Fitted", "Frozen", "fit_head", "fit_linear"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Frozen:
    pooling: Literal["auto", "head", "first", "mean"] = "auto"  # what the output layer reads; auto asks the valid rows
    strength: float | None = None  # C, the inverse of the penalty, on standardised features; None asks the valid rows
    max_length: int | None = None  # tokens a row; None fits 99 of 100 rows

    def __post_init__(self) -> None:
        if self.pooling not in ("auto", *READINGS):
            given = say("there is no pooling '{pooling}'", pooling=self.pooling)
            raise UsageError(problem(given, ", ".join(("auto", *READINGS)), "--with tune/frozen:pooling=auto"))
        if self.strength is not None and not self.strength > 0:
            given = say("strength {x}", x=self.strength)
            raise UsageError(problem(given, say("above 0"), "--with tune/frozen:strength=0.01"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        one_answer_a_row(work.task, name_of(self))
        begin = time.monotonic()
        max_length, why = length_for(work, self.max_length)
        learn, valid = encode_work(work, max_length)
        wanted = readings(work.model) if self.pooling == "auto" else (self.pooling,)
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        fitted = fit_head(work.model, work.task, learn, valid, pad_id_of(work.tokenizer), wanted, strengths)
        notes = {
            "reasons": [*fitted.reasons, why],
            "max_length": max_length,
            "pooling": fitted.pooling,
            "strength": fitted.strength,
            "tried": fitted.tried,
            **pace(learn, time.monotonic() - begin),
        }
        return replace(work, model=fitted.model, tokenizer=bounded(work.tokenizer, max_length), notes=notes)


@dataclass(frozen=True)
class Fitted:
    model: Any
    pooling: str
    strength: float
    tried: dict[str, dict[str, float]]  # loss on the validation rows by pooling and strength

    @property
    def reasons(self) -> list[str]:
        text = say("pooling {pooling}, strength {x:g}: the least loss on the validation rows")
        return [text.format(pooling=self.pooling, x=self.strength)]


def fit_head(
    model: Any,
    task: Task,
    learn: Data,
    valid: Data,
    pad_id: int,
    wanted: tuple[str, ...],
    strengths: tuple[float, ...],
) -> Fitted:
    """A model whose output layer is the regression, with the best of `wanted` readings and `strengths` on `valid`.

    When the time is used up, the model keeps its own head's features, or takes the one reading that is wanted.
    """
    pooling, strength = wanted[0], strengths[len(strengths) // 2]
    tried: dict[str, dict[str, float]] = {}
    if desk().seconds_left() > 0 and (len(wanted) > 1 or len(strengths) > 1):
        pooling, strength, tried = _chosen(model, task, learn, valid, pad_id, wanted, strengths)
    made = reshape(model, pooling)
    seen_NH = features(made, task.width, learn.encoded, pad_id)
    weight_CH, bias_C = fit_linear(seen_NH, learn.targets, task.objective, task.width, strength)
    head = head_of(made, task.width)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight_CH))
        head.bias.copy_(torch.from_numpy(bias_C))
    return Fitted(made.eval(), pooling, strength, tried)


def _chosen(
    model: Any,
    task: Task,
    learn: Data,
    valid: Data,
    pad_id: int,
    wanted: tuple[str, ...],
    strengths: tuple[float, ...],
) -> tuple[str, float, dict[str, dict[str, float]]]:
    first, second = (_seen(model, task, data, pad_id, wanted) for data in (learn, valid))
    tried: dict[str, dict[str, float]] = {}
    for reading in wanted:
        for strength in strengths:
            weight_CH, bias_C = fit_linear(first[reading], learn.targets, task.objective, task.width, strength)
            said_NC = torch.from_numpy(second[reading] @ weight_CH.T + bias_C)
            loss = loss_sum(task.objective, said_NC, torch.from_numpy(valid.targets)).item() / len(said_NC)
            tried.setdefault(reading, {})[f"{strength:g}"] = loss
    pooling = min(wanted, key=lambda r: min(tried[r].values()))  # the earlier, cheaper one of equals
    return pooling, min(strengths, key=lambda s: tried[pooling][f"{s:g}"]), tried


def _seen(model: Any, task: Task, data: Data, pad_id: int, wanted: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    if model.config.model_type == "modernbert":  # its mean goes through its head, too
        return {r: features(reshape(model, r), task.width, data.encoded, pad_id) for r in wanted}
    return all_features(model, task.width, data.encoded, pad_id)


def fit_linear(
    x_NH: np.ndarray, targets: np.ndarray, objective: str, width: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [C, H] and bias [C], float32, of the regression on standardised features, told for the features as given.

    `targets` is int64 [N] for cross_entropy, else float32 [N, C]. `strength` is scikit-learn's C; 1 / alpha of ridge.
    """
    x_NH = x_NH.astype(np.float64)
    mean_H, std_H = x_NH.mean(0), x_NH.std(0)
    std_H[std_H < 1e-12] = 1.0
    z_NH = (x_NH - mean_H) / std_H
    if objective == "cross_entropy":
        weight_CH, bias_C = _softmax(z_NH, targets, width, strength)
    elif objective == "binary_cross_entropy":
        each = [_logistic(z_NH, targets[:, c] > 0.5, strength) for c in range(width)]
        weight_CH, bias_C = np.stack([w for w, _ in each]), np.array([b for _, b in each])
    else:
        from sklearn.linear_model import Ridge

        ridge = Ridge(alpha=1 / strength).fit(z_NH, targets)
        weight_CH, bias_C = ridge.coef_.reshape(width, -1), np.atleast_1d(ridge.intercept_)
    weight_CH = weight_CH / std_H
    return weight_CH.astype(np.float32), (bias_C - weight_CH @ mean_H).astype(np.float32)


def _softmax(z_NH: np.ndarray, label_N: np.ndarray, width: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    weight_CH, bias_C = np.zeros((width, z_NH.shape[1])), np.zeros(width)
    seen = np.unique(label_N)
    if len(seen) == 2:
        w_H, b = _logistic(z_NH, label_N == seen[1], strength)  # one score, half of it on either side
        weight_CH[seen], bias_C[seen] = np.stack([-w_H, w_H]) / 2, np.array([-b, b]) / 2
    elif len(seen) > 2:
        made = _solver(strength).fit(z_NH, label_N)
        weight_CH[seen], bias_C[seen] = made.coef_, made.intercept_
    unseen = np.setdiff1d(np.arange(width), seen)
    if len(unseen):  # below everything: e^-10 of the least likely label that was seen
        bias_C[unseen] = (z_NH @ weight_CH[seen].T + bias_C[seen]).min() - 10
    return weight_CH, bias_C


def _logistic(z_NH: np.ndarray, yes_N: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    if yes_N.all() or not yes_N.any():  # nothing to fit; the odds with half a row of either kind added
        return np.zeros(z_NH.shape[1]), float(np.log((yes_N.sum() + 0.5) / ((~yes_N).sum() + 0.5)))
    made = _solver(strength).fit(z_NH, yes_N)
    return made.coef_[0], float(made.intercept_[0])


def _solver(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2000)


def pace(learn: Data, seconds: float) -> dict[str, float]:
    """What every learning step leaves in its notes."""
    seconds = max(seconds, 1e-9)
    return {
        "train_seconds": seconds,
        "samples_per_second": len(learn.encoded) / seconds,
        "tokens_per_second": int(learn.lengths.sum()) / seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
