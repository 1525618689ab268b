"""Print the JSON Schema of a recipe, for editors and other programs.

    burnish schema > recipe.schema.json
    burnish schema --json

An editor that knows YAML completes and checks a recipe that begins with this line:
# yaml-language-server: $schema=recipe.schema.json
"""

import json as json_

from burnish import recipe
from burnish.cli import out
from burnish.cli.flags import Json

__all__ = ["schema"]


def schema(json: Json = False) -> None:
    if json:
        out.document({"schema": recipe.schema()})
    else:
        out.data([json_.dumps(recipe.schema(), indent=1)])
