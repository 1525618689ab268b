"""A run folder -> one HTML page that needs nothing else: no scripts, no network, no other file.

The same files give the same bytes: dates come from the files, never from the clock, so that `verify` can render again
and compare. Texts of the data set are someone else's: everything is escaped, and a policy in the page forbids the
browser to run or to load anything, should that ever fail.
"""

from pathlib import Path
from typing import Any

from burnish.report import details, doctor, evidence, findings, ledger, show
from burnish.report.answer import answer
from burnish.report.augmentation import augmentation
from burnish.report.files import Files
from burnish.report.layout import Commands, Facts, Part, Section, Sentences, Wrong
from burnish.report.mistakes import Mistakes
from burnish.report.steps import steps
from burnish.report.word_mistakes import kinds, types
from burnish.runs import write_text
from burnish.words import say

__all__ = ["render", "write"]


def write(run: Path) -> Path:
    """Render the run and write report.html beside its files; returns the path."""
    path = run / "report.html"
    write_text(path, render(run))
    return path


def render(run: Path) -> str:
    """The page of a run, finished or not. Raises DataError when one of its files is damaged."""
    from markupsafe import Markup

    files = Files(run)
    made = environment()
    made.filters.update(svg=Markup, tie=show.tie)  # svg: only for charts: plots.py escapes their texts
    html = made.get_template("page.html").render(
        name=_name(files),
        when=show.when(str(files.result.get("finished") or files.request.get("created") or "")),
        answer=answer(files.result),
        headline=evidence.headline(files),
        sections=[section for section in _sections(files) if section.parts],
    )
    return show.printable(html)


def environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["say"] = say
    return environment


def _name(files: Files) -> str:
    return str(files.result.get("name") or files.request.get("name") or files.run.resolve().name)


def _sections(files: Files) -> list[Section]:
    """All there is to tell, in the order of the questions a reader has."""
    reasons = [show.sentence(str(reason)) for reason in files.result.get("reasons") or []]
    return [
        _section("asked", say("What was asked"), _facts(evidence.asked(files)), _listed(reasons), _defaults(files)),
        _section("quality", say("Quality"), evidence.quality(files), evidence.beats(files), evidence.metrics(files)),
        _section("choice", say("Quality against size and speed"), evidence.pareto(files), evidence.candidates(files)),
        _section("steps", say("What each step did"), steps(files)),
        _section("ledger", say("What each technique gave"), *ledger.gave(files)),
        _section("augmentation", say("Augmentation"), *augmentation(files)),
        _section("training", say("Training"), *details.training(files)),
        _section("doctor", say("What the doctor saw"), *doctor.seen(files)),
        *_mistakes(files),
        _section("data", say("Data"), *findings.data(files)),
        _section("parity", say("What is served is what was measured"), *details.parity(files)),
        _section("forecast", say("Forecast and what happened"), details.forecast(files)),
        _section(
            "machine", say("Machine and versions"), _facts(details.machine(files)), _facts(details.versions(files))
        ),
        _section("serve", say("How to serve it"), _commands(files)),
        _section("provenance", say("Provenance"), details.hashes(files)),
    ]


def _mistakes(files: Files) -> list[Section]:
    wrong = Mistakes.of(files)
    if wrong is None:
        return []
    worst = wrong.worst()
    told = say("Of the test rows, those the model was most sure of and wrong about.")
    if not wrong.task.labels:
        told = say("Of the test rows, those with the largest errors.")
    return [
        _section(
            "mistakes",
            say("Where it errs"),
            wrong.heat(),
            wrong.confused(),
            wrong.scatter(),
            wrong.labels(),
            types(wrong.task, wrong.found),
            kinds(wrong.task, wrong.found),
        ),
        _section("worst", say("Worst mistakes"), Sentences((told,)), Wrong(worst)) if worst else _section("worst", ""),
        _section("calibration", say("Calibration"), wrong.calibration()),
    ]


def _section(id_: str, title: str, *parts: Part | None) -> Section:
    return Section(id_, title, [part for part in parts if part is not None])


def _facts(items: list[tuple[str, str]], fold: str = "") -> Facts | None:
    return Facts(items, fold) if items else None


def _defaults(files: Files) -> Facts | None:
    return _facts(evidence.every_default(files), fold=say("Every setting, with the defaults written out"))


def _listed(items: list[str]) -> Sentences | None:
    return Sentences(items, listed=True) if items else None


def _commands(files: Files) -> Commands | None:
    items = details.commands(files)
    return Commands(items) if items else None
