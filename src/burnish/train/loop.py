"""The loop: parts put together, bf16 where the machine has it, early stopping, exact resume.

Everything random in it is a pure function of (seed, step), so a run that was killed continues from any
verified checkpoint to the same bits: on the same machine, build and thread count. Elsewhere the sample
order is still the same, and that is all that is promised.
"""

import contextlib
import functools
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core import Task, desk
from burnish.errors import BurnishError, problem
from burnish.train import acting, fp8, moments, ranks
from burnish.train.acting import Acts
from burnish.train.batches import Encoded, collate
from burnish.train.clip import joint_norm
from burnish.train.compact import compact, expand
from burnish.train.diary import Diary
from burnish.train.dropout import cheap_dropout, plain_dropout
from burnish.train.given import Data, Settings, Trained, facts_of, weights_of
from burnish.train.judge import Judge
from burnish.train.memory import in_words
from burnish.train.microbatch import cut, find_parts, longest_batch
from burnish.train.noise import NoiseMeter
from burnish.train.objective import Plain
from burnish.train.optimizer import grouped
from burnish.train.parts import Facts, Objective
from burnish.train.scale import Scale, fit_scale
from burnish.train.schedule import rate
from burnish.train.smooth import smoothed_rows
from burnish.train.told import notes_of
from burnish.train.tweak import Batch, Loss, Tweak, inputs_of
from burnish.words import say

__all__ = ["Data", "Settings", "Trained", "train"]

# A checkpoint may cost at most this share of the time, and is never more frequent than MIN_GAP seconds.
CHECKPOINT_SHARE, MIN_GAP = 0.05, 10.0
# Steps between the watch's looks at the gradient of each layer.
LAYERS_EVERY = 10
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}


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
    facts = facts_of(task, learn, settings, scale, seed, device)
    live = [tweak.begin(facts) for tweak in tweaks]
    if device.type == "cpu":
        compact(model, _ids(learn.encoded, valid.encoded).union(*(tweak.ids() for tweak in live)))
        cheap_dropout(model)
    torch.manual_seed(seed)  # what a tweak draws in `prepare` depends on the seed alone
    for tweak in live:
        model = tweak.prepare(model)
    if settings.precision == "fp8":
        fp8.convert(model, task.width)
    run = Run(model, facts, learn, valid, settings, pad_id, live, scale)
    seconds = run.all_steps()
    run.conclude()
    fp8.revert(model)
    for tweak in reversed(live):
        model = tweak.finish(model)
    expand(model)
    plain_dropout(model)
    scale.fold(model, task.width)
    model.requires_grad_(True)
    return Trained(model.eval(), notes_of(run, seconds))


