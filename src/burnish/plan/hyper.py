"""`burnish search`: hyper-parameter search, then the best settings once more over other seeds, then an answer.

study.db, trials.jsonl    every trial (see `burnish.plan.study`); trials.jsonl has a line for each finished one
space.json                what may be tried, and the default
search.json               the answer, with which a finished search is found again
recipe.yaml               the settings it recommends, for `burnish fit --recipe`
"""

import contextlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish import runs
from burnish.catalog import build
from burnish.core import describe
from burnish.errors import Missing, UsageError, nearest, problem
from burnish.plan import space as spaces
from burnish.plan.budget import Budget
from burnish.plan.finalists import Verdict, affordable, verdict
from burnish.plan.forecast import forecast as timed
from burnish.plan.ground import Ground, lay
from burnish.plan.request import Request, at_work, recipes_for, refuse_augmenting, tuning_of
from burnish.plan.searched import answer, cost, default_row
from burnish.plan.space import STEP, Space
from burnish.plan.trials import Job, Plan, repeat
from burnish.plan.workers import in_processes, run_trials
from burnish.train.defaults import choose
from burnish.train.prepare import settings_for
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["PRUNERS", "SAMPLERS", "Wish", "dry_run", "need_optuna", "search"]

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("hyperband", "halving", "none")
SHARE = 0.75  # of the time for the search; the rest is for the finalists
TRIALS = 30  # when neither a time nor a number is asked for
ENDLESS = 10_000
FINALISTS = 3
WORTH = 30.0  # seconds of training, for which processes are started
OPEN = ("lr", "epochs", "batch_size", "warmup")  # settings that the table fills

