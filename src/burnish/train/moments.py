"""Moments of a run that it can come back to: on disk after a kill, or in memory when the watch sends it back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from burnish.core import desk
from burnish.train import ranks
from burnish.train.checkpoint import newest, pack_optimizer, unpack_optimizer
from burnish.train.checkpoint import save as write_checkpoint
from burnish.train.diary import Diary
from burnish.train.head import redraw_head

if TYPE_CHECKING:
    from burnish.train.loop import Run

__all__ = ["RAMP", "keep", "recall", "resume", "save"]

# Steps over which the rate comes back after a return to good weights, with an optimizer that remembers nothing.
RAMP = 10
FACTS = (
    "seed", "epoch", "position", "step", "taken", "stale", "best_score", "best_step", "rate_factor", "warmup",
    "accumulate", "why_accumulate", "good", "ramp_from", "new_head",
)  # fmt: skip
# Of a run that begins again, what is kept: the best so far, and what was decided.
LASTING = (
    "best", "best_score", "best_step", "rate_factor", "seed", "warmup", "diary", "seconds_before", "good",
    "new_head",
)  # fmt: skip


def save(run: "Run", folder: Path | None, seconds: float) -> None:
    """Write all that decides how the run goes on; only the first rank writes to a folder that all share."""
    own = desk().folder is None  # a scratch folder, which no other rank sees
    if folder is None or not (ranks.first() or own):
        return
    tensors: dict[str, Mapping[str, Tensor]] = {
        "model": run.model.state_dict(),
        "optimizer": pack_optimizer(run.optimizer),
    }
    if run.best:
        tensors["best"] = run.best
    for i, tweak in enumerate(run.tweaks):
        if found := tweak.state():
            tensors[f"tweak-{i}"] = found
    tensors |= {f"good-{i}": found for i, found in enumerate(run.good_tweaks) if found}
    state = {name: getattr(run, name) for name in FACTS} | {"seconds": seconds}
    state |= {"diary": run.diary.to_json(), "loss_scale": run.loss_scale.state_dict()}
    state["noise"] = run.noise.state()
    write_checkpoint(folder, run.step, tensors, state)


def resume(run: "Run", folder: Path | None) -> None:
    """Go on from the newest checkpoint in `folder` that verifies; without one, nothing happens."""
    found = newest(folder)
    if found is None:
        return
    tensors, state = found
    run.model.load_state_dict(tensors["model"])
    unpack_optimizer(run.optimizer, tensors.get("optimizer", {}))
    run.best = tensors.get("best", {})
    for i, tweak in enumerate(run.tweaks):
        tweak.restore(tensors.get(f"tweak-{i}", {}))
    run.good_tweaks = [tensors.get(f"good-{i}", {}) for i in range(len(run.tweaks))]
    for name in FACTS:
        setattr(run, name, state[name])
    run.diary = Diary.from_json(state["diary"])
    run.loss_scale.load_state_dict(state["loss_scale"])
    run.noise.restore(state["noise"])
    run.seconds_before = state["seconds"]


def keep(run: "Run") -> None:
    """Remember this moment. Its weights are the best so far, which are kept anyway: it costs a few numbers."""
    run.good = {name: getattr(run, name) for name in ("epoch", "position", "step", "taken")}
    run.good["diary"] = run.diary.mark()
    run.good_tweaks = [{k: v.clone() for k, v in tweak.state().items()} for tweak in run.tweaks]


def recall(run: "Run") -> None:
    """Back to the best weights, or to the first where none were kept.

    What was decided since stays. The optimizer begins afresh, with a short ramp: its averages hold what went wrong.
    """
    if run.good:
        run.model.load_state_dict(run.best)
        for tweak, state in zip(run.tweaks, run.good_tweaks, strict=True):
            tweak.restore(state)
        for name in ("epoch", "position", "step", "taken"):
            setattr(run, name, run.good[name])
        run.diary, run.ramp_from = run.diary.back_to(run.good["diary"]), run.step
        if run.position >= len(run.order(run.seed, run.epoch)):
            run.epoch, run.position = run.epoch + 1, 0
    else:
        lasting = {name: getattr(run, name) for name in LASTING}
        ranks.wait()
        resume(run, run.places / "start")
        for name, value in lasting.items():
            setattr(run, name, value)
        run.diary, run.ramp_from = run.diary.back_to(Diary().mark()), -RAMP
        if run.new_head:
            redraw_head(run.model, run.task.width, run.seed)
    run.optimizer.state.clear()
