"""Write the chosen model of a run in another form, for other programs.

    burnish export runs/reviews exported --to transformers
    burnish export runs/reviews exported --to onnx
    burnish export reviews exported --to openvino

transformers is a folder for AutoModelForSequenceClassification; onnx and openvino are folders that
`burnish serve` serves.
"""

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli import out
from burnish.cli.flags import Json, Run
from burnish.words import say

__all__ = ["export"]


def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(help="a new or empty folder", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="transformers, onnx or openvino")] = "transformers",
    json: Json = False,
) -> None:
    from burnish import api

    found = api.export(run, to, folder)
    if json:
        out.document(found)
    else:
        out.data([str(folder / name) for name in found["files"]])
        out.note(say("{folder} holds the model as {form}", folder=folder, form=to))
