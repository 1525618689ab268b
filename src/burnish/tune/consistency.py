"""Consistency training: the answer to a changed text is pulled towards the one to the text as it was.

Papers: Xie, Dai, Hovy, Luong, Le, "Unsupervised Data Augmentation for Consistency Training", NeurIPS 2020,
arXiv:1904.12848, eq. (1), with sharpening, confidence mask and training signal annealing; Lowell, Howard, Lipton,
Wallace, "Unsupervised Data Augmentation with Naive Augmentation and without Unlabeled Data", EMNLP 2021,
arXiv:2010.11966, for words drawn at random and for texts that are the training rows themselves.
Differs from them: the versions of a text are made before the run, `copies` of each, and drawn by seed, step and row; a
row that annealing leaves out still counts in the mean, so that micro-batches change nothing; for tasks the papers have
no divergence for, that of each yes or no, averaged over labels, or the squared difference, in standard units, of
numbers.

    loss = loss(labels) + weight x mean over texts of KL(sharpened answer to x || answer to changed x)

The answer to x carries no gradient; where it is not confident, the text does not count.

When it helps: few labels and many texts without one (20 labels of IMDb: error 6.5 % to 4.2 %), and to a lesser degree
the labelled rows alone. What changes the texts hardly matters, so the cheap default is the first to try. With a handful
of labels, anneal=linear keeps them from being learned by heart.
What it costs: a text costs 4/3 of a labelled row: with ratio 1 a step takes 2.3 times the time of a plain one, with
ratio 3 five times. Compare with a run of as many times the epochs.

Shapes: B = rows of a batch, U = texts, C = outputs.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from burnish.core import Rows, name_of
from burnish.data.unlabelled import read_texts
from burnish.errors import UsageError, problem
from burnish.train.batches import collate
from burnish.train.evaluate import pad_id_of
from burnish.train.parts import Facts
from burnish.train.prepare import one_answer_a_row
from burnish.train.tweak import Batch, Loss, Need, Tweak, inputs_of
from burnish.tune._passes import Draws, aside, bare
from burnish.tune._random_words import RandomWords, words_of
from burnish.tune._require import one_of, require, within
from burnish.tune._variants import Editing, Variants, must_edit, variants
from burnish.words import say

__all__ = ["Consistency", "annealed", "apart", "threshold"]

ANNEAL = ("off", "linear", "log", "exp")


@dataclass(frozen=True)
class Consistency(Tweak):
    texts: str = ""  # a file of texts without labels, one a line, or JSONL; none: the training rows themselves
    by: Editing | None = None  # what changes them, such as augment/aeda; none: words drawn at random
    share: float = 0.15  # chance of each word to be replaced, where they are drawn at random, above 0 up to 1
    weight: float = 1.0  # of the divergence, 0 or more
    ratio: float = 1.0  # texts a labelled row, 0 or more; UDA has 3 with 20 labels
    temperature: float = 0.85  # of the answer to the text as it was, above 0; below 1 sharpens it
    confidence: float = 0.45  # how probable its best label must be, 0 up to 1
    anneal: Literal["off", "linear", "log", "exp"] = "off"  # leave out rows already right, until a threshold has risen
    copies: int = 4  # versions made of each text

    @property
    def need(self) -> Need:  # type: ignore[override]  # a constant elsewhere; here a setting decides it
        return Need(rows=1 + self.ratio if self.weight else 1.0)

    def __post_init__(self) -> None:
        within("share", self.share, 0, 1, "(]")
        within("weight", self.weight, 0)
        within("ratio", self.ratio, 0)
        within("temperature", self.temperature, 0, ends="(]")
        within("confidence", self.confidence, 0, 1, "[)")
        within("copies", self.copies, 1)
        one_of("anneal", self.anneal, ANNEAL)
        must_edit(self.by)

    def begin(self, facts: Facts) -> Tweak:
        one_answer_a_row(facts.task, name_of(self))
        plain = facts.task.objective == "cross_entropy"
        given = say("anneal={x} for {task}", x=self.anneal, task=facts.task.name)
        require(plain or self.anneal == "off", given, say("a task with one label a row"), "anneal=off")
        asked = self.weight and self.ratio
        if not asked and self.anneal == "off":
            return Tweak()
        return _Live(self, facts, self._pool(facts) if asked else None)

    def _pool(self, facts: Facts) -> Variants:
        """The texts that the run can come to see, and versions of each."""
        if facts.texts is None:
            given = say("{name} where the texts of the rows are not known", name=name_of(self))
            raise UsageError(problem(given, say("a step that trains on rows of text"), say("leave it out")))
        rows = _drawn(self.texts, facts, self.ratio) if self.texts else facts.texts.rows
        editing = self.by or RandomWords(
            words_of(side for row in rows for side in (row.text, row.pair or "")), self.share
        )
        name = name_of(self.by) if self.by else say("drawing words at random")
        return variants(facts.texts, rows, editing, self.copies, facts.seed, name)


class _Live(Tweak):
    def __init__(self, how: Consistency, facts: Facts, pool: Variants | None):
        self.how, self.facts, self.pool = how, facts, pool
        self.usable = pool.usable if pool else []
        self.pad_id = pad_id_of(facts.texts.tokenizer) if facts.texts else 0
        self.step = 0
        # Divergence, confident texts, texts, rows that annealing left out, rows.
        self.seen = torch.zeros(5, dtype=torch.float64, device=facts.device)

    def ids(self) -> Iterable[int]:
        found = [self.pool.plain, *self.pool.changed] if self.pool else []
        return {token for encoded in found for row in encoded for token in row["input_ids"]}

    def before_step(self, model: nn.Module, step: int) -> None:
        self.step = step

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        if not torch.is_grad_enabled():
            return inner(model, batch)
        labels = inner(model, self.annealed(model, batch))
        drawn = self.drawn(batch["rows"].tolist()) if self.pool else []
        return labels + self.apart(bare(model), batch, drawn) if drawn else labels

    def annealed(self, model: nn.Module, batch: Batch) -> Batch:
        """Without the rows that are right already, as far as the run has come."""
        if self.how.anneal == "off":
            return batch
        draws = Draws(self.facts.device)
        with aside(self.facts.device):
            outputs_BC = bare(model)(**inputs_of(batch)).logits.float()
        limit = threshold(self.step / self.facts.steps, self.how.anneal, self.facts.task.width)
        keep_B = annealed(outputs_BC, batch["targets"], limit)
        self.seen[3:] += torch.stack([(1 - keep_B).sum(), keep_B.new_tensor(len(keep_B))]).double()
        draws.back()  # so that a row is seen with the dropout that it was judged with
        return {**batch, "weights": batch["weights"] * keep_B}

    def drawn(self, rows: Sequence[int]) -> list[tuple[int, int, int]]:
        """(place in the batch, text, version) for each text of the batch: a function of seed, step and row."""
        assert self.pool is not None
        found = []
        for place, row in enumerate(rows):
            rng = random.Random(f"{self.facts.seed}/consistency/{self.step}/{row}")
            for _ in range(int(self.how.ratio) + (rng.random() < self.how.ratio % 1)):
                text = rng.choice(self.usable) if self.how.texts else row
                if self.pool.changed[text]:
                    found.append((place, text, rng.randrange(len(self.pool.changed[text]))))
        return found

    def apart(self, model: nn.Module, batch: Batch, drawn: Sequence[tuple[int, int, int]]) -> Tensor:
        """The weighted divergence, summed; a text counts as the row does that it came with."""
        pool, how = self.pool, self.how
        assert pool is not None
        plain = self._inputs([pool.plain[text] for _, text, _ in drawn])
        with aside(self.facts.device):
            plain_UC = model(**plain).logits.float()
        changed_UC = model(**self._inputs([pool.changed[text][i] for _, text, i in drawn])).logits.float()
        found_U, sure_U = apart(self.facts.task.objective, plain_UC, changed_UC, how.temperature, how.confidence)
        self.seen[:3] += torch.stack([found_U.detach().sum(), sure_U.sum(), sure_U.new_tensor(len(drawn))]).double()
        places = torch.tensor([place for place, _, _ in drawn], device=found_U.device)
        return how.weight / how.ratio * (found_U * batch["weights"][places]).sum()

    def _inputs(self, encoded: Sequence[Mapping[str, list[int]]]) -> dict[str, Tensor]:
        return {name: value.to(self.facts.device) for name, value in collate(encoded, self.pad_id).items()}

    def state(self) -> Mapping[str, Tensor]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].to(self.seen.device, copy=True) if state else torch.zeros_like(self.seen)

    def notes(self) -> dict[str, Any]:
        far, sure, texts, left, rows = self.seen.tolist()
        found: dict[str, Any] = {}
        if self.pool:
            unchanged = len(self.pool.plain) - len(self.usable)
            found["consistency"] = {
                "divergence": round(far / texts, 8) if texts else 0.0,
                "confident": round(sure / texts, 4) if texts else 0.0,
                "texts": len(self.usable),
                "unchanged": unchanged,
            }
        return found | ({"annealed": round(left / rows, 4)} if rows else {})


def _drawn(place: str, facts: Facts, ratio: float) -> Rows:
    """The texts of a file; of very many, as many as the run can look at."""
    rows = read_texts(place, facts.task, "texts")
    most = math.ceil(facts.steps * facts.batch_size * ratio)
    return random.Random(f"{facts.seed}/texts").sample(rows, most) if len(rows) > most else rows


# -- the maths ---------------------------------------------------------------------------------------


def apart(
    objective: str, plain_UC: Tensor, changed_UC: Tensor, temperature: float, confidence: float
) -> tuple[Tensor, Tensor]:
    """How far the answers to changed texts are from those to the texts, [U], and how confident these were, 0 or 1, [U].

    Of many yes or no each counts, or not, by itself; numbers are always sure.
    """
    if objective == "mean_squared_error":
        found_U = (plain_UC - changed_UC).square().mean(1)
        return found_U, torch.ones_like(found_U)
    if objective == "binary_cross_entropy":
        p_UC, q_UC = plain_UC / temperature, changed_UC
        found_UC = p_UC.sigmoid() * (F.logsigmoid(p_UC) - F.logsigmoid(q_UC))
        found_UC = found_UC + (-p_UC).sigmoid() * (F.logsigmoid(-p_UC) - F.logsigmoid(-q_UC))
        sure_UC = (plain_UC.abs().sigmoid() > confidence).float()
        return (found_UC * sure_UC).mean(1), sure_UC.mean(1)
    log_p_UC, log_q_UC = F.log_softmax(plain_UC / temperature, -1), F.log_softmax(changed_UC, -1)
    sure_U = (plain_UC.softmax(-1).amax(1) > confidence).float()
    return (log_p_UC.exp() * (log_p_UC - log_q_UC)).sum(1) * sure_U, sure_U


def threshold(t: float, anneal: str, classes: int) -> float:
    """Up to which probability of its label a row is learned when the share `t` of the run is over: from 1/C to 1."""
    rise = {"linear": t, "log": 1 - math.exp(-5 * t), "exp": math.exp(5 * (t - 1))}[anneal]
    return rise * (1 - 1 / classes) + 1 / classes


def annealed(outputs_BC: Tensor, targets_B: Tensor, limit: float) -> Tensor:
    """1 for rows whose label is less probable than `limit`, 0 for those that are right already, [B]."""
    right_B = outputs_BC.softmax(-1).gather(1, targets_B[:, None])[:, 0]
    return (right_B < limit).float()
