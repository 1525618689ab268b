"""The file tree is the registry: 'compress/int8' is src/burnish/compress/int8.py, and nothing else says so.

Listing, describing and checking settings read the source with `ast`, so they cost milliseconds and import
nothing; a spelling mistake is found before torch is loaded. Only `find` and `build` import a technique.

A file is a technique when it defines one frozen dataclass, named in its `__all__`, that is a step (it has
`__call__`) or a part of a learning step (it derives from one of `PARTS`). Its fields are its settings.
"""

import ast
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from burnish.core import Step
from burnish.errors import UsageError, nearest, problem
from burnish.settings import admit, json_schema, required
from burnish.words import say

__all__ = [
    "PARTS",
    "STAGES",
    "Page",
    "Setting",
    "build",
    "check",
    "check_one",
    "describe_page",
    "find",
    "names",
    "page",
    "parse",
    "parse_settings",
    "schema_of",
]

STAGES = ("augment", "tune", "compress")
# Kinds of parts, as burnish.train.parts and .tweak name them, and the setting of a learning step each stands in.
PARTS = {
    "Batching": "batching",
    "Clip": "clip",
    "Objective": "objective",
    "Optimizer": "optimizer",
    "Rates": "rates",
    "Schedule": "schedule",
    "Tweak": "tweaks",
    "Weighting": "weighting",
}
ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """One field of a technique, as its source says it."""

    name: str
    type: str  # the annotation, as written: 'float', 'tuple[str, ...]', 'int | None'
    default: str  # the default, as written; "" when the setting must be given
    comment: str  # the comment at the end of its line

    @property
    def value(self) -> Any:
        """The default as a value; None where it is computed, or must be given."""
        return _default(self.default).get("default")


@dataclass(frozen=True)
class Page:
    """What a technique's file says about itself."""

    name: str  # 'compress/int8'
    kind: str  # the name of its class
    text: str  # the module docstring
    settings: tuple[Setting, ...]
    part: str  # 'Schedule' and so on; "" for a step

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring on one line."""
        return " ".join(self.text.split("\n\n")[0].split())


def names(stage: str | None = None) -> list[str]:
    """Every technique, such as 'compress/int8', in the order of the stages and then of the alphabet."""
    stages = STAGES if stage is None else (_known(stage, STAGES, say("stage")),)
    found = (f"{s}/{path.stem}" for s in stages for path in sorted((ROOT / s).glob("[!_]*.py")))
    return [name for name in found if _read(ROOT / f"{name}.py") is not None]


def page(name: str) -> Page:
    """Docstring and settings of a technique, without importing it. Raises UsageError for an unknown name."""
    name = _known(name, names(), say("technique"))
    read = _read(ROOT / f"{name}.py")
    assert read is not None  # `names` gave it
    return Page(name, *read)


def describe_page(name: str) -> str:
    """The technique's page as text: its docstring, then a table of its settings."""
    found = page(name)
    head = (say("setting"), say("type"), say("default"), say("meaning"))
    rows = [(s.name, s.type, s.default or say("(must be given)"), s.comment) for s in found.settings]
    table = _columns([head, *rows]) if rows else say("It has no settings.")
    return f"{found.name}\n\n{found.text.strip()}\n\n{table}"


def find(name: str) -> type:
    """Import the technique called `name` and return its class. Raises UsageError for an unknown name."""
    found = page(name)
    cls = getattr(importlib.import_module(f"burnish.{found.name.replace('/', '.')}"), found.kind)
    assert isinstance(cls, type)
    return cls


