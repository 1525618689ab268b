"""The model card: README.md in the hub's format, with the evidence, what the model is for, and where its limits are.

The front matter is written by a YAML writer and every text that came from data is escaped, so that a label called
`---` or `<script>` stays a label.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from burnish.heads import HEADS
from burnish.report import show
from burnish.report.answer import ENGINES, answer, chosen_of, precision_of
from burnish.report.files import Files
from burnish.words import say

__all__ = ["card"]

LIBRARIES = {"torch": "transformers", "onnx": "onnx", "openvino": "openvino"}
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MOST_LABELS = 200
# The names by which the hub knows a metric, where they differ from ours.
HUB_METRICS = {
    "macro_f1": "f1",
    "micro_f1": "f1",
    "mcc": "matthews_correlation",
    "auroc": "roc_auc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}


def card(run: Path) -> str:
    """The card of a finished run, as text. Raises DataError when its files are damaged."""
    files = Files(run)
    parts = [_front(files), f"# {_text(_name(files))}", _text(answer(files.result).sentence)]
    for title, body in (
        (say("Intended use"), _use(files)),
        (say("Labels"), _labels(files)),
        (say("How to use"), _how(files)),
        (say("Evidence"), _evidence(files)),
        (say("Limits"), _limits(files)),
        (say("How it was made"), _made(files)),
    ):
        if body:
            parts += [f"## {title}", body]
    return show.printable("\n\n".join(parts)) + "\n"


def _name(files: Files) -> str:
    return str(files.result.get("name") or files.run.resolve().name)


# -- front matter ----------------------------------------------------------------------------------------


def _front(files: Files) -> str:
    """The facts the hub reads. Only what is known: no licence is made up, no path of this machine is told."""
    import yaml

    artifact, chosen = files.artifact, chosen_of(files.result)
    engine = str(artifact.get("engine") or chosen.get("engine") or "")
    base = str(artifact.get("base_model") or files.request.get("model") or "")
    precision = precision_of({**chosen, **artifact})
    facts = {
        "license": artifact.get("license"),
        "library_name": LIBRARIES.get(engine),
        "pipeline_tag": "text-classification",
        "tags": [tag for tag in ("burnish", engine, precision, _task_name(files)) if tag],
        "base_model": base if HUB_ID.fullmatch(base) and not Path(base).exists() else None,
        "metrics": list(dict.fromkeys(_hub(name) for name in _readings(files))) or None,
        "model-index": _index(files),
    }
    text = yaml.safe_dump(
        {key: value for key, value in facts.items() if value}, sort_keys=False, allow_unicode=True, width=10**6
    )
    return f"---\n{text}---"


def _index(files: Files) -> list[dict[str, Any]]:
    readings = _readings(files)
    if not readings:
        return []
    data = _data_name(files)
    metrics = [
        {"type": _hub(name), "value": round(value, 6), "name": show.metric_name(name)}
        for name, value in readings.items()
    ]
    result = {
        "task": {"type": "text-classification", "name": _task_name(files)},
        "dataset": {"type": re.sub(r"[^\w-]+", "-", data.lower()) or "data", "name": data, "split": "test"},
        "metrics": metrics,
    }
    return [{"name": _name(files), "results": [result]}]


def _readings(files: Files) -> dict[str, float]:
    found = (files.result.get("metrics") or {}).get("chosen") or {}
    order = getattr(files.task, "METRICS", tuple(found))
    return {name: float(found[name]) for name in order if found.get(name) is not None}


def _hub(metric: str) -> str:
    return HUB_METRICS.get(metric, metric)


def _task_name(files: Files) -> str:
    return files.task.name if files.task else str(files.result.get("task") or "")


def _data_name(files: Files) -> str:
    return Path(str(files.request.get("data") or "data")).name


# -- the text --------------------------------------------------------------------------------------------


def _use(files: Files) -> str:
    inputs = say("pairs of texts") if files.task and files.task.pair else say("texts")
    lines = [
        say("Made for {task} of {inputs} like those of {data}, which it was tuned on and judged by {metric}.",
            task=_text(_task_name(files)), inputs=inputs, data=_text(_data_name(files)),
            metric=show.metric_name(files.metric)),
        say("What it answers about other kinds of texts was not measured."),
    ]  # fmt: skip
    languages = list((files.check.get("languages") or {}).items())[:4]
    if languages:
        told = ", ".join(f"{_text(name)} {show.share(share)}" for name, share in languages)
        lines.append(say("Languages of the rows (a guess): {languages}.", languages=told))
    return " ".join(lines)


def _labels(files: Files) -> str:
    labels = files.task.labels if files.task else ()
    lines = [f"{n}. {_text(label)}" for n, label in enumerate(labels[:MOST_LABELS])]
    return "\n".join(lines + [say("and {count} more", count=len(labels) - MOST_LABELS)] * (len(labels) > MOST_LABELS))


def _how(files: Files) -> str:
    given, pair, reads = '"some text"', bool(files.task and files.task.pair), files.task.reads if files.task else "rows"
    two = '"a question", "the text it is asked of"' if reads == "answers" else '"first text", "second text"'
    if pair:
        given = two.replace(",", "")
    blocks = [_fenced("sh", ["burnish serve .", f"burnish predict . {given}"])]
    call = f"[({two})]" if pair else '["some text"]'
    blocks.append(_fenced("python", ["import burnish", 'model = burnish.load(".")', f"model.predict({call})"]))
    if (files.run / "artifact" / "model.safetensors").is_file():
        arguments = two if pair else '"some text"'
        head, said = f"AutoModelFor{HEADS[reads]}", "" if reads == "answers" else ".logits"
        blocks += [say("Or with transformers alone:"), _fenced("python", [
            f"from transformers import {head}, AutoTokenizer",
            'tokenizer = AutoTokenizer.from_pretrained(".")',
            f'model = {head}.from_pretrained(".")',
            f'model(**tokenizer({arguments}, truncation=True, return_tensors="pt")){said}',
        ])]  # fmt: skip
    return "\n\n".join([say("In the folder of this file:"), *blocks])


def _fenced(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _evidence(files: Files) -> str:
    result, metric = files.result, files.metric
    models = [(str(b.get("name")), b) for b in result.get("baselines") or []]
    models += [(say("tuned float model"), result.get("reference") or {}), (say("this model"), chosen_of(result))]
    rows = [
        (name, show.estimate(facts.get("test"), metric), show.size(facts.get("size_bytes")),
         show.ms(facts.get("p50_ms")), show.ms(facts.get("p95_ms")))
        for name, facts in models if facts.get("test")
    ]  # fmt: skip
    if not rows:
        return ""
    head = (
        say("model"),
        say("{metric} (95 % interval)", metric=show.metric_name(metric)),
        say("size"),
        say("p50"),
        say("p95"),
    )
    told = [say("On {count} test rows that were scored once, after every choice was made.",
                count=show.count((result.get("rows") or {}).get("test")))]  # fmt: skip
    if cpu := (result.get("machine") or {}).get("cpu"):
        told.append(say("Latencies are for one text at a time on {cpu}.", cpu=_text(str(cpu))))
    parity = result.get("parity") or {}
    if parity.get("flips") == 0:
        text = say("Served over HTTP, not one of {rows} answers differed from what was measured.")
        told.append(text.format(rows=show.count(parity.get("rows"))))
    return "\n".join([*_grid(head, rows), "", " ".join(told)])


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *([_text(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _limits(files: Files) -> str:
    told = [_text(caution) for caution in answer(files.result).cautions]
    if length := files.artifact.get("max_length"):
        text = say(
            "It reads at most {length} tokens of a text; a longer one is refused, or cut when the caller asks for it."
        )
        told.append(text.format(length=show.count(length)))
    visible = files.result.get("min_visible_drop")
    if visible is not None:
        text = say(
            "On these test rows a loss of quality below {points} points against the float model can stay unseen."
        )
        told.append(text.format(points=show.points(visible)))
    told.append(say("Whatever is one-sided or wrong in the data it was tuned on is in its answers too."))
    return "\n".join(f"- {line}" for line in told)


def _made(files: Files) -> str:
    chosen = chosen_of(files.result)
    base = Path(str(files.artifact.get("base_model") or files.request.get("model") or "")).name
    engine = str(chosen.get("engine") or "")
    told = [
        say(
            "From {base} by {steps}.",
            base=_text(base),
            steps=", ".join(f"`{_code(s)}`" for s in chosen.get("steps") or []),
        )
    ]
    if engine:
        told.append(say("Runs on {engine}, {precision}.", engine=_text(ENGINES.get(engine, engine)),
                        precision=_text(precision_of(chosen) or "fp32")))  # fmt: skip
    versions = files.artifact.get("versions") or files.result.get("versions") or {}
    if versions:
        shown = ", ".join(f"{_text(str(k))} {_text(str(v))}" for k, v in versions.items() if v)
        told.append(say("Versions: {versions}.", versions=shown))
    return " ".join(told)


def _text(text: str) -> str:
    """Text of unknown origin as Markdown that shows it and does nothing else, on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", text)
    text = re.sub(r"^(\d*)([-+=:.)])", r"\1\\\2", text) if re.match(r"[-+=:]|\d+[.)](\s|$)", text) else text
    return re.sub(r"(?i)\b(https?|ftp|www)(?=[:.])", r"\1&#8203;", text)  # no link that the author did not set


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
