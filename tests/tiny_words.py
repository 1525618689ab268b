"""Tiny works whose labels live on words: named things, and answers to questions. Learned in seconds."""

import random
from dataclasses import replace
from typing import Any

from burnish.core import Row, Span, Task, Work
from burnish.heads import with_logits
from burnish.tasks import make
from burnish.tasks.label_words import tags_of
from tests.families import OWN, USUAL
from tests.tiny import PLAIN, tiny_tokenizer, tiny_vocabulary

NAMES = {"per": ("zebra", "quartz"), "loc": ("fjord", "bright fjord")}


def words_rows(n: int, role: str = "data", seed: int = 0) -> list[Row]:
    """Plain words with none to two names in them; some words are cut into many pieces."""
    rng = random.Random(f"{seed}/{role}/words")
    rows = []
    for i in range(n):
        parts: list[tuple[str, str]] = [(word, "") for word in rng.choices([*PLAIN, "xylophone9"], k=rng.randint(4, 9))]
        for _ in range(rng.randint(0, 2)):
            kind = rng.choice(sorted(NAMES))
            parts.insert(rng.randrange(len(parts)), (rng.choice(NAMES[kind]), kind))
        text, spans = "", []
        for word, kind in parts:
            text += " " if text else ""
            spans += [Span(len(text), len(text) + len(word), kind)] if kind else []
            text += word
        rows.append(Row(f"{role}:{i}", text, None, tuple(spans)))
    return rows


def answer_rows(n: int, role: str = "data", seed: int = 0) -> list[Row]:
    """'who' asks for a person and 'where' for a place; some texts have none."""
    rows = []
    for row in words_rows(n, role, seed):
        kind, question = (("per", "the phone"), ("loc", "the film"))[len(rows) % 2]
        found = [span for span in row.target if isinstance(span, Span) and span.label == kind]  # type: ignore[union-attr]
        rows.append(replace(row, pair=question, target=tuple(Span(s.start, s.end) for s in found[:1])))
    return rows


def model_for(task: Task, kind: str = "bert", seed: int = 0) -> Any:
    """A model of family `kind` with the head that the task asks for: 3 layers, 4 heads, 32 wide, in eval mode."""
    import torch
    import transformers

    usual = {} if kind == "distilbert" else USUAL
    facts = {"vocab_size": len(tiny_vocabulary()), "max_position_embeddings": 64, "num_labels": task.width, **usual}
    types = {"type_vocab_size": 2} if kind == "roberta" else {}  # the tiny tokenizer tells two texts apart as BERT's
    config = transformers.AutoConfig.for_model(kind, **{**facts, **OWN.get(kind, {}), **types})
    auto = {"words": "AutoModelForTokenClassification", "answers": "AutoModelForQuestionAnswering"}[task.reads]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, auto).from_config(config).eval()
    model.config.architectures = [type(model).__name__]
    return with_logits(model)


def words_work(train: int = 64, valid: int = 32, kind: str = "bert", seed: int = 0) -> Work:
    rows = words_rows(train + valid, seed=seed)
    task = make("sequence-labelling", labels=tags_of(sorted(NAMES)))
    return Work(model_for(task, kind, seed), tiny_tokenizer(), task, rows[:train], rows[train:])


def answers_work(train: int = 64, valid: int = 32, kind: str = "bert", seed: int = 0) -> Work:
    rows = answer_rows(train + valid, seed=seed)
    task = make("question-answering", pair=True)
    return Work(model_for(task, kind, seed), tiny_tokenizer(), task, rows[:train], rows[train:])
