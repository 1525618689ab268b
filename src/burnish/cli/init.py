"""Write a recipe to edit, every setting with its default and meaning, and print the fit command that uses it.

    burnish init reviews.csv
    burnish init reviews.csv --like student-half --out mine.yaml
    burnish init reviews.csv --model ./my-bert --json

`burnish fit` needs no recipe: without one it tries those of `burnish ls` and chooses.
"""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish import recipe
from burnish.cli import out
from burnish.cli.flags import Data, Json, Pair, Quiet, Target, TaskName, Text
from burnish.errors import UsageError, problem
from burnish.runs import write_text
from burnish.words import say

__all__ = ["init"]

USUAL = "int8"


def init(
    data: Data,
    like: Annotated[str, typer.Option("--like", metavar="RECIPE", help="begin with this recipe")] = USUAL,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="for the command that is printed")] = "MODEL",
    task: TaskName = None,
    text: Text = None,
    pair: Pair = None,
    target: Target = None,
    out_: Annotated[Path, typer.Option("--out", metavar="FILE", help="where to write it")] = Path("recipe.yaml"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    from burnish.data.infer import infer
    from burnish.data.read import read

    if out_.exists():
        given = say("{path} is there already", path=out_)
        raise UsageError(problem(given, say("a file that does not exist yet"), say("--out another.yaml")))
    columns = infer(read(data), text=text, pair=pair, target=target, task=task)
    head = say("# Made by `burnish init {data}`. `burnish show NAME` explains a step.", data=data)
    write_text(out_, f"{head}\n{recipe.outline(recipe.load(like))}")
    found: dict[str, Any] = {
        "text": columns.text,
        "pair": columns.pair,
        "target": columns.target,
        "task": columns.kind,
    }
    command = ["burnish", "fit", data, "--model", model]
    for flag, value in found.items():
        command += [f"--{flag}", value] if value else []
    command += ["--recipe", str(out_)]
    if json:
        out.document({"recipe": str(out_), "command": command, "columns": found, "reasons": columns.reasons})
        return
    for reason in columns.reasons:
        out.note(reason, quiet=quiet)
    out.note(say("wrote {path}; edit it, then:", path=out_), quiet=quiet)
    out.data([shlex.join(command)])