def check(name: str, settings: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return `settings` with every value brought to its field's type, without importing the technique.

    Text is read as the type asks, so that values from the command line and from YAML (where 1e-5 is a text)
    mean the same. Raises UsageError for an unknown setting (with the nearest one), a value of another type
    or a setting that must be given and is not. `at` says where the settings stand, such as 'recipe.yaml:4'.
    """
    found = page(name)
    missing = [s for s in found.settings if not s.default and s.name not in settings]
    if missing:
        given = say("{name} needs a value for {missing}", name=name, missing=", ".join(s.name for s in missing))
        raise UsageError(problem(_place(at) + given, required(missing[0].type), f"{missing[0].name}: ..."))
    return {key: check_one(name, key, value, at) for key, value in settings.items()}


def check_one(name: str, key: str, value: Any, at: str = "") -> Any:
    """`check` for a single setting."""
    found = page(name)
    known = {s.name: s for s in found.settings}
    if key not in known:
        raise _unknown_setting(_place(at), found.name, key, known)
    return admit(value, known[key].type, f"{_place(at)}{found.name}: {key}", _technique)


def build(name: str, settings: Mapping[str, Any] | None = None, at: str = "") -> Step:
    """Make the step (or tweak) called `name` with `settings`; what is not given keeps its default.

    Raises UsageError as `check` does, and when the technique itself refuses a value.
    """
    values = check(name, settings or {}, at)
    cls = find(name)
    try:
        made: Step = cls(**{key: _built(value) for key, value in values.items()})
    except UsageError as error:
        raise UsageError(f"{_place(at)}{error}") from error
    except (ValueError, TypeError) as error:
        given = _place(at) + say("{name} refuses these settings: {error}", name=name, error=error)
        raise UsageError(problem(given, say("values in range"), f"burnish show {name}")) from error
    return made


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Read 'compress/int8:setting=value,other=2' as it stands after `--with`; values stay text.

    A part without 'name=' belongs to the value before it, so 'student:layers=0,2,5,alpha=1' has two settings, and
    'aeda:filters=length,label:tau=0.6' has one.

    >>> parse("compress/student:layers=0,2,5,alpha=1")
    ('compress/student', {'layers': '0,2,5', 'alpha': '1'})
    """
    name, _, rest = text.partition(":")
    if not rest:
        return name, {}
    parts: list[str] = []
    for part in rest.split(","):
        if not parts or ("=" in part and part.partition("=")[0].strip().isidentifier()):
            parts.append(part)
        else:
            parts[-1] += f",{part}"
    return name, parse_settings(parts)


def parse_settings(pairs: Iterable[str]) -> dict[str, str]:
    """Read each 'name=value' of a `--set`. Raises UsageError for another form, or a name given twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            given = say("'{pair}' is not a setting", pair=pair)
            raise UsageError(problem(given, "NAME=VALUE", f"{key or 'epochs'}=..."))
        if key in found:
            given = say("'{key}' is given twice: {a} and {b}", key=key, a=found[key], b=value.strip())
            raise UsageError(problem(given, say("each setting once"), say("leave one of the two out")))
        found[key] = value.strip()
    return found


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema of one step in a recipe: {"use": name, ...settings}."""
    found = page(name)
    properties: dict[str, Any] = {"use": {"const": found.name, "description": found.summary}}
    for setting in found.settings:
        about: dict[str, Any] = {"description": setting.comment} if setting.comment else {}
        properties[setting.name] = {**json_schema(setting.type), **about, **_default(setting.default)}
    needed = ["use", *(s.name for s in found.settings if not s.default)]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


# -- reading a file ------------------------------------------------------------------------------


@cache
def _read(path: Path) -> tuple[str, str, tuple[Setting, ...], str] | None:
    """Class name, docstring, settings and kind of part of the technique in `path`; None when it holds none."""
    if not path.is_file():
        return None
    source = path.read_text("utf-8")
    tree = ast.parse(source, str(path))
    public = _public(tree)
    found = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in public and _is_technique(n)]
    assert len(found) < 2, f"{path} holds {len(found)} techniques: {', '.join(n.name for n in found)}"
    if not found:
        return None
    part = "" if _has_call(found[0]) else next(b for b in _bases(found[0]) if b in PARTS)
    return found[0].name, ast.get_docstring(tree) or "", _settings(found[0], source.splitlines()), part