Report = Callable[[str, float, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Wish:
    """How to search. Raises UsageError for what cannot be meant."""

    vary: tuple[str, ...] = ()  # 'lr=1e-5..1e-3', 'batch_size=16,32': in place of the usual space
    trials: int | None = None
    workers: int = 1
    sampler: str = "tpe"
    pruner: str = "hyperband"

    def __post_init__(self) -> None:
        for name, value, known in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if value not in known:
                given = say("there is no {name} '{value}'", name=name, value=value)
                raise UsageError(problem(given, ", ".join(known), f"--{name} {nearest(value, known) or known[0]}"))
        for name, number in (("trials", self.trials), ("workers", self.workers)):
            if number is not None and number < 1:
                given = say("{name} is {value}", name=name, value=number)
                raise UsageError(problem(given, say("1 or more"), f"--{name} 1"))


def need_optuna() -> None:
    """Raises Missing when optuna is not installed, without importing it."""
    if importlib.util.find_spec("optuna") is None:
        given = say("the search needs the package optuna, which is not installed")
        raise Missing(problem(given, say("optuna, which proposes the trials"), 'pip install "burnish[search]"'))


def search(request: Request, wish: Wish, folder: Path, report: Report) -> dict[str, Any]:
    """Search, repeat the best, recommend; returns what `search --json` prints, without the plot.

    Whatever was finished in `folder` by the same request is kept; more trials may be asked of it, not another space.
    """
    need_optuna()
    base, asked = _asked(request, wish)
    with at_work(folder, request):
        return _found(request, wish, base, asked, folder, report)


def _found(
    request: Request, wish: Wish, base: Mapping[str, Any], asked: Space, folder: Path, report: Report
) -> dict[str, Any]:
    start = time.monotonic()
    _same(folder, wish)
    done = folder / "search.json"
    if done.is_file() and runs.read_json(done)["asked"] == wish.trials:
        return dict(runs.read_json(done))
    ground = lay(folder, request, report)
    plan = _plan(ground, base, asked, wish)
    limit = request.budget.time
    lines = _finished(plan)
    spent = sum(line["seconds"] for line in lines) / wish.workers  # of a search that was killed
    end = None if limit is None else start + max(limit - spent, (1 - SHARE) * limit)
    search_end = None if end is None or limit is None else end - (1 - SHARE) * limit
    run_trials(plan, ground, report, search_end=search_end, end=end)
    lines = _finished(plan)
    runs.write_text(folder / "trials.jsonl", "".join(json.dumps(t, sort_keys=True) + "\n" for t in lines))
    found, finals = _finals(plan, ground, lines, end, report)
    result = answer(plan, ground, lines, found, finals)
    result |= {"asked": wish.trials, "seconds": round(cost(folder, lines), 1)}
    runs.write_json(done, result)
    return result


def dry_run(request: Request, wish: Wish, folder: Path, report: Report) -> dict[str, Any]:
    """The space, and about how many trials fit into the time, from a few real steps. Writes nothing lasting."""
    need_optuna()
    base, asked = _asked(request, wish)
    with tempfile.TemporaryDirectory() as scratch:
        ground = lay(Path(scratch), request, report)
        plan = _plan(ground, base, asked, wish)
        step = build(STEP, plan.settings(plan.default))
        assert isinstance(step, FineTune)
        report(say("timing a few training steps"), 0.0, {})
        once = timed(ground.work, step, Budget(), 0)
        with contextlib.closing(plan.open()) as study:
            most = study.most(plan.trials)
    limit = request.budget.time
    if limit is not None:
        most = max(1, min(most, int(SHARE * limit * wish.workers / once.tune_seconds)))
    whole = (most / wish.workers + FINALISTS + 1) * once.tune_seconds
    return {
        "schema_version": 1,
        "run": str(folder),
        "space": spaces.to_json(plan.space),
        "default": dict(plan.default),
        "trial_seconds": spaces.tidy(once.tune_seconds),
        "trials": most,
        "seconds": spaces.tidy(whole if limit is None else min(whole, limit)),
        "memory_bytes": once.memory_bytes * wish.workers,
    }


# -- what is asked -------------------------------------------------------------------------------


def _asked(request: Request, wish: Wish) -> tuple[dict[str, Any], Space]:
    """The settings that hold for every trial, and what the user says of the space; before anything costs time."""
    refuse_augmenting(request, "search")
    use = tuning_of(request, recipes_for(request) if request.recipe or request.steps else [])
    step = build(use.name, use.settings)
    assert isinstance(step, FineTune)
    if step.lr == "auto":
        given = say("lr=auto is given")
        raise UsageError(problem(given, say("a rate, or none: the search looks for it"), say("leave lr out")))
    given_settings = {name: value for name, value in describe(step).items() if name in use.settings}
    return given_settings, spaces.varied(wish.vary, use.settings)


def _same(folder: Path, wish: Wish) -> None:
    """Raises UsageError when the study in `folder` was begun with another space, sampler or pruner."""
    now = {"vary": list(wish.vary), "sampler": wish.sampler, "pruner": wish.pruner}
    place = folder / "wish.json"
    before = runs.read_json(place) if place.is_file() else now
    if other := [name for name in now if now[name] != before[name]]:
        given = say("{folder} holds another search (different: {other})", folder=folder, other=", ".join(other))
        raise UsageError(problem(given, say("the same search, to go on with it"), say("--out another/folder")))
    runs.write_json(place, now)


def _plan(ground: Ground, base: Mapping[str, Any], asked: Space, wish: Wish) -> Plan:
    """The space and the default for these rows and this model; every open setting is written out."""
    work = ground.work
    step = build(STEP, base)
    assert isinstance(step, FineTune)
    usual = choose(sum(p.numel() for p in work.model.parameters()), len(work.train), pair=work.task.pair)
    final = settings_for(work, step)[0]  # raises UsageError where the parts do not suit the task
    around = spaces.space_for(
        step, usual, rows=len(work.train), labels=work.task.width, objective=work.task.objective, fixed=tuple(base)
    )
    space = spaces.merge(around, asked)
    table = {name: getattr(final, name) for name in OPEN if name not in base}
    if "lr" in table:
        table["lr"] = spaces.tidy(table["lr"])  # as the space has it
    default = spaces.default_point(space, step, usual, final.lr)
    runs.write_json(ground.run / "space.json", {"space": spaces.to_json(space), "default": default})
    limit = ground.request.budget.time
    trials = wish.trials or (TRIALS if limit is None else ENDLESS)
    return Plan(
        ground.run, ground.request, {**base, **table}, space, default, trials, wish.sampler, wish.pruner,
        wish.workers,
    )  # fmt: skip


def _finished(plan: Plan) -> list[dict[str, Any]]:
    with contextlib.closing(plan.open()) as study:
        return study.finished()


# -- finalists -----------------------------------------------------------------------------------


def chosen(plan: Plan, lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best trials that went to their end, no two of them alike and none like the default.

    Only from the better half: after a short search the third best may be a wreck, whose spread would drown the rest.
    """
    whole = [t for t in lines if not t["pruned"] and not t["failed"]]
    if build(STEP, plan.settings(plan.default)) == build(STEP, plan.base):  # --vary may have left it out of the space
        whole = [t for t in whole if spaces.apart(plan.space, t["params"], plan.default)]
    found: list[Mapping[str, Any]] = []
    for line in sorted(whole, key=lambda t: (-t["score"], t["trial"]))[: (len(whole) + 1) // 2]:
        new = all(spaces.apart(plan.space, line["params"], other["params"]) for other in found)
        if new and len(found) < FINALISTS:
            found.append(line)
    return found


def _finals(
    plan: Plan, ground: Ground, lines: Sequence[Mapping[str, Any]], end: float | None, report: Report
) -> tuple[Verdict, list[dict[str, Any]]]:
    """Repeat the best and the default over seeds, as many as time allows; the default is the first."""
    best = chosen(plan, lines)
    seconds = [float(t["seconds"]) for t in best]
    first = next((float(t["seconds"]) for t in lines if t["trial"] == 0), max(seconds, default=0.0))
    left = float("inf") if end is None else (end - time.monotonic()) * plan.workers
    count, seeds = affordable(first, seconds, left)
    rows: list[dict[str, Any]] = [default_row(plan)]
    rows += [{"trial": t["trial"], "params": t["params"], "settings": plan.settings(t["params"])} for t in best[:count]]
    if len(rows) == 1:
        return Verdict(None, 0.0, None, (), ()), []
    jobs = [Job(row["settings"], seed) for seed in range(1, seeds + 1) for row in rows]
    if plan.workers > 1 and seeds * (first + sum(seconds[:count])) > WORTH:
        in_processes(plan, report, jobs, search_end=None, end=end)
    # Here again what a dead worker left; what is finished is only read.
    scores: list[list[float]] = [[] for _ in rows]
    for number, job in enumerate(jobs):
        share = number / len(jobs)

        def seen(what: str, part: float, facts: Mapping[str, Any], share: float = share) -> None:
            report(say("repeating the best"), share + part / len(jobs), facts)

        # The first seed is finished whatever it takes: without it there is no answer.
        late = end is not None and time.monotonic() > end
        if late and number >= len(rows) and not (job.place(ground) / "result.json").is_file():
            break
        outcome = repeat(ground, job, deadline=None if number < len(rows) else end, report=seen)
        if outcome.cut:
            break
        scores[number % len(rows)].append(outcome.score)
    whole = min(map(len, scores))  # seeds that every setting has
    scores = [row[:whole] for row in scores]
    found = verdict(scores)
    for row, own, mean, std in zip(rows, scores, found.means, found.stds, strict=True):
        row.update(scores=own, mean=mean, std=std)
    return found, rows
