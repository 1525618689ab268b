"""Filters on meaning: is the new text still about the same, and do its new words fit where they stand?

Texts are told apart by the user's own encoder, the mean over its last layer's tokens. Without a model, by how many
runs of letters they share (TF-IDF), which sees spelling and not meaning: then `Sense` asks nothing. Nor is an encoder
asked about texts it cannot read, such as Chinese ones for an English model. `told` says how it was.

Paper: Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, arXiv:1908.10084 (mean pooling, cosine).
Differs from it: the lower bound is no fixed cosine, which means another thing for every encoder. `Similarity` takes
it from the data: rows of one label are at least as alike as 95 of 100 pairs of them are. That stops texts about
something else, not a wrong word; `Sense` asks for that, by comparing with random words in the same places: with MiniLM
on tests/augment/pairs.tsv it catches 15 of the 17 English wrong words and loses 5 of 75 faultless rows; with level
0.05 16 and 8, with 0.1 13 and 4. Each row costs as much as reading `tries` rows.

Shapes: N = texts, H = width of an encoder or features, K = random changes.
"""

import hashlib
import random
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from burnish.augment._change import LETTER, WORD, Change, lost_and_won
from burnish.core import Row, Work
from burnish.data.stopwords import STOP_WORDS
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Sense", "Similarity"]

PAIRS = 1000  # pairs of originals that the lower bound is taken from
SHARE = 5  # percent of them that may lie below it
LONGEST = 128  # tokens a text is judged by
KEPT = 20_000  # texts whose vectors are remembered
UNREAD = 0.1  # share of tokens unknown to an encoder from which on it cannot read a text


class Reader(Protocol):
    told: str  # how texts are told apart, for people
    knows_meaning: bool

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [N, H]."""

    def can_read(self, texts: Sequence[str]) -> np.ndarray:
        """Bool [N]."""


@dataclass(frozen=True)
class Similarity:
    low: float | None = None  # least cosine of old and new text; None: that of 95 in 100 pairs of one label
    high: float = 0.9999  # most; from there on nothing was changed that the encoder can see

    def __post_init__(self) -> None:
        if not (self.low is None or -1 <= self.low < self.high) or self.high > 1:
            raise UsageError(
                problem(say("similarity {a} to {b}", a=self.low, b=self.high), "-1 to 1, rising", "similarity")
            )

    def fitted(self, work: Work) -> "_Alike":
        reader = _Remembering(reader_of(work))
        low = same_label_floor(work, reader) if self.low is None else self.low
        return _Alike(reader, low, self.high)


@dataclass
class _Alike:
    reader: Reader
    low: float
    high: float
    unread: int = 0

    @property
    def told(self) -> str:
        return _told(self.reader, self.unread, say("cosine {a:.2f} to {b:g}", a=self.low, b=self.high))

    def whys(self, changes: Sequence[Change]) -> list[str]:
        old_NH, new_NH = (self.reader.vectors([getattr(c, side) for c in changes]) for side in ("old", "new"))
        read_N = self.reader.can_read([change.old for change in changes])
        self.unread += int((~read_N).sum())
        cosines = zip((old_NH * new_NH).sum(1), read_N, strict=True)
        return [self._why(float(cosine)) if read else "" for cosine, read in cosines]

    def _why(self, cosine: float) -> str:
        if cosine < self.low:
            return say("about something else")
        return say("the same again") if cosine > self.high else ""


def _told(reader: Reader, unread: int, how: str) -> str:
    passed = say("; {n} texts it cannot read were let through", n=unread) if unread else ""
    return f"{reader.told}, {how}{passed}"


def same_label_floor(work: Work, reader: Reader) -> float:
    """The cosine that 95 of 100 pairs of original rows of one label reach; -1 where there are no such pairs."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in work.train:
        if not row.parent:
            groups[_label(row)].append(row.text)
    labels = [label for label in sorted(groups) if len(groups[label]) > 1]
    if not labels:
        return -1.0
    rng = random.Random(0)
    sizes = [len(groups[label]) for label in labels]
    drawn = [rng.sample(groups[label], 2) for label in rng.choices(labels, sizes, k=min(PAIRS, 5 * sum(sizes)))]
    a_NH, b_NH = (reader.vectors([pair[side] for pair in drawn]) for side in (0, 1))
    return float(np.percentile((a_NH * b_NH).sum(1), SHARE))


