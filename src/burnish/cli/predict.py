"""Answer texts with a finished run, one line a text.

    burnish predict runs/reviews "the battery died after two days"
    burnish predict runs/reviews < texts.txt
    burnish predict runs/pairs "a man plays a guitar" "a man plays music"
    burnish predict runs/reviews --json "good" "bad"

Without TEXT, each line of standard input is one text. A model of pairs takes its texts two by two, or a
line with a tab between the two; a model that finds answers takes a question and the text that it is asked of.
An answer is a label and its probability, or a value, with a tab between; the entities of a text, each as
start-end:type=words; or the words that answer a question, nothing where none do.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from burnish.cli import out
from burnish.cli.flags import Json, Quiet, Run
from burnish.errors import DataError, problem
from burnish.report.show import printable
from burnish.words import say

__all__ = ["predict"]

Text = str | tuple[str, str]
# Lines answered at once when they come from a file; a person at a terminal gets an answer a line.
LINES = 256


def predict(
    run: Run,
    text: Annotated[list[str] | None, typer.Argument(help="the texts", show_default=False)] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    from burnish.serve.predict import Local

    model = Local(run)
    if not text and sys.stdin.isatty():
        out.note(say("a text a line; Ctrl-D ends"), quiet=quiet)
    texts = _paired(text) if text and model.task.pair else text or _lines(model.task.pair)
    answered: list[dict[str, Any]] = []
    cut = 0
    for group in _groups(texts, 1 if sys.stdin.isatty() and not text else LINES):
        answers = model.predict(group)
        cut += sum(bool(answer.get("truncated")) for answer in answers)
        if json:
            answered += [{"text": t, **answer} for t, answer in zip(group, answers, strict=True)]
        else:
            out.data(line_of(answer) for answer in answers)
    if json:
        out.document({"run": run, "predictions": answered})
    if cut:
        out.note(say("{n} texts were too long and were cut to {max} tokens", n=cut, max=model.facts["max_length"]))


def line_of(answer: Mapping[str, Any]) -> str:
    """An answer on one line: label and score, labels and their scores, a value, entities, or an answer's words.

    >>> line_of({"label": "pos", "score": 0.91234})
    'pos\\t0.9123'
    """
    if "value" in answer:
        return f"{answer['value']:.6g}"
    if "entities" in answer:
        return "\t".join(f"{e['start']}-{e['end']}:{e['label']}={printable(e['text'])}" for e in answer["entities"])
    if "answer" in answer:
        return f"{printable(answer['answer'])}\t{answer['score']:.4f}"
    if "labels" not in answer:
        return f"{printable(answer['label'])}\t{answer['score']:.4f}"
    scores = (f"{printable(label)}={score:.4f}" for label, score in answer["scores"].items())
    return "\t".join([",".join(map(printable, answer["labels"])), *scores])


def _paired(texts: Sequence[str]) -> list[tuple[str, str]]:
    if len(texts) % 2:
        given = say("{n} texts for a model of pairs", n=len(texts))
        raise DataError(problem(given, say("first and second of each pair, in turn"), say("an even number")))
    return list(zip(texts[::2], texts[1::2], strict=True))


def _lines(pair: bool) -> Iterator[Text]:
    """The lines of standard input, as they come."""
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            given = say("line {n} of standard input is not UTF-8: {error}", n=number, error=error)
            raise DataError(problem(given, say("UTF-8"), "iconv -f latin1 -t utf-8")) from error
        first, tab, second = line.partition("\t")
        if pair and not tab:
            given = say("line {n} of standard input has no tab", n=number)
            raise DataError(problem(given, say("two texts with a tab between, for a model of pairs"), "first\\tsecond"))
        yield (first, second) if pair else line


def _groups(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    group: list[Text] = []
    for text in texts:
        group.append(text)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
