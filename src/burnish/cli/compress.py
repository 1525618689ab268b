"""Compress the tuned model of a finished run under another budget, without tuning it again.

    burnish compress runs/reviews --max-size 10MB --max-drop 1.0 --time 40m --out runs/tiny
    burnish compress reviews --max-p95 1ms --max-drop 3 --time 40m
    burnish compress reviews --with compress/distill:share=0.34 --with compress/int8
    burnish compress reviews --time 40m --plan

With ten minutes or more it searches for a shape: fewer layers, heads and columns, all of them with few
epochs, the promising ones with more; then for the way to write the weights. With less the recipes of `burnish ls`
are tried. --plan (or --dry-run) prints what will be tried and what it should cost. Test rows, seed and metric are those
of the old run. Ends with exit code 3 when nothing meets the limits; the same command again goes on.
"""

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli import flags, out
from burnish.cli.fit import answer_from, plan_lines
from burnish.cli.progress import progress
from burnish.runs import find
from burnish.words import say

__all__ = ["compress"]

Plan = Annotated[bool, typer.Option("--plan", "--dry-run", help="print what would be tried and what it should cost")]


def compress(
    run: flags.Run,
    max_size: flags.MaxSize = None,
    max_p95: flags.MaxP95 = None,
    max_drop: flags.MaxDrop = None,
    min_quality: flags.MinQuality = None,
    time: flags.Time = None,
    strict: flags.Strict = False,
    out_: flags.Out = None,
    recipe: flags.RecipeFile = None,
    with_: flags.With = None,
    plan: Plan = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> int:
    steps = flags.checked_steps(with_)
    from burnish import api  # after the check above: a slip is answered at once

    source = find(run)
    request = api.compress_request(
        source, max_size=max_size, max_p95=max_p95, max_drop=max_drop, min_quality=min_quality, time=time,
        strict=strict, recipe=recipe, steps=steps,
    )  # fmt: skip
    folder = Path(out_) if out_ is not None else source.with_name(say("{name}-compressed", name=source.name))
    if not plan:
        return answer_from(source, request, folder, as_json=json, quiet=quiet)
    with progress(quiet) as report:
        found = api.compress_plan(source, request, folder, report)
    if json:
        out.document(found)
    else:
        out.data(plan_lines(found))
    return 0
