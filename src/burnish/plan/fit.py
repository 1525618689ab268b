"""The whole way: data -> baselines -> tune -> compress -> engines -> choice -> parity -> test, resumable throughout."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from burnish import recipe as recipes
from burnish import runs
from burnish.catalog import build
from burnish.core import Step, name_of
from burnish.errors import BudgetNotMet, Missing, problem
from burnish.measure.machine import bf16_is_native
from burnish.measure.memory import peak_rss_bytes
from burnish.measure.size import folder_size
from burnish.plan import effect, finish
from burnish.plan.candidate import Candidate, Tried
from burnish.plan.choose import judge, nearest_three, time_all
from burnish.plan.explore import ENDS, epochs_for, forecast_of, shapes
from burnish.plan.forecast import Forecast, as_json, disk_free, forecast
from burnish.plan.gather import CANDIDATE_SECONDS, Gather, explores, needs_training
from burnish.plan.ground import Ground, lay
from burnish.plan.reopen import started
from burnish.plan.request import Request, at_work, augmenting, recipes_for, tuning_of
from burnish.plan.search import Clock, Left, settle, tune
from burnish.tune.few_rows import FewRows
from burnish.tune.finetune import FineTune
from burnish.words import say

__all__ = ["fit", "not_met", "plan"]

Report = Callable[[str, float, Mapping[str, Any]], None]
RACE_SHARE, RACE_SECONDS, RACE_LEAST = 0.12, 40.0, 15.0
FEW = 100  # training rows up to which cheaper ways of tuning are tried as well
RESERVE_SHARE, RESERVE_MOST = 0.22, 150.0  # of the time, kept back for the race, parity, the test rows and the report


def fit(request: Request, folder: Path, report: Report) -> dict[str, Any]:
    """Answer `request` in `folder`; returns what result.json holds, which is also how a finished run is found again.

    Raises BudgetNotMet when nothing meets the limits: the run is then complete all the same, with the nearest
    candidate as its artifact.
    """
    wanted = recipes_for(request)  # first, so that a spelling mistake costs nothing
    for use in augmenting(request):
        use.build()
    with at_work(folder, request):
        if (folder / "result.json").is_file() and (folder / "manifest.json").is_file():
            return dict(runs.read_json(folder / "result.json"))
        return _answer(request, wanted, folder, report)


def _answer(request: Request, wanted: list[recipes.Recipe], folder: Path, report: Report) -> dict[str, Any]:
    start = time.monotonic()
    clock = Clock(request.budget.time, min(RESERVE_MOST, RESERVE_SHARE * (request.budget.time or 0.0)), start)
    told: dict[str, Any] = {}
    if request.start:
        ground, reference_work = started(folder, request, request.start)
        expected = _forecast(ground, len(wanted), report)
    else:
        ground = lay(folder, request, report)
        expected = _forecast(ground, len(wanted), report)
        reference_work, told = _reference(ground, expected, clock, report)
    more = len(reference_work.work.train) / len(ground.work.train)  # students learn from the same rows
    settled = {**expected, "student_seconds": expected["student_seconds"] * more}
    gathered = Gather(ground, reference_work, settled, clock, report)
    gathered.all_of(wanted)
    candidates, left = gathered.made, gathered.left
    reference = candidates[0]
    chosen, met = _race(ground, candidates, reference, report)
    result = _finish(ground, candidates, left, chosen, reference, report, met=met)
    if told:
        result["augmentation"] = told
    result |= {
        "forecast": expected,
        "seconds": round(time.monotonic() - start, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "peak_memory_bytes": peak_rss_bytes(),
        "disk_bytes": folder_size(folder),
    }
    finish.seal(ground, result)
    (folder / "recipe.yaml").write_text(_recipe_of(ground, chosen))
    runs.write_json(folder / "candidates.json", result["candidates"])
    runs.write_json(folder / "result.json", result)
    return result


def _reference(
    ground: Ground, expected: Mapping[str, Any], clock: Clock, report: Report
) -> tuple[Tried, dict[str, Any]]:
    """The tuned model, and what augmentation gave where it was asked for."""
    step, uses = _tuning(ground.request, expected), augmenting(ground.request)
    if not uses:
        return tune(ground, _among_rivals(step, ground), clock, report), {}
    seconds, anyway = float(expected["tune_seconds"]), ground.request.augment_anyway
    return effect.tuned(ground, uses, step, clock, report, seconds=seconds, anyway=anyway)


def not_met(result: Mapping[str, Any]) -> BudgetNotMet:
    """The error for a finished run that meets no limit, with the nearest three."""
    nearest = [c for c in result["candidates"] if c.get("near")]
    lines = "; ".join(
        say(
            "{name} on {engine} {precision}: {mb:.1f} MB, p95 {p95:.1f} ms, drop {drop:.1f} ({why})",
            name=c["name"],
            engine=c["engine"],
            precision=c["precision"],
            mb=c["size_bytes"] / 1e6,
            p95=c["p95_ms"],
            drop=c["drop"]["value"],
            why=c["why"],
        )
        for c in nearest
    )
    limits = ", ".join(f"{k} {v}" for k, v in result["budget"]["limits"].items())
    given = say("nothing meets the limits ({limits})", limits=limits)
    expected = say("a candidate within them; the nearest: {lines}", lines=lines)
    return BudgetNotMet(problem(given, expected, say("loosen the limit that is named last, or give --time more")))


def plan(request: Request, folder: Path, report: Report) -> dict[str, Any]:
    """The dry run: what would be tried and what it should cost, from a few real steps. Writes nothing lasting."""
    import tempfile

    wanted = recipes_for(request)
    if request.start:
        ground = started(folder, request, request.start)[0]
        facts = _forecast(ground, len(wanted), report)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            ground = lay(Path(scratch), request, report)
            facts = _forecast(ground, len(wanted), report)
    facts["disk_free_bytes"] = disk_free(folder)
    if explores(request):
        wanted = [one for one in wanted if not needs_training(one)]
        facts["search"] = _searched(facts, request, int(ground.work.model.config.num_hidden_layers))
        facts |= {k: facts["search"][k] for k in ("seconds", "minutes")}
    return {
        **facts,
        "recipes": [{"name": r.name, "why": r.why, "steps": [u.name for u in r.uses]} for r in wanted],
    }


def _searched(facts: Mapping[str, Any], request: Request, layers: int) -> dict[str, Any]:
    """What the search will try, and the epochs that the time leaves for it."""
    found, epoch = shapes(layers), facts["tune_seconds"] / max(1, facts["epochs"])
    before = facts["rest_seconds"] + (0.0 if request.start else facts["tune_seconds"])
    limit = request.budget.time or 0.0
    left = max(0.0, limit - min(RESERVE_MOST, RESERVE_SHARE * limit) - before)
    epochs = epochs_for(left, epoch, found, extra=CANDIDATE_SECONDS)
    seconds = before + forecast_of(epochs, epoch, found, extra=CANDIDATE_SECONDS)
    told = {"seconds": round(seconds, 1), "minutes": round(seconds / 60, 2)}
    return {"shapes": [shape.name for shape in found], "ends": [name for name, _ in ENDS], "epochs": epochs, **told}


def _forecast(ground: Ground, recipe_count: int, report: Report) -> dict[str, Any]:
    """Timed once and kept: a resumed run must train with the settings it began with."""
    place = ground.run / "forecast.json"
    if not place.is_file():
        report(say("timing a few training steps"), 0.0, {})
        step = _tuning(ground.request, {})
        found: Forecast = forecast(ground.work, step, ground.request.budget, recipe_count)
        free = disk_free(ground.run)
        if found.disk_bytes > free:
            given = say(
                "this run needs about {need:.1f} GB of disk, {free:.1f} GB are free",
                need=found.disk_bytes / 1e9,
                free=free / 1e9,
            )
            raise Missing(problem(given, say("enough room"), say("--out on another disk, or free some space")))
        runs.write_json(
            place,
            {
                **_with_arms(as_json(found, []), ground.request),
                "rest_seconds": found.rest_seconds,
                "student_seconds": found.student_seconds,
                "precision": _precision(),
            },
        )
    return dict(runs.read_json(place))


def _with_arms(facts: dict[str, Any], request: Request) -> dict[str, Any]:
    """The forecast with what comparing augmentation with none takes."""
    uses = augmenting(request)
    if not uses:
        return facts
    limit = request.budget.time
    left = float("inf") if limit is None else limit - min(RESERVE_MOST, RESERVE_SHARE * limit)
    arms = effect.useful(uses, facts["tune_seconds"], left)
    seconds = facts["seconds"] + arms["seconds"]
    return {**facts, "augment": arms, "seconds": round(seconds, 1), "minutes": round(seconds / 60, 2)}


def _precision() -> str:
    native, _ = bf16_is_native()
    return "bf16" if native else "fp32"


def _tuning(request: Request, expected: Mapping[str, Any]) -> FineTune:
    """The tuning step, with what had to be cut for the time limit."""
    use = tuning_of(request, [recipes.load(request.recipe)] if request.recipe else recipes_for(request)[:1])
    step = build(use.name, use.settings)
    assert isinstance(step, FineTune)
    if expected.get("reasons") and step.max_length is None:
        step = replace(step, max_length=expected["max_length"])
    if expected:
        step = cast(FineTune, settle(step, expected))
    return step


def _among_rivals(step: FineTune, ground: Ground) -> Step:
    """With very few rows cheaper ways of tuning may win; whoever asked for something of tuning gets just that."""
    asked = ground.request.settings or ground.request.steps or ground.request.recipe
    if asked or len(ground.work.train) > FEW:
        return step
    names = ("precision", "epochs", "max_length")
    settled = ",".join(f"{n}={getattr(step, n)}" for n in names if getattr(step, n) is not None)
    return FewRows((f"{name_of(step)}:{settled}", *FewRows.rivals[1:]))


def _race(ground: Ground, candidates: list[Candidate], reference: Candidate, report: Report) -> tuple[Candidate, bool]:
    budget = ground.request.budget
    seconds = RACE_SECONDS if budget.time is None else min(RACE_SECONDS, max(RACE_LEAST, RACE_SHARE * budget.time))
    report(say("racing {n} candidates for {s:.0f} s", n=len(candidates), s=seconds), 0.0, {})
    readings = time_all(candidates, reference, ground.work.valid, seconds)
    chosen = judge(candidates, reference, readings, budget)
    if chosen is not None:
        return chosen, True
    near = nearest_three(candidates, budget)
    for candidate in near:
        candidate.facts["near"] = True
    near[0].facts["status"] = "chosen"
    return near[0], False


def _finish(
    ground: Ground,
    candidates: list[Candidate],
    left: list[Left],
    chosen: Candidate,
    reference: Candidate,
    report: Report,
    *,
    met: bool,
) -> dict[str, Any]:
    report(say("serving the artifact over HTTP and comparing every validation row"), 0.0, {})
    parity = finish.deliver(ground, chosen)
    report(say("scoring the test rows, once"), 0.0, {})
    facts = [c.facts for c in candidates] + [
        {"name": item.recipe.name, "steps": list(item.steps), "status": item.status, "why": item.why} for item in left
    ]
    return finish.answer(ground, facts, chosen, reference, ground.request.budget, parity, met=met)


def _recipe_of(ground: Ground, chosen: Candidate) -> str:
    """recipe.yaml: the chosen steps with every setting written out, from the records."""
    import yaml

    records = {r.key: r for r in runs.read_records(ground.run)}
    steps, key = [], chosen.tried.key
    while key in records:
        steps.append({"use": records[key].step, **records[key].settings})
        key = records[key].parent
    return yaml.safe_dump({"name": chosen.tried.name, "steps": steps[::-1]}, sort_keys=False, allow_unicode=True)
