"""The loop: parts put together, bf16 where the machine has it, early stopping, exact resume.

Everything random in it is a pure function of (seed, step), so a run that was killed continues from any
verified checkpoint to the same bits: on the same machine, build and thread count. Elsewhere the sample
order is still the same, and that is all that is promised.
"""

import contextlib
import copy
import functools
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.core import Task, desk
from burnish.errors import BurnishError, Missing, problem
from burnish.train import fp8, ranks
from burnish.train.batches import Bucketed, Encoded, collate, padding_share
from burnish.train.checkpoint import newest, pack_optimizer, save, unpack_optimizer
from burnish.train.clip import ByNorm, joint_norm
from burnish.train.compact import compact, expand
from burnish.train.diary import Diary
from burnish.train.dropout import cheap_dropout, plain_dropout
from burnish.train.evaluate import model_outputs
from burnish.train.first_loss import first_loss_notes
from burnish.train.head import redraw_head
from burnish.train.memory import in_words, memory_notes
from burnish.train.microbatch import cut, find_parts, longest_batch
from burnish.train.noise import NoiseMeter
from burnish.train.objective import Plain, loss_sum
from burnish.train.optimizer import FusedAdamW, grouped
from burnish.train.parts import Batching, Clip, Facts, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.scale import Scale, fit_scale
from burnish.train.schedule import ToZero, rate
from burnish.train.source import find_source
from burnish.train.tweak import Batch, Loss, Tweak, inputs_of
from burnish.train.watch import Act, Watch
from burnish.words import say

__all__ = ["Data", "Settings", "Trained", "train"]

