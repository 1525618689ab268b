"""The space of a hyper-parameter search, as data: what may be tried for a model, a task and a way of tuning.

It surrounds the table's choices (`burnish.train.defaults`): the rate a factor of ten to both sides, the rest a few
values each. Never in it: the seed, which would pick lucky runs and not good settings.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

from burnish.catalog import check_one, page
from burnish.errors import UsageError, nearest, problem
from burnish.words import say

if TYPE_CHECKING:  # a slip in --vary is answered before torch is loaded
    from burnish.train.defaults import Defaults
    from burnish.tune.finetune import FineTune

__all__ = [
    "EXTRA", "Choice", "Range", "Space", "Value", "apart", "closest", "default_point", "from_json", "grid", "merge",
    "settings_of", "space_for", "tidy", "to_json", "told", "varied",
]  # fmt: skip

STEP = "tune/finetune"
AROUND = 10.0  # the rate is looked for from a tenth to ten times of the usual one
WARMUPS, DECAYS, FACTORS, SMOOTHINGS = (0.0, 0.06, 0.1, 0.2), (0.0, 0.01, 0.1), (1.0, 0.95, 0.9, 0.8), (0.0, 0.1)
BATCHES, EPOCHS = (8, 16, 32, 64), (0.5, 1.0, 1.5)
FEWEST_STEPS = 4  # an epoch, for a batch size to be tried
# Names that are no fields of the step: each stands for a part with one setting, and for nothing at one value.
EXTRA = {
    "layer_decay": ("rates", "tune/layer_decay", "factor", 1.0),
    "label_smoothing": ("objective", "tune/label_smoothing", "smoothing", 0.0),
}
POINTS = 5  # of a range, in a grid
NEAR = 0.05  # of a range: two values closer than this are alike

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`; `log`: each factor is as likely as another. `whole`: integers only."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def place(self, value: float) -> float:
        """Where `value` is between the ends, 0..1."""
        low, high, at = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (at - low) / (high - low)

    def at(self, place: float) -> float | int:
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        value = low + place * (high - low)
        return self.tidy(min(max(math.exp(value) if self.log else value, self.low), self.high))

    def tidy(self, value: float) -> float | int:
        """As a person would write it."""
        return round(value) if self.whole else tidy(value)


@dataclass(frozen=True)
class Choice:
    """One of these."""

    values: tuple[Value, ...]


Space = Mapping[str, Range | Choice]


def tidy(value: float) -> float:
    """With three digits."""
    return float(f"{value:.3g}")


def space_for(
    step: "FineTune", usual: "Defaults", *, rows: int, labels: int, objective: str, fixed: Sequence[str] = ()
) -> dict[str, Range | Choice]:
    """What may be tried around the table's choices, for `step` and the parts in it; `fixed` names stay as given."""
    optimizer = 1.0 if step.optimizer is None else step.optimizer.relative_rate
    lr = usual.lr * optimizer * math.prod(t.relative_rate for t in step.tweaks)
    batches = {b for b in BATCHES if rows >= FEWEST_STEPS * b} | {usual.batch_size}
    found: dict[str, Range | Choice] = {
        "lr": Range(tidy(lr / AROUND), tidy(lr * AROUND), log=True),
        "warmup": Choice(WARMUPS),
        "weight_decay": Choice(DECAYS),
        "batch_size": Choice(tuple(sorted(batches))),
        "epochs": Choice(tuple(sorted({max(1, round(x * usual.epochs)) for x in EPOCHS}))),
    }
    if step.schedule is not None and step.schedule.own_warmup:
        del found["warmup"]  # it climbs by itself
    if all(tweak.need.trains >= 1 for tweak in step.tweaks):  # where most weights rest, layers have no rates
        found["layer_decay"] = Choice(FACTORS)
    if objective == "cross_entropy" and labels > 2:
        found["label_smoothing"] = Choice(SMOOTHINGS)
    taken = {*fixed, *(name for name, (field, *_) in EXTRA.items() if field in fixed)}
    return {name: dimension for name, dimension in found.items() if name not in taken}


def default_point(space: Space, step: "FineTune", usual: "Defaults", lr: float) -> dict[str, Value]:
    """What a fit without a search would use, brought into the space; `lr` is the usual rate of this method."""
    table: dict[str, Value] = {
        "lr": lr, "epochs": usual.epochs, "batch_size": usual.batch_size, "warmup": usual.warmup,
    }  # fmt: skip
    point = {}
    for name, dimension in space.items():
        plain = EXTRA[name][3] if name in EXTRA else getattr(step, name)
        value = table.get(name) if plain is None else plain
        point[name] = closest(dimension, value if isinstance(value, float | int | str | bool) else None)
    return point


def closest(dimension: Range | Choice, value: Value) -> Value:
    """The value of the dimension most like `value`; the first, or the middle, when nothing compares."""
    if isinstance(dimension, Range):
        known = isinstance(value, float | int)
        return dimension.tidy(min(max(float(value), dimension.low), dimension.high)) if known else dimension.at(0.5)  # type: ignore[arg-type]
    if value in dimension.values:
        return value
    numbers = [v for v in dimension.values if isinstance(v, float | int)]
    if numbers and isinstance(value, float | int):
        return min(numbers, key=lambda v: abs(v - value))
    return dimension.values[0]


