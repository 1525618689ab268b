"""Contrastive few-shot tuning: rows of one label are pulled together, others apart, then a logistic head.

Paper: Tunstall, Reimers, Jo, Bates, Korat, Wasserblat, Pereg, "Efficient Few-Shot Learning Without Prompts", 2022,
arXiv:2209.11055; the loss on pairs is that of Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, arXiv:1908.10084.
Differs from it: instead of pairs drawn one by one, each step takes rows of several labels and counts all their pairs,
those of one label as much as the others together; the head is that of tune/frozen, folded into a plain model.

    loss = mean over pairs of one label of (1 - cos)^2 / 2 + mean over the other pairs of cos^2 / 2

When it helps: 8 to 100 rows a label, and an encoder whose mean token already says something, as MiniLM's does.
What it costs: `steps` training steps whatever the number of rows, and the extra layer that tune/frozen tells of.

Shapes: B = rows of a batch, N = rows, H = hidden.
"""

import contextlib
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.core import Rng, Work, desk
from burnish.errors import BurnishError, UsageError, problem
from burnish.train.batches import collate
from burnish.train.clip import joint_norm, scale_down
from burnish.train.compact import compact, expand
from burnish.train.defaults import choose
from burnish.train.dropout import cheap_dropout, plain_dropout
from burnish.train.evaluate import pad_id_of
from burnish.train.given import Data
from burnish.train.optimizer import FusedAdamW, grouped
from burnish.train.prepare import bounded, encode_work, length_for, precision_for
from burnish.train.schedule import ToZero, rate
from burnish.tune._reading import Embed, readings
from burnish.tune.frozen import STRENGTHS, fit_head, pace
from burnish.words import say

__all__ = ["SetFit", "contrast", "draw"]

WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class SetFit:
    steps: int = 100  # contrastive steps
    batch_size: int = 16  # rows a step, all of whose pairs count
    lr: float | None = None  # peak learning rate; None is the table's for this encoder
    warmup: float = 0.1  # share of the steps
    max_length: int | None = None  # tokens a row; None fits 99 of 100 rows
    precision: str = "auto"  # auto, fp32 or bf16

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("steps", self.steps, self.steps >= 1, say("1 or more")),
            ("batch_size", self.batch_size, self.batch_size >= 4, say("4 or more: two rows of two labels")),
            ("lr", self.lr, self.lr is None or self.lr > 0, say("above 0")),
            ("warmup", self.warmup, 0 <= self.warmup < 1, say("a share of the steps, below 1")),
            ("precision", self.precision, self.precision in ("auto", "fp32", "bf16"), "auto, fp32, bf16"),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, "--with tune/setfit:steps=100,batch_size=16"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        if work.task.objective != "cross_entropy":
            given = say("tune/setfit for {task}", task=work.task.name)
            expected = say("a task with one label a row: two rows have the same one, or not")
            raise UsageError(problem(given, expected, "tune/frozen"))
        begin = time.monotonic()
        max_length, why = length_for(work, self.max_length)
        precision, why_precision = precision_for(self.precision)
        learn, valid = encode_work(work, max_length)
        lesson = Lesson(self, self.lr or _usual_rate(work), precision == "bf16", rng.getrandbits(31))
        model, pad_id, reading = copy.deepcopy(work.model), pad_id_of(work.tokenizer), readings(work.model)[-1]
        with _lean(model, learn):
            curve = pull(Embed(model, reading), learn, lesson, pad_id)
        fitted = fit_head(model, work.task, learn, valid, pad_id, (reading,), STRENGTHS)
        notes = {
            "curve": curve,
            "steps": len(curve),
            "reasons": [say("lr {lr:g}, {n} steps", lr=lesson.lr, n=len(curve)), *fitted.reasons, why_precision, why],
            "max_length": max_length,
            "pooling": fitted.pooling,
            "strength": fitted.strength,
            **pace(learn, time.monotonic() - begin),
        }
        return replace(work, model=fitted.model, tokenizer=bounded(work.tokenizer, max_length), notes=notes)


@dataclass(frozen=True)
class Lesson:
    """The settings with every choice made."""

    of: SetFit
    lr: float
    bf16: bool
    seed: int


