"""List the techniques, each with the first line of its page.

    burnish ls
    burnish ls compress
    burnish ls --json

A technique is a file: compress/int8 is src/burnish/compress/int8.py. Recipes are lists of techniques.
"""

from typing import Annotated

import typer

from burnish import catalog, recipe
from burnish.cli import out
from burnish.cli.flags import Json
from burnish.words import say

__all__ = ["ls"]


def ls(
    stage: Annotated[str | None, typer.Argument(help="only this stage: augment, tune or compress")] = None,
    json: Json = False,
) -> None:
    pages = [catalog.page(name) for name in catalog.names(stage)]
    if json:
        out.document(
            {
                "techniques": [{"name": page.name, "summary": page.summary} for page in pages],
                "recipes": recipe.names(),
            }
        )
        return
    out.data(out.columns([(page.name, page.summary) for page in pages]))
    if stage is None and recipe.names():
        out.data(["", say("recipes: {names}", names=", ".join(recipe.names()))])
    out.note(say("burnish show NAME prints the page of one"), quiet=not pages)
