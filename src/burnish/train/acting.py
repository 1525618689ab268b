"""Doing what the watch of a run asks for, and saying what is wrong where there is nothing to do."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from burnish.core import desk
from burnish.errors import BurnishError, Missing, problem
from burnish.train import moments, ranks
from burnish.train.source import find_source
from burnish.train.tweak import Tweak
from burnish.train.watch import Act, Watch
from burnish.words import say

if TYPE_CHECKING:
    from burnish.train.loop import Run

__all__ = ["Acts", "broken", "meet", "obey"]

Acts = Act | Sequence[Act] | None


def meet(run: "Run", watch: Watch) -> None:
    """Tell the watch what it will see. Where there is no room for the first weights, it may only speak."""
    watch.begin(run.facts, is_plain(run))
    if watch.acts and run.step == 0:
        with contextlib.suppress(Missing):
            moments.save(run, run.places / "start", 0.0)
    ranks.wait()
    watch.acts = watch.acts and (run.places / "start").is_dir()


def is_plain(run: "Run") -> bool:
    """Whether the training loss is the task's own on equal rows, so that its level means something."""
    changed = any(type(tweak).loss is not Tweak.loss for tweak in run.tweaks)
    equal = run.learn.weights is None and run.learn.smoothing is None
    return run.s.objective is None and run.s.weighting is None and equal and not changed


def broken(run: "Run", loss: float, norm: float, rows_B: np.ndarray) -> Act:
    found = find_source(run.model, run.loss, run.batch, rows_B, run.learn.targets, run.autocast)
    run.diary.source = found.to_json() | {"rows": run.learn.named(found.rows_B)}
    act = run.s.watch.broke(run.diary, loss, norm, rows_B.tolist()) if run.s.watch else None
    if act is None:
        raise not_finite(run, loss, norm)
    return act


def obey(run: "Run", acts: Acts) -> bool:
    """Do them and write them down; the first after which the run stands somewhere else is the last: True."""
    return any(do(run, act) for act in ([acts] if isinstance(acts, Act) else acts or ()))


def do(run: "Run", act: Act) -> bool:
    event: dict[str, Any] = {"step": run.step, "did": act.kind, "name": act.name, "why": act.why}
    event |= {"evidence": dict(act.evidence), "advice": act.advice}
    event |= {"would": act.would} if act.would else {}
    went = act.kind in ("back", "restart")
    run.rate_factor *= act.factor
    if act.kind == "restart":
        run.seed, run.good, run.new_head = run.seed + 1, {}, run.new_head or act.head
        run.warmup = run.warmup if act.warmup is None else act.warmup
    if went:
        moments.recall(run)
    if went or act.kind == "on":
        run.stopped, run.stale = "", 0
    if act.kind == "stop":
        run.stopped = act.why
    run.diary.events = [*run.diary.events, event | {"rate_factor": run.rate_factor}]
    desk().report(act.why, min(1.0, run.step / run.facts.steps), {})
    return went


def not_finite(run: "Run", loss: float, norm: float) -> BurnishError:
    source = run.diary.source
    given = say(
        "training step {step} gave loss {loss} and gradient norm {norm}; it began with {what}{weights}: rows {rows}",
        step=run.step + 1,
        loss=loss,
        norm=norm,
        what=source["what"],
        weights=say(", as {name} holds such numbers", name=source["weights"]) if source["weights"] else "",
        rows=", ".join(source["rows"][:8]),
    )
    hint = say("--set lr={lr:g}, or look at these rows with `burnish check`", lr=run.s.lr / 3)
    if source["kind"] == "target":
        hint = say("correct these rows, or leave them out")
    elif source["weights"] and not run.diary.curve:
        hint = say("another copy of the model: this one came with such numbers")
    return BurnishError(problem(given, say("finite numbers; nothing was updated with these"), hint))