def _usual_rate(work: Work) -> float:
    return choose(sum(p.numel() for p in work.model.parameters()), len(work.train), pair=work.task.pair).lr


@contextlib.contextmanager
def _lean(model: nn.Module, learn: Data) -> Iterator[None]:
    """On a CPU without what costs time and changes nothing, as in burnish.train.loop."""
    if next(model.parameters()).device.type == "cpu":
        compact(model, {token for row in learn.encoded for token in row["input_ids"]})
        cheap_dropout(model)
    yield
    expand(model)
    plain_dropout(model)
    model.eval()


def pull(embed: nn.Module, learn: Data, lesson: Lesson, pad_id: int) -> list[dict[str, float]]:
    """Train the encoder inside `embed`, in place, until the steps are done or the time is up; return the loss curve."""
    optimizer = FusedAdamW().make(grouped(embed, WEIGHT_DECAY), lesson.lr)
    curve: list[dict[str, float]] = []
    embed.train()
    while len(curve) < lesson.of.steps and not (curve and desk().seconds_left() < 0):
        curve.append(_one_step(embed, optimizer, learn, lesson, len(curve), pad_id))
        if len(curve) % 5 == 0:
            facts = {"loss": curve[-1]["loss"], "step": len(curve), "steps": lesson.of.steps}
            desk().report(say("pulling rows of one label together"), len(curve) / lesson.of.steps, facts)
    return curve


def _one_step(
    embed: nn.Module, optimizer: torch.optim.Optimizer, learn: Data, lesson: Lesson, step: int, pad_id: int
) -> dict[str, float]:
    s, device = lesson.of, next(embed.parameters()).device
    torch.manual_seed(hash((lesson.seed, step)) & (2**63 - 1))  # dropout depends on (seed, step) alone
    lr = lesson.lr * rate(step / s.steps, 1 / s.steps, s.warmup, ToZero())
    for group in optimizer.param_groups:
        group["lr"] = lr
    rows_B = draw(learn.targets, s.batch_size, np.random.default_rng([lesson.seed, step]))
    batch = {k: v.to(device) for k, v in collate([learn.encoded[i] for i in rows_B], pad_id).items()}
    optimizer.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=lesson.bf16):
        x_BH: Tensor = embed(**batch).logits
    loss = contrast(x_BH.float(), torch.from_numpy(learn.targets[rows_B]).to(device))
    loss.backward()
    gradients = [p.grad for p in embed.parameters() if p.grad is not None]
    norm = joint_norm(gradients)
    if not math.isfinite(norm):
        given = say("contrastive step {step} gave loss {loss}", step=step + 1, loss=loss.item())
        hint = f"--with tune/setfit:lr={lesson.lr / 3:g}"
        raise BurnishError(problem(given, say("finite numbers; nothing was updated with these"), hint))
    scale_down(gradients, norm, 1.0)
    optimizer.step()
    return {"step": step + 1, "loss": round(loss.item(), 6), "lr": lr, "grad_norm": round(norm, 5)}


def contrast(x_BH: Tensor, label_B: Tensor) -> Tensor:
    """How far pairs of one label are from cosine 1 and the others from 0, squared, a scalar; either kind has half."""
    unit_BH = F.normalize(x_BH, dim=1)
    cos_BB = unit_BH @ unit_BH.T
    same_BB = label_B[:, None] == label_B[None, :]
    upper_BB = torch.ones_like(same_BB).triu(1)
    near, far = (1 - cos_BB[same_BB & upper_BB]).square(), cos_BB[~same_BB & upper_BB].square()
    return (near.sum() / max(1, len(near)) + far.sum() / max(1, len(far))) / 2


def draw(label_N: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `size` different rows: two of one label, two of the next and so on, labels and rows in random order."""
    labels = rng.permutation(np.unique(label_N))
    queues: list[Any] = [rng.permutation(np.flatnonzero(label_N == label)).tolist() for label in labels]
    taken: list[int] = []
    while len(taken) < size and any(queues):
        for queue in queues:
            taken += queue[:2]
            del queue[:2]
    return np.array(taken[:size])