# A checkpoint may cost at most this share of the time, and is never more frequent than MIN_GAP seconds.
CHECKPOINT_SHARE, MIN_GAP = 0.05, 10.0
# Steps between the watch's looks at the gradient of each layer.
LAYERS_EVERY = 10
# Steps over which the rate comes back after a return to good weights, with an optimizer that remembers nothing.
RAMP = 10
Acts = Act | Sequence[Act] | None
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know. Every value is final: defaults are chosen in `train.defaults`."""

    lr: float  # peak learning rate
    epochs: int
    batch_size: int  # rows an optimizer step
    accumulate: int = 1  # micro-batches a batch is cut into; changes memory, never the result; 0: find by trying
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    precision: str = "fp32"  # fp32, bf16, fp16 or fp8 (autocast, with fp32 masters and, for fp16, a loss scale)
    evals_per_epoch: int = 2
    patience: int = 6  # evaluations without a better score before stopping; 0 never stops early
    min_difference: float = 0.0  # how much better a score must be to count as better
    optimizer: Optimizer = FusedAdamW()
    schedule: Schedule = ToZero()
    clip: Clip = ByNorm()
    batching: Batching = Bucketed()
    objective: Objective | None = None  # None: the task's own
    weighting: Weighting | None = None  # None: every row counts alike
    rates: tuple[Rates, ...] = ()
    watch: Watch | None = None
    forecast_bytes: int = 0  # memory that this should take, for the record; 0 where nobody knows


@dataclass(frozen=True)
class Data:
    """Encoded rows with their targets, as `task.encode` gives them."""

    encoded: Encoded
    targets: np.ndarray
    ids: Sequence[str] = ()  # names of the rows, for people

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in self.encoded])

    def named(self, rows: np.ndarray) -> list[str]:
        return [self.ids[i] if self.ids else str(i) for i in rows.tolist()]


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
    facts = _facts(task, learn, settings, scale, seed, device)
    live = [tweak.begin(facts) for tweak in tweaks]
    torch.manual_seed(seed)  # what a tweak draws in `prepare` depends on the seed alone
    for tweak in live:
        model = tweak.prepare(model)
    if settings.precision == "fp8":
        fp8.convert(model, task.width)
    run = _Run(model, facts, learn, valid, settings, pad_id, live, scale)
    seconds = run.all_steps()
    run.conclude()
    fp8.revert(model)
    for tweak in reversed(live):
        model = tweak.finish(model)
    expand(model)
    plain_dropout(model)
    scale.fold(model, task.width)
    model.requires_grad_(True)
    return Trained(model.eval(), run.notes(seconds))


class _Run:
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
        self.model, self.learn, self.valid, self.s = model, learn, valid, settings
        self.task, self.device, self.facts = facts.task, facts.device, facts
        self.pad_id, self.tweaks, self.scale = pad_id, tweaks, scale
        self.optimizer = settings.optimizer.make(grouped(model, settings.weight_decay, settings.rates), settings.lr)
        for tweak in tweaks:
            tweak.bind(self.optimizer)
        self.loss = _nested((settings.objective or Plain(self.task.objective)).begin(facts), tweaks)
        self.targets = torch.from_numpy(facts.targets)
        self.weights_N = _weights(settings.weighting, self.task, learn.targets)
        self.loss_scale = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.noise = NoiseMeter(settings.batching.measure_every)
        self.seed, self.epoch, self.position, self.step, self.taken = facts.seed, 0, 0, 0, 0
        self.stale, self.best_score, self.best_step = 0, -math.inf, 0
        self.rate_factor, self.warmup = 1.0, settings.warmup
        self.accumulate, self.why_accumulate = settings.accumulate, ""
        self.best: dict[str, Tensor] = {}
        self.good: dict[str, Any] = {}  # the moment of the best weights, to go back to; empty is the start
        self.good_tweaks: list[dict[str, Tensor]] = []
        self.ramp_from, self.new_head = -RAMP, False
        self.diary = Diary()
        self.seconds_before, self.stopped = 0.0, ""
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]

    # -- the steps ---------------------------------------------------------------------------------

    def all_steps(self) -> float:
        """Run to the end; return the seconds of training and evaluation, earlier parts of a killed run included."""
        with self._places() as self.places:
            self.resume(desk().folder)
            self.check_ranks()
            self.tell_memory()
            start = saved = time.monotonic()
            gap = MIN_GAP
            self.model.train()
            if not self.accumulate:
                self.find_accumulate()
            if self.s.watch:
                self.meet(self.s.watch)
            while self.epoch < self.s.epochs and not self.stopped:
                self.some_rows(self._order(self.seed, self.epoch))
                now = time.monotonic()
                if now - saved > gap:
                    self.save(desk().folder, self.seconds_before + now - start)
                    saved = time.monotonic()
                    gap = max(MIN_GAP, (saved - now) / CHECKPOINT_SHARE)
            return self.seconds_before + time.monotonic() - start

    def some_rows(self, order: list[np.ndarray]) -> None:
        """One step, and what is due after it."""
        count = min(self.s.batching.grown(self.diary.noise, self.s.batch_size), len(order) - self.position)
        before = self.position
        rows_B = np.concatenate(order[before : before + count])
        if self.obey(self.one_step(rows_B, count)):
            return
        self.position += count
        self.taken += len(rows_B)
        late = ranks.any_of(desk().seconds_left() < 0)
        if late or _passes(before, self.position, len(order), self.s.evals_per_epoch):
            self.evaluate(self.epoch + self.position / len(order), late=late)
        if late:
            self.stopped = say("the time was used up")
        if self.position >= len(order):
            self.epoch, self.position = self.epoch + 1, 0

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
            return self.broken(loss, norm, rows_B)
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
        total = len(self.learn.encoded) * self.s.epochs
        share = rate(self.taken / total, rows / total, self.warmup, self.s.schedule, self.diary.scores())
        ramp = min(1.0, (self.step - self.ramp_from + 1) / RAMP)
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
                with self._autocast():
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
            with self._autocast():
                loss = self.loss(self.model, self.batch(rows_B))
            loss.backward()

        whole_B = longest_batch(self._order(self.seed, 0), self.learn.lengths)
        mine_B = ranks.mine(whole_B)
        rows_B = mine_B if len(mine_B) else whole_B[:1]  # more ranks than rows
        self.accumulate, self.why_accumulate = find_parts(self.model, attempt, rows_B)
        for tweak, state in zip(self.tweaks, states, strict=True):
            tweak.restore(state)

    def batch(self, rows_B: np.ndarray) -> Batch:
        made = collate([self.learn.encoded[i] for i in rows_B], self.pad_id)
        rows = torch.from_numpy(np.asarray(rows_B))
        made |= {"targets": self.targets[rows], "rows": rows, "weights": torch.from_numpy(self.weights_N[rows_B])}
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

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.s.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def _order(self, seed: int, epoch: int) -> list[np.ndarray]:
        if getattr(self, "_ordered", None) != (seed, epoch):
            self._batches = self.s.batching.order(self.learn.lengths, self.s.batch_size, seed, epoch)
            self._ordered = (seed, epoch)
        return self._batches

    # -- looking at the validation rows ------------------------------------------------------------

    def evaluate(self, epoch: float, *, late: bool = False) -> None:
        with self._evaluating():
            loss, score, facts = self.look()
            found = {"step": self.step, "epoch": round(epoch, 3), "valid_loss": loss, "score": score}
            self.diary.evals.append(found)
            better = self.take_if_better(score, self.model.state_dict())
            for tweak in self.tweaks:
                for name, weights in tweak.averages(self.model).items():
                    found[name] = self.score_of(weights)
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
            facts |= {"stopped": stopped, "last": stopped or late or epoch >= self.s.epochs}
            acts = self.s.watch.evaluated(self.diary, facts)
            if better and self.s.watch.acts:
                self.keep()
            self.obey(acts)

    def look(self) -> tuple[float, float, dict[str, Any]]:
        """Loss a row, score, and what the watch wants to know, on dev with the weights as they are."""
        outputs_NC = ranks.spread(len(self.valid.encoded), self.task.width, self.outputs_of)
        targets = torch.from_numpy(_standard(self.valid.targets, self.scale))
        loss = loss_sum(self.task.objective, torch.from_numpy(outputs_NC), targets).item() / len(outputs_NC)
        outputs_NC = outputs_NC * self.scale.std + self.scale.mean
        facts: dict[str, Any] = self.task.metrics(outputs_NC, self.valid.targets) if self.s.watch else {}
        facts = {"outputs": outputs_NC, "targets": self.valid.targets, "metrics": facts}
        return loss, self.task.score(outputs_NC, self.valid.targets), facts

    def outputs_of(self, rows_M: np.ndarray) -> np.ndarray:
        half = self.s.precision in ("bf16", "fp8")
        return model_outputs(self.model, [self.valid.encoded[i] for i in rows_M], self.pad_id, bf16=half)

    def score_of(self, weights: Mapping[str, Tensor]) -> float:
        """The score on dev of other weights; the model's own are put back."""
        own = copy.deepcopy(self.model.state_dict())
        try:
            self.model.load_state_dict(weights)
            return self.look()[1]
        finally:
            self.model.load_state_dict(own)

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
            weights = tweak.conclude(self.score_of)
            if weights is not None:
                self.take_if_better(self.score_of(weights), weights)
        if self.best:
            self.model.load_state_dict(self.best)

    # -- acting on what the watch says -------------------------------------------------------------

    def meet(self, watch: Watch) -> None:
        """Tell the watch what it will see. Where there is no room for the first weights, it may only speak."""
        watch.begin(self.facts, self.is_plain())
        if watch.acts and self.step == 0:
            with contextlib.suppress(Missing):
                self.save(self.places / "start", 0.0)
        ranks.wait()
        watch.acts = watch.acts and (self.places / "start").is_dir()

    def is_plain(self) -> bool:
        """Whether the training loss is the task's own on equal rows, so that its level means something."""
        changed = any(type(tweak).loss is not Tweak.loss for tweak in self.tweaks)
        return self.s.objective is None and self.s.weighting is None and not changed

    def broken(self, loss: float, norm: float, rows_B: np.ndarray) -> Act:
        found = find_source(self.model, self.loss, self.batch, rows_B, self.learn.targets, self._autocast)
        self.diary.source = found.to_json() | {"rows": self.learn.named(found.rows_B)}
        act = self.s.watch.broke(self.diary, loss, norm, rows_B.tolist()) if self.s.watch else None
        if act is None:
            raise self.not_finite(loss, norm)
        return act

    def obey(self, acts: Acts) -> bool:
        """Do them and write them down; the first after which the run stands somewhere else is the last: True."""
        return any(self.do(act) for act in ([acts] if isinstance(acts, Act) else acts or ()))

    def do(self, act: Act) -> bool:
        event: dict[str, Any] = {"step": self.step, "did": act.kind, "name": act.name, "why": act.why}
        event |= {"evidence": dict(act.evidence), "advice": act.advice}
        event |= {"would": act.would} if act.would else {}
        went = act.kind in ("back", "restart")
        self.rate_factor *= act.factor
        if act.kind == "restart":
            self.seed, self.good, self.new_head = self.seed + 1, {}, self.new_head or act.head
            self.warmup = self.warmup if act.warmup is None else act.warmup
        if went:
            self.recall()
        if went or act.kind == "on":
            self.stopped, self.stale = "", 0
        if act.kind == "stop":
            self.stopped = act.why
        self.diary.events = [*self.diary.events, event | {"rate_factor": self.rate_factor}]
        desk().report(act.why, min(1.0, self.step / self.facts.steps), {})
        return went

    def keep(self) -> None:
        """Remember this moment. Its weights are the best so far, which are kept anyway: it costs a few numbers."""
        self.good = {name: getattr(self, name) for name in ("epoch", "position", "step", "taken")}
        self.good["diary"] = self.diary.mark()
        self.good_tweaks = [{k: v.clone() for k, v in tweak.state().items()} for tweak in self.tweaks]

    def recall(self) -> None:
        """Back to the best weights, or to the first where none were kept.

        What was decided since stays. The optimizer begins afresh, with a short ramp: its averages hold what went wrong.
        """
        if self.good:
            self.model.load_state_dict(self.best)
            for tweak, state in zip(self.tweaks, self.good_tweaks, strict=True):
                tweak.restore(state)
            for name in ("epoch", "position", "step", "taken"):
                setattr(self, name, self.good[name])
            self.diary, self.ramp_from = self.diary.back_to(self.good["diary"]), self.step
            if self.position >= len(self._order(self.seed, self.epoch)):
                self.epoch, self.position = self.epoch + 1, 0
        else:
            lasting = {name: getattr(self, name) for name in self.LASTING}
            ranks.wait()
            self.resume(self.places / "start")
            for name, value in lasting.items():
                setattr(self, name, value)
            self.diary, self.ramp_from = self.diary.back_to(Diary().mark()), -RAMP
            if self.new_head:
                redraw_head(self.model, self.task.width, self.seed)
        self.optimizer.state.clear()

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

    def not_finite(self, loss: float, norm: float) -> BurnishError:
        source = self.diary.source
        given = say(
            "training step {step} gave loss {loss} and gradient norm {norm}; it began with {what}{weights}: "
            "rows {rows}",
            step=self.step + 1,
            loss=loss,
            norm=norm,
            what=source["what"],
            weights=say(", as {name} holds such numbers", name=source["weights"]) if source["weights"] else "",
            rows=", ".join(source["rows"][:8]),
        )
        hint = say("--set lr={lr:g}, or look at these rows with `burnish check`", lr=self.s.lr / 3)
        if source["kind"] == "target":
            hint = say("correct these rows, or leave them out")
        elif source["weights"] and not self.diary.curve:
            hint = say("another copy of the model: this one came with such numbers")
        return BurnishError(problem(given, say("finite numbers; nothing was updated with these"), hint))

    # -- kill and resume ---------------------------------------------------------------------------

    FACTS = (
        "seed", "epoch", "position", "step", "taken", "stale", "best_score", "best_step", "rate_factor", "warmup",
        "accumulate", "why_accumulate", "good", "ramp_from", "new_head",
    )  # fmt: skip
    # Of a run that begins again, what is kept: the best so far, and what was decided.
    LASTING = (
        "best", "best_score", "best_step", "rate_factor", "seed", "warmup", "diary", "seconds_before", "good",
        "new_head",
    )  # fmt: skip

    def save(self, folder: Path | None, seconds: float) -> None:
        own = desk().folder is None  # a scratch folder, which no other rank sees
        if folder is None or not (ranks.first() or own):
            return
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": pack_optimizer(self.optimizer),
        }
        if self.best:
            tensors["best"] = self.best
        for i, tweak in enumerate(self.tweaks):
            if found := tweak.state():
                tensors[f"tweak-{i}"] = found
        tensors |= {f"good-{i}": found for i, found in enumerate(self.good_tweaks) if found}
        state = {name: getattr(self, name) for name in self.FACTS} | {"seconds": seconds}
        state |= {"diary": self.diary.to_json(), "loss_scale": self.loss_scale.state_dict()}
        state["noise"] = self.noise.state()
        save(folder, self.step, tensors, state)

    def resume(self, folder: Path | None) -> None:
        found = newest(folder)
        if found is None:
            return
        tensors, state = found
        self.model.load_state_dict(tensors["model"])
        unpack_optimizer(self.optimizer, tensors.get("optimizer", {}))
        self.best = tensors.get("best", {})
        for i, tweak in enumerate(self.tweaks):
            tweak.restore(tensors.get(f"tweak-{i}", {}))
        self.good_tweaks = [tensors.get(f"good-{i}", {}) for i in range(len(self.tweaks))]
        for name in self.FACTS:
            setattr(self, name, state[name])
        self.diary = Diary.from_json(state["diary"])
        self.loss_scale.load_state_dict(state["loss_scale"])
        self.noise.restore(state["noise"])
        self.seconds_before = state["seconds"]

    # -- what is left to tell ----------------------------------------------------------------------

    def notes(self, seconds: float) -> dict[str, Any]:
        seen = self._seen()
        tokens = int(sum(self.learn.lengths[b].sum() for b in seen))
        notes = {
            **self.diary.notes(),
            **first_loss_notes(self.task, self.diary.curve, self.s.objective, self.tweaks),
            "best_step": self.best_step,
            "steps": self.step,
            **({"accumulate": self.why_accumulate} if self.why_accumulate else {}),
            "stopped": self.stopped,
            "padding_share": padding_share(self.learn.lengths, self._order(self.seed, 0)),
            "train_seconds": seconds,
            "samples_per_second": sum(len(b) for b in seen) / seconds,
            "tokens_per_second": tokens / seconds,
            **memory_notes(self.device, self.s.forecast_bytes),
        }
        for tweak in self.tweaks:
            notes |= tweak.notes()
        return notes

    def _seen(self) -> list[np.ndarray]:
        whole = [b for epoch in range(self.epoch) for b in self._order(self.seed, epoch)]
        return [*whole, *(self._order(self.seed, self.epoch)[: self.position] if self.position else [])]