def _public(tree: ast.Module) -> Sequence[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def _is_technique(node: ast.ClassDef) -> bool:
    frozen = any(
        isinstance(d, ast.Call)
        and getattr(d.func, "id", "") == "dataclass"
        and any(k.arg == "frozen" and getattr(k.value, "value", None) is True for k in d.keywords)
        for d in node.decorator_list
    )
    return frozen and (_has_call(node) or any(base in PARTS for base in _bases(node)))


def _has_call(node: ast.ClassDef) -> bool:
    return any(isinstance(n, ast.FunctionDef) and n.name == "__call__" for n in node.body)


def _bases(node: ast.ClassDef) -> list[str]:
    return [getattr(base, "id", getattr(base, "attr", "")) for base in node.bases]


def _settings(node: ast.ClassDef, lines: Sequence[str]) -> tuple[Setting, ...]:
    found = []
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            annotation = ast.unparse(field.annotation)
            if annotation.startswith("ClassVar"):
                continue
            default = ast.unparse(field.value) if field.value is not None else ""
            end = field.end_lineno or field.lineno
            comment = lines[end - 1].encode()[field.end_col_offset or 0 :].decode().strip()
            found.append(Setting(field.target.id, annotation, default, comment.lstrip("# ")))
    return tuple(found)


def _default(source: str) -> dict[str, Any]:
    """{"default": value} when the default is plain; nothing when it is computed."""
    try:
        value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return {}
    return {"default": list(value) if isinstance(value, tuple) else value}


# -- values that are themselves techniques -------------------------------------------------------


def _technique(value: Any, where: str) -> dict[str, Any]:
    """A setting that is itself a technique: 'tune/rdrop:alpha=2' becomes {"use": ..., "alpha": 2.0}."""
    if isinstance(value, str):
        name, settings = parse(value)
        return {"use": page(name).name, **check(name, settings, where)}
    if isinstance(value, Mapping) and isinstance(value.get("use"), str):
        name = value["use"]
        return {"use": page(name).name, **check(name, {k: v for k, v in value.items() if k != "use"}, where)}
    given = say("{where} is {value}", where=where, value=repr(value))
    raise UsageError(problem(given, say("a technique: STAGE/NAME, or use: STAGE/NAME with settings"), "burnish ls"))


def _built(value: Any) -> Any:
    if isinstance(value, dict) and "use" in value:
        return build(value["use"], {k: v for k, v in value.items() if k != "use"})
    return tuple(_built(v) for v in value) if isinstance(value, tuple) else value


# -- errors and layout ---------------------------------------------------------------------------


def _place(at: str) -> str:
    return f"{at}: " if at else ""


def _known(name: str, known: Sequence[str], what: str) -> str:
    """`name`, when it is known; the bare 'int8' means 'compress/int8' as long as one stage only has it."""
    if name in known:
        return name
    bare = [k for k in known if k.split("/")[-1] == name]
    if len(bare) == 1:
        return bare[0]
    close = nearest(name, known) or nearest(name, [k.split("/")[-1] for k in known])
    hint = say("did you mean '{close}'?", close=close) if close else "burnish ls"
    given = say("there is no {what} '{name}'", what=what, name=name)
    raise UsageError(problem(given, say("one of: {known}", known=", ".join(bare or known)), hint))


def _unknown_setting(where: str, name: str, key: str, known: Mapping[str, Setting]) -> UsageError:
    meant = key.replace("_", " ")  # 'learning_rate' is no spelling of 'lr', but its comment says it
    close = nearest(key, known) or next((s.name for s in known.values() if meant in s.comment), None)
    given = where + say("{name} has no setting '{key}'", name=name, key=key)
    expected = say("one of: {known}", known=", ".join(known)) if known else say("no settings: it has none")
    hint = say("did you mean '{close}'?", close=close) if close else f"burnish show {name}"
    return UsageError(problem(given, expected, hint))


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