def settings_of(given: Mapping[str, Any], point: Mapping[str, Value], space: Space) -> dict[str, Any]:
    """Settings of tune/finetune: those `given` by the user with the values of a point in the space."""
    found = dict(given)
    for name, value in point.items():
        dimension = space[name]
        settled = dimension.tidy(float(value)) if isinstance(dimension, Range) else value  # type: ignore[arg-type]
        if name not in EXTRA:
            found[name] = settled
            continue
        field, technique, setting, nothing = EXTRA[name]
        if settled != nothing:
            part = {"use": technique, setting: settled}
            found[field] = [part] if field == "rates" else part
    return found


def apart(space: Space, a: Mapping[str, Value], b: Mapping[str, Value]) -> bool:
    """Whether two points differ by more than a hair."""
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            if a[name] != b[name]:
                return True
        elif abs(dimension.place(float(a[name])) - dimension.place(float(b[name]))) > NEAR:  # type: ignore[arg-type]
            return True
    return False


def grid(space: Space, seed: int) -> list[dict[str, Value]]:
    """Every combination, a few values for a range, in an order that the seed decides."""
    axes = [
        [dimension.at(i / (POINTS - 1)) for i in range(POINTS)] if isinstance(dimension, Range) else dimension.values
        for dimension in space.values()
    ]
    found = [dict(zip(space, values, strict=True)) for values in product(*(dict.fromkeys(axis) for axis in axes))]
    Random(f"grid/{seed}").shuffle(found)
    return found


# -- what the user says of it --------------------------------------------------------------------


def varied(pairs: Sequence[str], fixed: Mapping[str, Any]) -> dict[str, Range | Choice]:
    """Read each 'lr=1e-5..1e-3' or 'batch_size=16,32' of a `--vary`; `fixed` is what `--set` and `--with` gave.

    Raises UsageError for an unknown name (with the nearest one), a value that its setting does not take, a name
    given twice or given a fixed value too.
    """
    known = {s.name: s.type for s in page(STEP).settings}
    found: dict[str, Range | Choice] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if name == "seed":
            given = say("the seed cannot be varied: a search would pick the luckiest run, not the best setting")
            raise UsageError(problem(given, say("a setting of tune/finetune"), say("--seed N, for the whole search")))
        if name not in known and name not in EXTRA:
            everything = [*known, *EXTRA]
            close = nearest(name, everything)
            hint = say("did you mean '{close}'?", close=close) if close else f"burnish show {STEP}"
            given = say("there is no setting '{name}' to vary", name=name)
            raise UsageError(problem(given, say("one of: {known}", known=", ".join(everything)), hint))
        if not equals or not text:
            given = say("'{pair}' does not say what to try", pair=pair)
            raise UsageError(problem(given, say("a range or a list"), f"--vary {name}=LOW..HIGH, --vary {name}=A,B"))
        if name in found or name in fixed or (name in EXTRA and EXTRA[name][0] in fixed):
            given = say("'{name}' is given twice", name=name)
            raise UsageError(problem(given, say("one of --vary and --set for a setting, once"), say("leave one out")))
        found[name] = _range(name, text, known) if ".." in text else _choice(name, text, known)
    return found


def merge(usual: Space, asked: Space) -> dict[str, Range | Choice]:
    """The usual space, with what the user asked for in place of it."""
    for name, (field, *_) in EXTRA.items():  # a varied objective leaves no place for label smoothing, and so on
        if field in asked:
            usual = {k: v for k, v in usual.items() if k != name}
    return {**usual, **asked}


def _range(name: str, text: str, known: Mapping[str, str]) -> Range:
    low, high = (_checked(name, end.strip(), known) for end in text.split("..", 1))
    numbers = all(isinstance(x, float | int) and not isinstance(x, bool) for x in (low, high))
    if not numbers or not low < high:
        given = say("{name}={text} is no range", name=name, text=text)
        raise UsageError(problem(given, say("two numbers, the lower one first"), f"--vary {name}=LOW..HIGH"))
    return Range(float(low), float(high), low > 0 and high >= 10 * low, isinstance(low, int) and isinstance(high, int))


def _choice(name: str, text: str, known: Mapping[str, str]) -> Choice:
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part and ":" not in part and parts:
            parts[-1] += f",{part}"  # a further setting of the technique before it
        else:
            parts.append(part.strip())
    values = []
    for part in dict.fromkeys(parts):
        value = _checked(name, part, known)
        # A technique stays the text it is, since a choice is one plain value.
        values.append(value if isinstance(value, float | int | str | bool) or value is None else part)
    return Choice(tuple(values))


def _checked(name: str, text: str, known: Mapping[str, str]) -> Any:
    if name not in EXTRA:
        return check_one(STEP, name, text, "--vary")
    _, technique, setting, _ = EXTRA[name]
    return check_one(technique, setting, text, "--vary")


# -- as JSON, and for people ---------------------------------------------------------------------


def to_json(space: Space) -> dict[str, Any]:
    return {name: asdict(d) if isinstance(d, Range) else {"values": list(d.values)} for name, d in space.items()}


def from_json(found: Mapping[str, Any]) -> dict[str, Range | Choice]:
    return {name: Choice(tuple(d["values"])) if "values" in d else Range(**d) for name, d in found.items()}


def told(dimension: Range | Choice) -> str:
    """'1e-05 to 0.001, log' or '8, 16, 32'."""
    if isinstance(dimension, Choice):
        return ", ".join(str(value) for value in dimension.values)
    words = say("{low:g} to {high:g}", low=dimension.low, high=dimension.high)
    return words + (say(", log") if dimension.log else "")