def _nested(objective: Objective, tweaks: Sequence[Tweak]) -> Loss:
    def plain(model: nn.Module, batch: Batch) -> Tensor:
        loss_B = objective.rows(model(**inputs_of(batch)).logits.float(), batch["targets"])
        return (loss_B * batch["weights"]).sum()

    loss: Loss = plain
    for tweak in reversed(tweaks):
        loss = functools.partial(tweak.loss, inner=loss)
    return loss


def _facts(task: Task, learn: Data, s: Settings, scale: Scale, seed: int, device: torch.device) -> Facts:
    per_epoch = len(s.batching.order(learn.lengths, s.batch_size, seed, 0))
    return Facts(
        task=task,
        targets=_standard(learn.targets, scale),
        steps=per_epoch * s.epochs,
        per_epoch=per_epoch,
        batch_size=s.batch_size,
        lr=s.lr,
        seed=seed,
        device=device,
        scale=scale,
    )


def _standard(targets: np.ndarray, scale: Scale) -> np.ndarray:
    return targets if scale == Scale() else (targets - scale.mean) / scale.std


def _weights(weighting: Weighting | None, task: Task, targets: np.ndarray) -> np.ndarray:
    made = np.ones(len(targets)) if weighting is None else weighting.weights(task, targets)
    return np.asarray(made, dtype=np.float32)


def _passes(before: int, after: int, per_epoch: int, evals: int) -> bool:
    """Whether an evaluation is due between two positions of an epoch."""
    due = {math.ceil(per_epoch * (i + 1) / evals) for i in range(evals)}
    return any(before < at <= after for at in due)


def _ids(*parts: Encoded) -> set[int]:
    return {token for encoded in parts for row in encoded for token in row["input_ids"]}
