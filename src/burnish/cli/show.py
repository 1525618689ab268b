"""Print the page of a technique: what it does, its paper, its cost, its settings; or a recipe.

    burnish show compress/int8
    burnish show student
    burnish show student-half
    burnish show compress/int8 --json

The settings are what --with NAME:setting=value, --set and a recipe take.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from burnish import catalog, recipe
from burnish.cli import out
from burnish.cli.flags import Json
from burnish.words import say

__all__ = ["show"]


def show(
    name: Annotated[str, typer.Argument(help="a technique or a recipe, as `burnish ls` lists them")],
    json: Json = False,
) -> None:
    if name in recipe.names():
        techniques = [known for known in catalog.names() if known.split("/")[-1] == name]
        for technique in techniques:
            out.note(say("this is the recipe; the technique: burnish show {technique}", technique=technique))
        path = recipe.find(name)
        text = path.read_text("utf-8")
        if json:
            read = recipe.load(path)
            steps = [{"use": use.name, **use.settings} for use in read.uses]
            out.document({"name": read.name, "why": read.why, "steps": steps})
        else:
            out.data([text.rstrip()])
        return
    if json:
        page = catalog.page(name)
        settings = [asdict(setting) for setting in page.settings]
        out.document({"name": page.name, "summary": page.summary, "page": page.text, "settings": settings})
    else:
        out.data([catalog.describe_page(name)])
