"""Fresh augmentation: each epoch, a share of the rows is seen in a version made for that epoch alone.

Papers: the usage is that of image training, Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep
Convolutional Neural Networks", NIPS 2012, section 4.1 (every row is changed anew whenever it is seen); what changes a
text is `by`, with none given words drawn at random as in Lowell, Howard, Lipton, Wallace, arXiv:2010.11966.
Differs from augmenting before training: the number of rows and steps stays; made rows are `share` of every epoch, where
16 copies of each row would be 94 %; no version is seen twice, so none can be learned by heart.

When it helps: where augmenting with many copies does, and as a cheap try elsewhere; measure it against a run without.
What it costs: a technique's edits and one more pass of the tokenizer over the changed rows, each epoch and once before.

A version depends on seed, epoch and row alone: a run that was killed goes on to the same bits.
"""

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from burnish.core import Row, name_of
from burnish.errors import DataError, UsageError, problem
from burnish.train.batches import Encoded, collate
from burnish.train.evaluate import pad_id_of
from burnish.train.parts import Facts
from burnish.train.prepare import one_answer_a_row
from burnish.train.texts import Texts
from burnish.train.tweak import NOT_INPUTS, Batch, Loss, Tweak
from burnish.tune._random_words import RandomWords, words_of
from burnish.tune._require import within
from burnish.tune._variants import Editing, must_edit, version
from burnish.words import say

__all__ = ["Fresh"]


@dataclass(frozen=True)
class Fresh(Tweak):
    by: Editing | None = None  # what changes texts, such as augment/aeda; none: words drawn at random
    share: float = 0.5  # of the rows that are changed in each epoch, above 0 up to 1
    words: float = 0.15  # chance of each word to be replaced, where they are drawn at random, above 0 up to 1

    def __post_init__(self) -> None:
        within("share", self.share, 0, 1, "(]")
        within("words", self.words, 0, 1, "(]")
        must_edit(self.by)

    def begin(self, facts: Facts) -> Tweak:
        one_answer_a_row(facts.task, name_of(self))
        if facts.texts is None:
            given = say("{name} where the texts of the rows are not known", name=name_of(self))
            raise UsageError(problem(given, say("a step that trains on rows of text"), say("leave it out")))
        sides = (side for row in facts.texts.rows for side in (row.text, row.pair or ""))
        return _Live(self, facts, facts.texts, self.by or RandomWords(words_of(sides), self.words))


class _Live(Tweak):
    def __init__(self, how: Fresh, facts: Facts, texts: Texts, editing: Editing):
        self.how, self.facts, self.texts, self.editing = how, facts, texts, editing
        self.pad_id = pad_id_of(texts.tokenizer)
        self.plain = texts.encode(texts.rows)
        self.epochs = -(-facts.steps // facts.per_epoch)
        self.now: dict[int, dict[str, list[int]]] = {}  # of this epoch: row number -> its version

    def ids(self) -> Iterable[int]:
        found: set[int] = set()
        for epoch in range(self.epochs):
            found.update(token for row in self.made(epoch).values() for token in row["input_ids"])
        return found

    def before_epoch(self, epoch: int) -> None:
        # A schedule of growing batches may have more epochs than were planned, whose words are not known.
        self.now = self.made(epoch % self.epochs)

    def made(self, epoch: int) -> dict[int, dict[str, list[int]]]:
        """The versions of an epoch: rows in an order of its own are tried until `share` of all are changed."""
        rows, found = self.texts.rows, dict[int, Row]()
        wanted = max(1, round(self.how.share * len(rows)))
        for i in sorted(range(len(rows)), key=lambda i: self._draw(epoch, rows[i])):
            new = version(rows[i], self.editing, random.Random(f"{self.facts.seed}/{epoch}/{rows[i].id}"))
            if (new.text, new.pair) != (rows[i].text, rows[i].pair):
                found[i] = new
            if len(found) == wanted:
                break
        if not found:
            name = name_of(self.how.by) if self.how.by else say("drawing words at random")
            given = say("{name} can change none of {n} texts", name=name, n=len(rows))
            raise DataError(problem(given, say("texts with words it can change"), say("another technique as by=...")))
        return dict(zip(found, self.texts.encode(list(found.values())), strict=True))

    def _draw(self, epoch: int, row: Row) -> bytes:
        text = f"{self.facts.seed}/fresh/{epoch}/{row.id}"
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        return inner(model, self.changed(batch))

    def changed(self, batch: Batch) -> Mapping[str, Tensor]:
        """The batch with this epoch's versions in place of their rows."""
        which = batch["rows"].tolist()
        if not any(i in self.now for i in which):
            return batch
        rows: Encoded = [self.now.get(i, self.plain[i]) for i in which]
        inputs = {name: value.to(self.facts.device) for name, value in collate(rows, self.pad_id).items()}
        return {**{k: v for k, v in batch.items() if k in NOT_INPUTS}, **inputs}

    def notes(self) -> dict[str, Any]:
        return {"fresh": {"share": round(len(self.now) / len(self.texts.rows), 4), "changed": len(self.now)}}