def _label(row: Row) -> str:
    if isinstance(row.target, float):
        return f"{row.target:.1g}"  # numbers that are about the same
    return str(row.target) if isinstance(row.target, str) else ""


# -- the right word in the right place ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sense:
    tries: int = 15  # random changes that the new text is compared with, 5 to 100
    level: float = 0.07  # p value below which it keeps more of the meaning than such changes do, 0 to 1

    def __post_init__(self) -> None:
        if not (5 <= self.tries <= 100 and 0 < self.level < 1):
            given = say("sense with tries {k} and level {x}", k=self.tries, x=self.level)
            raise UsageError(problem(given, say("tries from 5 to 100, level from 0 to 1"), "sense:tries=15,level=0.07"))

    def fitted(self, work: Work) -> "_Fitting":
        seen = {word for row in work.train if not row.parent for word in WORD.findall(row.text)}
        return _Fitting(_Remembering(reader_of(work)), self, sorted(word for word in seen if _has_content(word)))


@dataclass
class _Fitting:
    """Only words that others took the place of are looked at: what was only added, left out or moved has no rival."""

    reader: Reader
    s: Sense
    words: list[str]
    unread: int = 0

    @property
    def told(self) -> str:
        if not self.reader.knows_meaning:
            return say("not asked: it takes a model")
        return _told(self.reader, self.unread, say("beside {k} random changes", k=self.s.tries))

    def whys(self, changes: Sequence[Change]) -> list[str]:
        found = [""] * len(changes)
        if not self.reader.knows_meaning or len(self.words) < self.s.tries:
            return found
        lost = [_replaced(change) for change in changes]
        read_N = self.reader.can_read([change.old for change in changes])
        self.unread += sum(1 for words, read in zip(lost, read_N, strict=True) if words and not read)
        asked = [i for i, words in enumerate(lost) if words and read_N[i]]
        for i, p in zip(asked, self._p([changes[i] for i in asked], [lost[i] for i in asked]), strict=True):
            if p > self.s.level:
                found[i] = say("a word out of place")
        return found

    def _p(self, changes: Sequence[Change], lost: Sequence[frozenset[str]]) -> np.ndarray:
        """How likely a random change is as close to the old text as the new text is, [N]."""
        if not changes:
            return np.zeros(0)
        rivals = [text for change, words in zip(changes, lost, strict=True) for text in self._rivals(change, words)]
        old_NH, new_NH = (self.reader.vectors([getattr(c, side) for c in changes]) for side in ("old", "new"))
        rival_NKH = self.reader.vectors(rivals).reshape(len(changes), self.s.tries, -1)
        own_N1 = (old_NH * new_NH).sum(1)[:, None]
        return beyond(own_N1[:, 0], (rival_NKH * old_NH[:, None]).sum(2))

    def _rivals(self, change: Change, lost: frozenset[str]) -> list[str]:
        """The old text with random words where it lost some; the same ones for the same text on any machine."""
        rng = random.Random(hashlib.blake2b(f"{change.old}\0{change.new}".encode("utf-8", "surrogatepass")).digest())
        kinds = [[word for word in self.words if word.isascii() == ascii_] for ascii_ in (False, True)]

        def other(match: Any) -> str:
            word = match.group()
            if word.casefold() not in lost:
                return str(word)
            return rng.choice(kinds[word.isascii()] or self.words)

        return [WORD.sub(other, change.old) for _ in range(self.s.tries)]


