"""What was asked, and the run folder that answers it."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish import recipe, runs
from burnish.catalog import page, parse
from burnish.errors import UsageError, problem
from burnish.plan.budget import Budget
from burnish.recipe import Recipe, Use
from burnish.words import say

__all__ = [
    "Request",
    "at_work",
    "augmenting",
    "open_run",
    "recipes_for",
    "refuse_augmenting",
    "run_name",
    "tuning_of",
]

REFERENCE = "tune/finetune"
# Cheapest promise first: seconds without training, then students, the deeper first.
USUAL = ("int8", "vocabulary-int8", "student-half", "student-third")


@dataclass(frozen=True)
class Request:
    """Everything that decides a run, except the machine. Written to request.json with every default."""

    data: str
    model: str
    task: str | None = None
    text: str | None = None
    pair: str | None = None
    target: str | None = None
    test: str | None = None
    metric: str | None = None
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    recipe: str | None = None  # a file or a name: only this one is tried
    steps: tuple[str, ...] = ()  # 'compress/int8:smallest=32': one recipe made of these
    settings: Mapping[str, str] = field(default_factory=dict)  # for tune/finetune, in every recipe
    new_head: bool = False
    start: str = ""  # the key of a tuned model in works/, to begin from
    augment_anyway: bool = False  # keep the rows that augmentation made also where they are not shown to help

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def recipes_for(request: Request) -> list[Recipe]:
    """The recipes to try, the reference left out, each beginning with the same tuning step.

    Raises UsageError for an unknown recipe, step or setting.
    """
    if request.recipe is not None:
        found = [recipe.load(request.recipe)]
    elif request.steps:
        found = _asked(request.steps)
    else:
        found = [recipe.load(name) for name in USUAL]
    tuning = tuning_of(request, found)
    rest = [tuple(_watched(u, tuning) for u in r.uses if u.name != REFERENCE and not _grows(u)) for r in found]
    return [Recipe(r.name, r.why, (tuning, *uses)) for r, uses in zip(found, rest, strict=True) if uses]


def augmenting(request: Request) -> tuple[Use, ...]:
    """The steps that make rows, in the order asked for; wherever they are named, they come before tuning.

    Raises UsageError where the model is tuned already, and for an unknown step or setting.
    """
    if request.recipe is not None:
        uses = recipe.load(request.recipe).uses
    else:
        uses = tuple(Use(page(name).name, settings) for name, settings in map(parse, request.steps))
    found = tuple(use for use in uses if _grows(use))
    if found and request.start:
        given = say("{name} for a model that is tuned already", name=found[0].name)
        raise UsageError(problem(given, say("a step of compressing"), "burnish fit"))
    return found


def refuse_augmenting(request: Request, verb: str) -> None:
    """Raises UsageError for steps that make rows, which `verb` would pass over."""
    found = augmenting(request)
    if found:
        given = say("{name} with burnish {verb}", name=found[0].name, verb=verb)
        hint = say("burnish augment DATA --with {name} --out FILE, and then that file", name=found[0].name)
        raise UsageError(problem(given, say("steps of tuning"), hint))


def _grows(use: Use) -> bool:
    return use.name.startswith("augment/")


def _watched(use: Use, tuning: Use) -> Use:
    """What is asked of the doctor holds for every step that learns, where a recipe does not say otherwise."""
    learns = any(setting.name == "doctor" for setting in page(use.name).settings)
    asked = {"doctor": tuning.settings["doctor"]} if learns and "doctor" in tuning.settings else {}
    return Use(use.name, {**asked, **use.settings}, use.at)


def _asked(steps: tuple[str, ...]) -> list[Recipe]:
    """`--with`: one recipe of these steps; when they are only about tuning, the usual recipes after it."""
    named = [Use(page(name).name, settings) for name, settings in map(parse, steps)]
    uses = [use for use in named if not _grows(use)]
    if not any(use.name == REFERENCE for use in uses):
        uses = [Use(REFERENCE, {}), *uses]
    uses = recipe.fold(uses)
    if len(uses) > 1:
        return [Recipe("as asked", "", tuple(uses))]
    usual = [recipe.load(name) for name in USUAL]
    return [Recipe(r.name, r.why, (uses[0], *(u for u in r.uses if u.name != REFERENCE))) for r in usual]


def tuning_of(request: Request, found: list[Recipe] | None = None) -> Use:
    """The tuning step, with what the recipe, `--with tune/finetune:...` and `--set` say of it."""
    asked: dict[str, Any] = {}
    for use in (u for r in found or [] for u in r.uses if u.name == REFERENCE):
        asked.update(use.settings)
    return Use(REFERENCE, asked | dict(request.settings))


def run_name(data: str) -> str:
    """A folder name from a data set's name: 'reviews.csv' -> 'reviews'."""
    stem = "stdin" if data == "-" else Path(data).name.split(".")[0] or "run"
    return re.sub(r"[^\w-]+", "-", stem)


@contextlib.contextmanager
def at_work(folder: Path, request: Request) -> Iterator[None]:
    """The run folder, opened, to itself, and without what a killed process left half written."""
    fresh = not folder.is_dir() and not open_run(folder, request)
    with runs.held(folder):
        if not fresh and open_run(folder, request):
            runs.sweep(folder)
        yield


def open_run(folder: Path, request: Request) -> bool:
    """Make the run folder, or find the same request in it; return whether there is something to resume.

    Raises UsageError when the folder holds another request or something that is not a run.
    """
    if (folder / "request.json").is_file():
        before = runs.read_json(folder / "request.json")
        before = {**Request("", "").to_json(), **before}  # a run of an older version has fewer fields
        now = request.to_json()
        other = sorted(k for k in now if _plain(now[k]) != before.get(k))
        if other:
            given = say("{folder} holds another request (different: {other})", folder=folder, other=", ".join(other))
            hint = say("--out another/folder, or delete {folder}", folder=folder)
            raise UsageError(problem(given, say("the same request, to go on with it, or a new folder"), hint))
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        given = say("{folder} is there and is not a burnish run", folder=folder)
        raise UsageError(problem(given, say("a new or empty folder"), say("--out another/folder")))
    runs.write_json(folder / "request.json", request.to_json())
    return False


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))
