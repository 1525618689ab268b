"""What a search found: the answer, its reason in words, the curve of the best so far, and what all of it cost."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish import recipe, runs
from burnish.catalog import build
from burnish.core import describe
from burnish.plan import space as spaces
from burnish.plan.finalists import Verdict
from burnish.plan.ground import Ground
from burnish.plan.space import STEP, Space
from burnish.plan.trials import Plan
from burnish.words import say

__all__ = ["answer", "cost", "curve", "default_row"]


def answer(
    plan: Plan, ground: Ground, lines: list[dict[str, Any]], found: Verdict, finals: list[dict[str, Any]]
) -> dict[str, Any]:
    metric = ground.work.task.metric
    default = finals[0] if finals else default_row(plan)
    winner = finals[found.winner] if found.winner is not None else None
    taken = winner if winner is not None and found.beats else default
    why = _why(found, finals, metric, plan.space)
    step = build(STEP, taken["settings"])
    runs.write_text(ground.run / "recipe.yaml", recipe.dump([step], name="searched", why=why))
    with contextlib.closing(plan.open()) as study:
        importance = study.importance()
    return {
        "schema_version": 1,
        "run": str(ground.run),
        "metric": metric,
        "best": winner,
        "default": default,
        "recommended": {"which": "default" if taken is default else "best", "settings": taken["settings"]},
        "gain": found.gain,
        "noise": found.noise,
        "finalists": finals,
        "importance": importance,
        "curve": curve(lines),
        "trials": lines,
        "space": spaces.to_json(plan.space),
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "workers": plan.workers,
        "recipe": str(ground.run / "recipe.yaml"),
        "why": why,
    }


def default_row(plan: Plan) -> dict[str, Any]:
    """What a fit without a search would use, also where the space leaves it out."""
    step = describe(build(STEP, plan.base))
    params = {name: spaces.EXTRA[name][3] if name in spaces.EXTRA else step[name] for name in plan.space}
    plain = {name: value["use"] if isinstance(value, dict) else value for name, value in params.items()}
    return {"trial": None, "params": plain, "settings": dict(plan.base)}


def curve(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Best score so far after each trial, with the seconds that all up to it took."""
    found: list[dict[str, Any]] = []
    best, seconds = None, 0.0
    for line in lines:
        seconds += line["seconds"]
        if not line["pruned"] and not line["failed"] and (best is None or line["score"] > best):
            best = line["score"]
        found.append({"trial": line["trial"], "score": line["score"], "best": best, "seconds": round(seconds, 3)})
    return found


def _why(found: Verdict, finals: Sequence[Mapping[str, Any]], metric: str, space: Space) -> str:
    if found.winner is None:
        return say("the default: no other trial went to its end")
    seeds, best, default = len(finals[0]["scores"]), finals[found.winner], finals[0]
    told = say(
        "{params}: {metric} {a} over {n} seeds, the default {b}",
        params=_short(best["params"], space), metric=metric, n=seeds, a=_spread(best), b=_spread(default),
    )  # fmt: skip
    if found.noise is None:
        return say("the default: time allowed one seed only, so the gain may be luck ({told})", told=told)
    gap = say("{gain:+.4f}, where seeds alone make up to {noise:.4f}", gain=found.gain, noise=found.noise)
    if found.beats:
        return say("{told}; the gain is more than the noise of the seeds: {gap}", told=told, gap=gap)
    return say("the default: the best found is not better by more than the noise of the seeds, {gap} ({told})",
               gap=gap, told=told)  # fmt: skip


def _short(params: Mapping[str, Any], space: Space) -> str:
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in params.items() if name in space)  # fmt: skip


def _spread(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.4f}" + ("" if row["std"] is None else f" ± {row['std']:.4f}")


def cost(folder: Path, lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of training in all, finalists included, whichever process spent them."""
    finals = [runs.read_json(path)["seconds"] for path in sorted((folder / "finalists").glob("*/result.json"))]
    return float(sum(t["seconds"] for t in lines) + sum(finals))