def beyond(value_N: np.ndarray, sample_NK: np.ndarray) -> np.ndarray:
    """How likely one more draw of each sample is as large as its value, going by Student's t, [N]."""
    from scipy.stats import t

    draws = sample_NK.shape[1]
    spread_N = np.maximum(sample_NK.std(1, ddof=1), 1e-6) * np.sqrt(1 + 1 / draws)
    return np.asarray(t.sf((value_N - sample_NK.mean(1)) / spread_N, draws - 1))


def _replaced(change: Change) -> frozenset[str]:
    lost, won = lost_and_won(change.old, change.new)
    if not any(map(_has_content, won)):
        return frozenset()
    return frozenset(filter(_has_content, lost))


def _has_content(word: str) -> bool:
    return bool(LETTER.match(word)) and word.casefold() not in STOP_WORDS["en"] and not word.isdigit()


# -- vectors -----------------------------------------------------------------------------------------------------------


def reader_of(work: Work) -> Reader:
    if work.model is not None:
        return _Encoder(work.model, work.tokenizer)
    return _Spelling([row.text for row in work.train if not row.parent])


class _Remembering:
    """Parents come again and again."""

    def __init__(self, reader: Reader):
        self.reader, self.told, self.knows_meaning = reader, reader.told, reader.knows_meaning
        self.known = OrderedDict[str, np.ndarray]()

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        fresh = list(dict.fromkeys(text for text in texts if text not in self.known))
        if fresh:
            self.known.update(zip(fresh, self.reader.vectors(fresh), strict=True))
        found = np.stack([self.known[text] for text in texts])
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        return found

    def can_read(self, texts: Sequence[str]) -> np.ndarray:
        return self.reader.can_read(texts)


class _Encoder:
    """A Transformer's own vectors: the mean over the tokens of its last layer."""

    knows_meaning = True

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer = model, tokenizer
        self.told = say("by the model's own vectors")

    def can_read(self, texts: Sequence[str]) -> np.ndarray:
        unknown = self.tokenizer.unk_token_id
        counts = [(row["input_ids"].count(unknown), len(row["input_ids"])) for row in self._encoded(texts)]
        return np.array([found <= UNREAD * length for found, length in counts], dtype=bool)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        from burnish.train.batches import batch_order, collate
        from burnish.train.evaluate import evaluating, pad_id_of

        encoded, pad_id = self._encoded(texts), pad_id_of(self.tokenizer)
        lengths_N = np.array([len(row["input_ids"]) for row in encoded])
        device = next(self.model.parameters()).device
        found: dict[int, np.ndarray] = {}
        with evaluating(self.model), torch.inference_mode():
            for rows in batch_order(lengths_N, 32, 0, 0):
                batch = {k: v.to(device) for k, v in collate([encoded[i] for i in rows], pad_id).items()}
                x_BSH = self.model.base_model(**batch).last_hidden_state.float()
                mask_BS1 = batch["attention_mask"][..., None].float()
                x_BH = (x_BSH * mask_BS1).sum(1) / mask_BS1.sum(1).clamp(min=1)
                unit_BH = torch.nn.functional.normalize(x_BH, dim=1).cpu().numpy()
                found.update(zip(rows.tolist(), unit_BH, strict=True))
        return np.stack([found[i] for i in range(len(texts))])

    def _encoded(self, texts: Sequence[str]) -> Any:
        from burnish.train.batches import encode

        return encode(self.tokenizer, [Row("", text or " ") for text in texts], LONGEST)


class _Spelling:
    """TF-IDF over runs of letters, fitted on the originals."""

    knows_meaning = False

    def __init__(self, texts: Sequence[str]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.seen = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, max_features=50_000)
        self.seen.fit([*texts, "none here"])
        self.told = say("by spelling, since no model was given")

    def can_read(self, texts: Sequence[str]) -> np.ndarray:
        return np.ones(len(texts), dtype=bool)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.seen.transform(texts).toarray(), np.float32)