class Run:
    """The state of one training run, and the few things that happen to it."""

    def __init__(
        self,
        model: nn.Module,
        facts: Facts,
        learn: Data,
        valid: Data,
        settings: Settings,
        pad_id: int,
        tweaks: Sequence[Tweak],
        scale: Scale,
    ):
        self.model, self.learn, self.s = model, learn, settings
        self.task, self.device, self.facts = facts.task, facts.device, facts
        self.pad_id, self.tweaks = pad_id, tweaks
        half = settings.precision in ("bf16", "fp8")
        self.judge = Judge(model, facts.task, valid, scale, pad_id, bf16=half)
        self.optimizer = settings.optimizer.make(grouped(model, settings.weight_decay, settings.rates), settings.lr)
        for tweak in tweaks:
            tweak.bind(self.optimizer)
        objective = (settings.objective or Plain(self.task.objective)).begin(facts)
        self.loss = _nested(objective, self.task.objective, tweaks)
        self.targets = torch.from_numpy(facts.targets)
        self.weights_N = weights_of(settings.weighting, self.task, learn.targets, learn.weights)
        self.loss_scale = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.noise = NoiseMeter(settings.batching.measure_every)
        self.seed, self.epoch, self.position, self.step, self.taken = facts.seed, 0, 0, 0, 0
        self.stale, self.best_score, self.best_step = 0, -math.inf, 0
        self.rate_factor, self.warmup = 1.0, settings.warmup
        self.accumulate, self.why_accumulate = settings.accumulate, ""
        self.best: dict[str, Tensor] = {}
        self.good: dict[str, Any] = {}  # the moment of the best weights, to go back to; empty is the start
        self.good_tweaks: list[dict[str, Tensor]] = []
        self.ramp_from, self.new_head = -moments.RAMP, False
        self.diary = Diary()
        self.seconds_before, self.stopped = 0.0, ""
        self.places = Path()  # where the first weights are kept: the desk's folder, or a scratch one
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]

    # -- the steps ---------------------------------------------------------------------------------

    def all_steps(self) -> float:
        """Run to the end; return the seconds of training and evaluation, earlier parts of a killed run included."""
        with self._places() as self.places:
            moments.resume(self, desk().folder)
            self.check_ranks()
            self.enter()
            self.tell_memory()
            start = saved = time.monotonic()
            gap = MIN_GAP
            self.model.train()
            if not self.accumulate:
                self.find_accumulate()
            if self.s.watch:
                acting.meet(self, self.s.watch)
            while not self.over() and not self.stopped:
                self.enter()
                self.some_rows(self.order(self.seed, self.epoch))
                now = time.monotonic()
                if now - saved > gap:
                    moments.save(self, desk().folder, self.seconds_before + now - start)
                    saved = time.monotonic()
                    gap = max(MIN_GAP, (saved - now) / CHECKPOINT_SHARE)
            return self.seconds_before + time.monotonic() - start

    def some_rows(self, order: list[np.ndarray]) -> None:
        """One step, and what is due after it."""
        count = min(self.s.batching.grown(self.diary.noise, self.s.batch_size), len(order) - self.position)
        before, step = self.position, self.step
        rows_B = np.concatenate(order[before : before + count])
        if acting.obey(self, self.one_step(rows_B, count)):
            return
        self.position += count
        self.taken += len(rows_B)
        late = ranks.any_of(desk().seconds_left() < 0)
        if self.s.steps is None:
            due = _passes(before, self.position, len(order), self.s.evals_per_epoch)
        else:
            due = _passes(step, self.step, self.s.steps, self.s.evals_per_epoch * self.s.epochs)
        if late or due:
            self.evaluate(self.epoch + self.position / len(order), late=late)
        if late:
            self.stopped = say("the time was used up")
        if self.position >= len(order):
            self.epoch, self.position = self.epoch + 1, 0

    def enter(self) -> None:
        """Tell the tweaks which epoch it is, where it is another than before."""
        if getattr(self, "_entered", None) != self.epoch:
            for tweak in self.tweaks:
                tweak.before_epoch(self.epoch)
            self._entered = self.epoch

    def over(self) -> bool:
        return self.epoch >= self.s.epochs if self.s.steps is None else self.step >= self.s.steps

    def one_step(self, rows_B: np.ndarray, merged: int = 1) -> Acts:
        # Seeded a step at a time: dropout depends on (seed, step) alone, so nothing has to be restored.
        torch.manual_seed(hash((self.seed, self.step)) & (2**63 - 1))
        lr = self.set_rate(len(rows_B), merged)
        for tweak in self.tweaks:
            tweak.before_step(self.model, self.step)
        self.optimizer.zero_grad()
        loss = self.backward(rows_B, merged)
        norm = self.gradients()
        fits = math.isfinite(norm)
        if not math.isfinite(loss) or not (fits or self.may_skip()):
            self.loss_scale.update()  # closes the step for it, should someone act on this and go on
            return acting.broken(self, loss, norm, rows_B)
        layers: dict[str, float] = {}
        if fits:
            self.diary.clipped += self.s.clip.apply(self._gradients(), norm, self.diary.norms)
            layers = self.layer_norms()
            self.loss_scale.step(self.optimizer)
        self.loss_scale.update()
        self.step += 1
        for tweak in self.tweaks:
            tweak.after_step(self.model, self.step)
        if not fits:
            self.diary.skipped += 1  # too large for fp16: the scale halved and the weights stayed as they were
            return None
        self.diary.rows = self.learn.named(rows_B) if self.s.watch else []
        return self.wrote(loss, lr, norm, layers)

    def may_skip(self) -> bool:
        """Whether a smaller loss scale can still help: below 1, it is the gradient itself that does not fit."""
        return self.loss_scale.is_enabled() and self.loss_scale.get_scale() >= 1

    def set_rate(self, rows: int, merged: int) -> float:
        """Set and return the rate. Merged batches have less noise: Adam's rate goes with the root of their number."""
        if self.s.steps is None:
            total = len(self.learn.encoded) * self.s.epochs
            done, width = self.taken / total, rows / total
        else:
            done, width = self.step / self.s.steps, 1 / self.s.steps
        share = rate(done, width, self.warmup, self.s.schedule, self.diary.scores())
        ramp = min(1.0, (self.step - self.ramp_from + 1) / moments.RAMP)
        lr = self.s.lr * share * self.rate_factor * ramp * math.sqrt(merged)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        return lr

    def backward(self, rows_B: np.ndarray, merged: int) -> float:
        """Gradients of the loss over all rows of the step, on all ranks; the denominator is their whole weight."""
        mine_B = ranks.mine(rows_B)
        total, loss_sum_ = float(self.weights_N[rows_B].sum()), 0.0
        measured = self.noise.due(self.step) and ranks.all_of(len(mine_B) > 1)
        parts = max(self.accumulate * merged, 2 if measured else 1)  # however many batches, memory for one
        with ranks.own_draws():
            for part in cut(mine_B, parts, mixed=measured and merged == 1):
                with self.autocast():
                    loss = self.loss(self.model, self.batch(part)) / total
                self.loss_scale.scale(loss).backward()
                loss_sum_ += loss.item()
                if measured:
                    self.noise.part(len(part), self._gradients(), self.loss_scale.get_scale())
        return ranks.total(loss_sum_)

    def gradients(self) -> float:
        """Bring gradients together and to their true size; return their joint norm."""
        ranks.add_up(self.parameters)
        self.loss_scale.unscale_(self.optimizer)
        norm = joint_norm(self._gradients())
        found = self.noise.result(norm)
        if found is not None:
            self.diary.noise.append(found)
        return norm

    def wrote(self, loss: float, lr: float, norm: float, layers: Mapping[str, float]) -> Acts:
        """Put the step into the diary, tell whoever waits, and ask the watch."""
        point = {"step": self.step, "loss": round(loss, 6), "lr": lr, "grad_norm": round(norm, 5)}
        self.diary.curve.append(point)
        self.diary.norms.append(norm)
        if self.step % 5 == 0:
            steps = self.facts.steps
            facts = {"loss": loss, "score": self.best_score, "step": self.step, "steps": steps}
            desk().report(say("training"), min(1.0, self.step / steps), facts)
        return self.s.watch.stepped(self.diary, layers) if self.s.watch else None

    def find_accumulate(self) -> None:
        """Once a run: dropout draws by micro-batch, so a resumed run keeps the number that was found."""
        states = [{k: v.clone() for k, v in tweak.state().items()} for tweak in self.tweaks]

        def attempt(rows_B: np.ndarray) -> None:
            with self.autocast():
                loss = self.loss(self.model, self.batch(rows_B))
            loss.backward()

        whole_B = longest_batch(self.order(self.seed, 0), self.learn.lengths)
        mine_B = ranks.mine(whole_B)
        rows_B = mine_B if len(mine_B) else whole_B[:1]  # more ranks than rows
        self.accumulate, self.why_accumulate = find_parts(self.model, attempt, rows_B)
        for tweak, state in zip(self.tweaks, states, strict=True):
            tweak.restore(state)

    def batch(self, rows_B: np.ndarray) -> Batch:
        made = collate([self.learn.encoded[i] for i in rows_B], self.pad_id)
        rows = torch.from_numpy(np.asarray(rows_B))
        made |= {"targets": self.targets[rows], "rows": rows, "weights": torch.from_numpy(self.weights_N[rows_B])}
        if self.learn.smoothing is not None:
            made["smoothing"] = torch.from_numpy(self.learn.smoothing[rows_B])
        return {name: value.to(self.device) for name, value in made.items()}

    def layer_norms(self) -> dict[str, float]:
        """Gradient norms by parameter, now and then, for the watch; 0 where one is missing and nobody meant it to."""
        if self.s.watch is None or self.step % LAYERS_EVERY:
            return {}
        named = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        norms = dict(zip(named, torch.stack(torch._foreach_norm(list(named.values()))).tolist(), strict=True))
        meant = bool(self.s.rates or self.tweaks)
        return norms if meant else {n: norms.get(n, 0.0) for n, _ in self.model.named_parameters()}

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.s.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def order(self, seed: int, epoch: int) -> list[np.ndarray]:
        if getattr(self, "_ordered", None) != (seed, epoch):
            self._batches = self.s.batching.order(self.learn.lengths, self.s.batch_size, seed, epoch)
            self._ordered = (seed, epoch)
        return self._batches

    # -- looking at the validation rows ------------------------------------------------------------

    def evaluate(self, epoch: float, *, late: bool = False) -> None:
        with self._evaluating():
            loss, score, outputs_NC = self.judge.look()
            found = {"step": self.step, "epoch": round(epoch, 3), "valid_loss": loss, "score": score}
            self.diary.evals.append(found)
            better = self.take_if_better(score, self.model.state_dict())
            for tweak in self.tweaks:
                for name, weights in tweak.averages(self.model).items():
                    found[name] = self.judge.score_of(weights)
                    better |= self.take_if_better(found[name], weights)
                tweak.after_eval(self.model, score)
        if better:
            self.stale = 0
        else:
            self.stale += 1
            if self.s.patience and self.stale >= self.s.patience:
                self.stopped = say("no better score for {n} evaluations", n=self.stale)
        if self.s.watch:
            stopped = bool(self.stopped)
            last = epoch >= self.s.epochs if self.s.steps is None else self.over()
            ends = {"stopped": stopped, "last": stopped or late or last}
            acts = self.s.watch.evaluated(self.diary, self.judge.facts(outputs_NC) | ends)
            if better and self.s.watch.acts:
                moments.keep(self)
            acting.obey(self, acts)

    def take_if_better(self, score: float, weights: Mapping[str, Tensor]) -> bool:
        if not score > self.best_score + (self.s.min_difference if self.best else 0.0):
            return False
        self.best_score, self.best_step = score, self.step
        self.best = {name: value.detach().clone() for name, value in weights.items()}
        return True

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Some optimizers train other weights than they recommend; they know how to change between the two."""
        for turn in ("eval", "train"):
            getattr(self.optimizer, turn, lambda: None)()
            if turn == "eval":
                yield

    def conclude(self) -> None:
        """The best weights into the model; a tweak may know better ones."""
        for tweak in self.tweaks:
            weights = tweak.conclude(self.judge.score_of)
            if weights is not None:
                self.take_if_better(self.judge.score_of(weights), weights)
        if self.best:
            self.model.load_state_dict(self.best)

    # -- before the first step ---------------------------------------------------------------------

    def tell_memory(self) -> None:
        if self.s.forecast_bytes:
            told = say("memory: about {size}", size=in_words(self.s.forecast_bytes))
            desk().report(say("training"), min(1.0, self.step / self.facts.steps), {"memory": told})

    def check_ranks(self) -> None:
        if not ranks.agree(self.step):
            given = say("this rank goes on at step {step}, another elsewhere", step=self.step)
            hint = say("a folder on a disk that all of them share, or an empty one")
            raise BurnishError(problem(given, say("checkpoints that all ranks can read"), hint))

    @contextlib.contextmanager
    def _places(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as scratch:
            yield desk().folder or Path(scratch)


def _nested(objective: Objective, kind: str, tweaks: Sequence[Tweak]) -> Loss:
    def plain(model: nn.Module, batch: Batch) -> Tensor:
        outputs = model(**inputs_of(batch)).logits.float()
        if "smoothing" in batch:
            loss_B = smoothed_rows(objective, kind, outputs, batch["targets"], batch["smoothing"])
        else:
            loss_B = objective.rows(outputs, batch["targets"])
        return (loss_B * batch["weights"]).sum()

    loss: Loss = plain
    for tweak in reversed(tweaks):
        loss = functools.partial(tweak.loss, inner=loss)
    return loss


def _passes(before: int, after: int, per_epoch: int, evals: int) -> bool:
    """Whether an evaluation is due between two positions of an epoch."""
    due = {math.ceil(per_epoch * (i + 1) / evals) for i in range(evals)}
    return any(before < at <= after for at in due)


def _ids(*parts: Encoded) -> set[int]:
    return {token for encoded in parts for row in encoded for token in row["input_ids"]}
