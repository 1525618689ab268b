"""The loop: bucketed batches, bf16 where the machine has it, AdamW, clipping, early stopping, exact resume.

Everything random in it is a pure function of (seed, step), so a run that was killed continues from any
verified checkpoint to the same bits: on the same machine, build and thread count. Elsewhere the sample
order is still the same, and that is all that is promised.
"""

import copy
import functools
import math
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core import Task, desk
from burnish.errors import BurnishError, problem
from burnish.train.batches import Encoded, batch_order, collate, padding_share
from burnish.train.checkpoint import newest, pack_optimizer, save, unpack_optimizer
from burnish.train.compact import compact, expand
from burnish.train.dropout import cheap_dropout, plain_dropout
from burnish.train.evaluate import model_outputs
from burnish.train.objective import loss_sum
from burnish.train.optimizer import adamw
from burnish.train.scale import Scale, fit_scale
from burnish.train.schedule import rate
from burnish.train.tweak import Batch, Loss, Tweak
from burnish.words import say

__all__ = ["Data", "Settings", "Trained", "train"]

# A checkpoint may cost at most this share of the time, and is never more frequent than MIN_GAP seconds.
CHECKPOINT_SHARE, MIN_GAP = 0.05, 10.0
# Points kept of the loss curve; more would only make the report heavy.
CURVE_POINTS = 400


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know. Every value is final: defaults are chosen in `train.defaults`."""

    lr: float  # peak learning rate
    epochs: int
    batch_size: int  # rows an optimizer step
    accumulate: int = 1  # micro-batches that one step is cut into; changes memory, never the result
    schedule: str = "linear"
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    clip: float = 1.0  # largest gradient norm; 0 turns clipping off
    bf16: bool = False  # autocast the forward pass to bfloat16
    evals_per_epoch: int = 2
    patience: int = 6  # evaluations without a better score before stopping; 0 never stops early


@dataclass(frozen=True)
class Data:
    """Encoded rows with their targets, as `task.encode` gives them."""

    encoded: Encoded
    targets: np.ndarray

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in self.encoded])


@dataclass(frozen=True)
class Trained:
    model: nn.Module
    notes: dict[str, Any]  # JSON: curve, evals, best_step, train_seconds, samples_per_second, ...


def train(
    model: nn.Module,
    task: Task,
    learn: Data,
    valid: Data,
    settings: Settings,
    *,
    seed: int,
    pad_id: int,
    tweaks: Sequence[Tweak] = (),
) -> Trained:
    """Train `model` in place on `learn`; the best weights on `valid` by the task's primary metric win.

    Resumes from the desk's folder when a checkpoint is there. Raises BurnishError on a loss or gradient that is
    not finite, before the optimizer could spread it.
    """
    device = next(model.parameters()).device
    scale = fit_scale(task, learn.targets)
    scale.unfold(model, task.width)
    if device.type == "cpu":
        compact(model, _ids(learn.encoded, valid.encoded))
        cheap_dropout(model)
    for tweak in tweaks:
        model = tweak.prepare(model)
    run = _Run(model, task, learn, valid, settings, seed, pad_id, tweaks, scale, device)
    run.resume(desk().folder)
    seconds = run.all_steps()
    model.load_state_dict(run.best)
    for tweak in tweaks:
        model = tweak.finish(model)
    expand(model)
    plain_dropout(model)
    scale.fold(model, task.width)
    return Trained(model.eval(), run.notes(seconds))


class _Run:
    """The state of one training run, and the few things that happen to it."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        learn: Data,
        valid: Data,
        settings: Settings,
        seed: int,
        pad_id: int,
        tweaks: Sequence[Tweak],
        scale: Scale,
        device: torch.device,
    ):
        self.model, self.task, self.learn, self.valid, self.s = model, task, learn, valid, settings
        self.seed, self.pad_id, self.tweaks, self.scale, self.device = seed, pad_id, tweaks, scale, device
        self.optimizer = adamw(model, settings.lr, settings.weight_decay)
        self.loss = _nested(task.objective, tweaks)
        self.targets = torch.from_numpy((learn.targets - scale.mean) / scale.std if scale != Scale() else learn.targets)
        self.per_epoch = math.ceil(len(learn.encoded) / settings.batch_size)
        self.steps = self.per_epoch * settings.epochs
        self.eval_at = _eval_steps(self.per_epoch, settings.evals_per_epoch)
        self.step, self.stale, self.best_score, self.best_step = 0, 0, -math.inf, 0
        self.best: dict[str, Tensor] = {}
        self.curve: list[dict[str, float]] = []
        self.evals: list[dict[str, float]] = []
        self.seconds_before, self.stopped = 0.0, ""

    # -- the steps ---------------------------------------------------------------------------------

    def all_steps(self) -> float:
        """Run to the end; return the seconds of training and evaluation, earlier parts of a killed run included."""
        start, saved = time.monotonic(), time.monotonic()
        gap = MIN_GAP
        self.model.train()
        order: list[np.ndarray] = []
        for step in range(self.step, self.steps):
            epoch, position = divmod(step, self.per_epoch)
            if position == 0 or not order:
                order = batch_order(self.learn.lengths, self.s.batch_size, self.seed, epoch)
            self.one_step(order[position])
            late = desk().seconds_left() < 0
            if position + 1 in self.eval_at or late:
                self.evaluate(epoch + (position + 1) / self.per_epoch)
            if late:
                self.stopped = say("the time was used up")
            if self.stopped:
                break
            now = time.monotonic()
            if now - saved > gap:
                self.save(desk().folder, self.seconds_before + now - start)
                saved = time.monotonic()
                gap = max(MIN_GAP, (saved - now) / CHECKPOINT_SHARE)
        return self.seconds_before + time.monotonic() - start

    def one_step(self, rows_B: np.ndarray) -> None:
        # Seeded a step at a time: dropout depends on (seed, step) alone, so nothing has to be restored.
        torch.manual_seed(hash((self.seed, self.step)) & (2**63 - 1))
        lr = self.s.lr * rate(self.step, self.steps, self.s.warmup, self.s.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        total = 0.0
        for part in np.array_split(rows_B, min(self.s.accumulate, len(rows_B))):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.s.bf16):
                loss = self.loss(self.model, self.batch(part)) / len(rows_B)
            loss.backward()
            total += loss.item()
        norm = self.clip()
        if not math.isfinite(total) or not math.isfinite(norm):
            raise self.not_finite(total, norm, rows_B)
        self.optimizer.step()
        self.step += 1
        for tweak in self.tweaks:
            tweak.after_step(self.model, self.step)
        self.curve.append({"step": self.step, "loss": round(total, 6), "lr": lr, "grad_norm": round(norm, 5)})
        if self.step % 5 == 0:
            facts = {"loss": total, "score": self.best_score, "step": self.step, "steps": self.steps}
            desk().report(say("training"), self.step / self.steps, facts)

    def batch(self, rows_B: np.ndarray) -> Batch:
        made = collate([self.learn.encoded[i] for i in rows_B], self.pad_id)
        rows = torch.from_numpy(np.asarray(rows_B))
        made |= {"targets": self.targets[rows], "rows": rows}
        return {name: value.to(self.device) for name, value in made.items()}

    def clip(self) -> float:
        """Scale the gradient down to norm `clip`; return the norm before."""
        limit = self.s.clip or math.inf
        return float(nn.utils.clip_grad_norm_(self.model.parameters(), limit))

    def not_finite(self, loss: float, norm: float, rows_B: np.ndarray) -> BurnishError:
        given = say(
            "training step {step} gave loss {loss} and gradient norm {norm} (rows {rows})",
            step=self.step + 1,
            loss=loss,
            norm=norm,
            rows=", ".join(map(str, rows_B[:8])),
        )
        hint = say("--set lr={lr:g}, or look at these rows with `burnish check`", lr=self.s.lr / 3)
        return BurnishError(problem(given, say("finite numbers; nothing was updated with these"), hint))

    # -- looking at the validation rows ------------------------------------------------------------

    def evaluate(self, epoch: float) -> None:
        outputs_NC = model_outputs(self.model, self.valid.encoded, self.pad_id, bf16=self.s.bf16)
        loss = loss_sum(self.task.objective, torch.from_numpy(outputs_NC), self._valid_targets()).item()
        outputs_NC = outputs_NC * self.scale.std + self.scale.mean
        score = self.task.score(outputs_NC, self.valid.targets)
        found = {
            "step": self.step,
            "epoch": round(epoch, 3),
            "valid_loss": loss / len(outputs_NC),
            "score": score,
        }
        self.evals.append(found)
        if score > self.best_score:
            self.best_score, self.best_step, self.stale = score, self.step, 0
            self.best = copy.deepcopy(self.model.state_dict())
        else:
            self.stale += 1
            if self.s.patience and self.stale >= self.s.patience:
                self.stopped = say("no better score for {n} evaluations", n=self.stale)

    def _valid_targets(self) -> Tensor:
        targets = self.valid.targets
        return torch.from_numpy((targets - self.scale.mean) / self.scale.std if self.scale != Scale() else targets)

    # -- kill and resume ---------------------------------------------------------------------------

    FACTS = ("step", "stale", "best_score", "best_step", "curve", "evals")

    def save(self, folder: Path | None, seconds: float) -> None:
        if folder is None:
            return
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": pack_optimizer(self.optimizer),
        }
        if self.best:
            tensors["best"] = self.best
        state = {name: getattr(self, name) for name in self.FACTS} | {"seconds": seconds}
        save(folder, self.step, tensors, state)

    def resume(self, folder: Path | None) -> None:
        found = newest(folder)
        if found is None:
            return
        tensors, state = found
        self.model.load_state_dict(tensors["model"])
        unpack_optimizer(self.optimizer, tensors["optimizer"])
        self.best = tensors.get("best", {})
        for name in self.FACTS:
            setattr(self, name, state[name])
        self.seconds_before = state["seconds"]

    # -- what is left to tell ----------------------------------------------------------------------

    def notes(self, seconds: float) -> dict[str, Any]:
        rows = sum(len(b) for b in self._seen())
        tokens = int(sum(self.learn.lengths[b].sum() for b in self._seen()))
        every = max(1, len(self.curve) // CURVE_POINTS)
        return {
            "curve": self.curve[::every],
            "evals": self.evals,
            "best_step": self.best_step,
            "steps": self.step,
            "stopped": self.stopped,
            "clipped_share": sum(p["grad_norm"] > self.s.clip > 0 for p in self.curve) / max(1, len(self.curve)),
            "padding_share": padding_share(self.learn.lengths, self._seen()[: self.per_epoch]),
            "train_seconds": seconds,
            "samples_per_second": rows / seconds,
            "tokens_per_second": tokens / seconds,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def _seen(self) -> list[np.ndarray]:
        epochs = math.ceil(self.step / self.per_epoch)
        orders = (batch_order(self.learn.lengths, self.s.batch_size, self.seed, e) for e in range(epochs))
        return [batch for order in orders for batch in order][: self.step]


def _nested(objective: str, tweaks: Sequence[Tweak]) -> Loss:
    def plain(model: nn.Module, batch: Batch) -> Tensor:
        inputs = {k: v for k, v in batch.items() if k not in ("targets", "rows")}
        return loss_sum(objective, model(**inputs).logits, batch["targets"])

    loss: Loss = plain
    for tweak in reversed(tweaks):
        loss = functools.partial(tweak.loss, inner=loss)
    return loss


def _eval_steps(per_epoch: int, evals: int) -> set[int]:
    return {math.ceil(per_epoch * (i + 1) / evals) for i in range(evals)}


def _ids(*parts: Encoded) -> set[int]:
    return {token for encoded in parts for row in encoded for token in row["input_ids"]}
