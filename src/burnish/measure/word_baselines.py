"""What a model must beat where labels are on words: linear models over a word's form and its neighbours.

Papers: Ratinov, Roth, "Design Challenges and Misconceptions in Named Entity Recognition", CoNLL 2009 (what a linear
tagger looks at); Rajpurkar, Zhang, Lopyrev, Liang, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP
2016, arXiv:1606.05250, section 5 (a logistic regression over the overlap with the question).

Shapes: N = texts, W = words, C = outputs a word; outputs as the task has them, [N, W, C] or [N, 1 + W, 2].
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from burnish.core import Row, Rows, Span, Task
from burnish.units import covered, padded, units

__all__ = ["fit_linear_words", "nothing"]

MOST_WORDS = 200_000
FEATURES = 2**18
NEAR = 8  # words to each side in which the question's words are looked for
AT_MOST = 2000  # texts that the answer finder learns from

Answer = Callable[[Rows], np.ndarray]


def nothing(task: Task, rows: Rows) -> np.ndarray:
    """No entity, no answer: what is right most often without reading."""
    made = []
    for row in rows:
        own = np.zeros((len(units(row.text)) + (task.reads == "answers"), task.width), dtype=np.float32)
        if task.reads == "answers":
            own[0] = 1.0
        else:
            own[:, 0] = 1.0
        made.append(own)
    return padded(made)


def fit_linear_words(task: Task, train: Rows, seed: int) -> Answer:
    """A linear model fitted on `train`: rows -> outputs. Deterministic; 3,000 sentences take seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopped at the iteration limit is good enough for a bar
        return _fit_answers(train, seed) if task.reads == "answers" else _fit_tags(task, train, seed)


# -- labels of words -------------------------------------------------------------------------------


def _fit_tags(task: Task, train: Rows, seed: int) -> Answer:
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    order = np.random.default_rng(seed).permutation(len(train))
    chosen, words = [], 0
    for i in order:
        chosen.append(train[i])
        words += len(units(train[i].text))
        if words > MOST_WORDS:
            break
    hasher = FeatureHasher(FEATURES, input_type="string", alternate_sign=False)
    targets = np.concatenate([own[own >= 0] for own in task.encode(chosen)])
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=15, tol=None, random_state=0)
    model.fit(hasher.transform(f for row in chosen for f in _features(row.text)), targets)

    def answer(rows: Rows) -> np.ndarray:
        made = []
        for row in rows:
            own = np.full((len(units(row.text)), task.width), -30.0, dtype=np.float32)
            if len(own):
                own[:, model.classes_] = model.predict_log_proba(hasher.transform(_features(row.text))).clip(-30)
            made.append(own)
        return task.read(padded(made))

    return answer


def _features(text: str) -> Iterator[list[str]]:
    words = [text[a:b] for a, b in units(text)]
    around = ["<<", "<", *words, ">", ">>"]
    for i, word in enumerate(words, 2):
        low = word.lower()
        yield [
            "bias", f"w={low}", f"s={_shape(word)}", f"p={low[:3]}", f"e={low[-3:]}",
            *(f"{d}={around[i + d].lower()}" for d in (-2, -1, 1, 2)),
            *(f"s{d}={_shape(around[i + d])}" for d in (-1, 1)),
            f"-1,0={around[i - 1].lower()} {low}", f"0,1={low} {around[i + 1].lower()}",
        ]  # fmt: skip


def _shape(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", re.sub(r"[a-z]", "x", re.sub(r"[A-Z]", "X", re.sub(r"\d", "9", word))))


# -- answers in texts ------------------------------------------------------------------------------


def _fit_answers(train: Rows, seed: int) -> Answer:
    from sklearn.linear_model import LogisticRegression

    order = np.random.default_rng(seed).permutation(len(train))[:AT_MOST]
    chosen = [train[i] for i in order]
    rare = _rarity(chosen)
    seen = [_clues(row, rare) for row in chosen]
    ends = [_ends(row) for row in chosen]
    models = []
    for side in (0, 1):
        yes = np.concatenate([np.arange(len(x)) == e[side] for x, e in zip(seen, ends, strict=True) if len(x)])
        if yes.all() or not yes.any():
            return lambda rows: padded([_silent(row) for row in rows])
        models.append(LogisticRegression(max_iter=200, class_weight="balanced").fit(np.concatenate(seen), yes))
    bar = _bar(models, seen, ends)

    def answer(rows: Rows) -> np.ndarray:
        return padded([_lines(models, _clues(row, rare), bar) for row in rows])

    return answer


def _silent(row: Row) -> np.ndarray:
    own = np.zeros((len(units(row.text)) + 1, 2), dtype=np.float32)
    own[0] = 1.0
    return own


def _lines(models: Sequence[object], x_WF: np.ndarray, bar: float) -> np.ndarray:
    sides = [model.decision_function(x_WF) if len(x_WF) else np.zeros(0) for model in models]  # type: ignore[attr-defined]
    return np.concatenate([[[bar / 2, bar / 2]], np.stack(sides, axis=1)]).astype(np.float32)


def _bar(models: Sequence[object], seen: Sequence[np.ndarray], ends: Sequence[tuple[int, int]]) -> float:
    """The score below which no answer is given, where as many go without as have none."""
    best = [_lines(models, x, 0.0)[1:].max(0).sum() if len(x) else -np.inf for x in seen]
    none = float(np.mean([e[0] < 0 for e in ends]))
    return float(np.quantile(best, none)) if none else -1e4


def _rarity(rows: Rows) -> dict[str, float]:
    counts = Counter(word for row in rows for word in {*_words(row.text), *_words(row.pair or "")})
    return {word: float(np.log(len(rows) / count)) for word, count in counts.items()}


def _words(text: str) -> list[str]:
    return [text[a:b].lower() for a, b in units(text)]


def _clues(row: Row, rare: dict[str, float]) -> np.ndarray:
    """[W, F]: how much of the question stands round each word, and what the word looks like."""
    words, asked = _words(row.text), set(_words(row.pair or ""))
    shown = [row.text[a:b] for a, b in units(row.text)]
    common_W = np.array([rare.get(word, 5.0) if word in asked else 0.0 for word in words])
    total = np.concatenate([[0.0], np.cumsum(common_W)])
    at_W = np.arange(len(words))
    before = total[at_W] - total[np.maximum(at_W - NEAR, 0)]
    after = total[np.minimum(at_W + 1 + NEAR, len(words))] - total[np.minimum(at_W + 1, len(words))]
    looks = [(w[:1].isupper(), w.isdigit(), not w[:1].isalnum(), rare.get(w.lower(), 5.0)) for w in shown]
    wide = total[np.minimum(at_W + 1 + 3 * NEAR, len(words))] - total[np.maximum(at_W - 3 * NEAR, 0)]
    columns = [before, after, wide, common_W > 0, *np.array(looks, dtype=float).reshape(len(words), 4).T]
    return np.stack(columns, axis=1).astype(float)


def _ends(row: Row) -> tuple[int, int]:
    spans = [part for part in row.target or () if isinstance(part, Span)]  # type: ignore[union-attr]
    return covered(units(row.text), spans[0]) if spans else (-1, -1)
