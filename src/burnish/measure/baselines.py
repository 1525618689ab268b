"""What a Transformer must beat to be worth its weight: one fixed answer, and TF-IDF with a linear model.

Papers: Salton & Buckley, "Term-weighting approaches in automatic text retrieval", IPM 1988 (TF-IDF); Wang &
Manning, "Baselines and bigrams: simple, good sentiment and topic classification", ACL 2012 (word pairs and a
linear model are hard to beat on short texts).

Outputs are in the task's own space: log probabilities for one label of several (their softmax is the
probability), logits for any number of labels, values for a number. Shapes: N = rows, C = outputs a row, F =
features.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burnish.core import Row, Rows, Task
from burnish.measure.word_baselines import fit_linear_words, nothing

__all__ = ["baselines", "fit_tfidf", "majority", "shown_name", "tfidf"]

# More rows would make the baseline slower and hardly better; it is a bar, not a product.
MOST_ROWS = 20_000
MOST_FEATURES = 50_000
# Inverse strength of the penalty (1 is scikit-learn's default), tried on a held-out fifth of train. With very
# many labels every try costs a fit for each of them, so there the usual winner on short texts is taken.
STRENGTHS, USUAL_STRENGTH, MANY_LABELS = (0.3, 1.0, 4.0, 16.0), 4.0, 20
# Scripts that put no space between words: Thai to Khmer, kana, Han with its extensions, Yi.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\ua000-\ua4cf\uf900-\ufaff]")

WORD = r"(?u)\b\w+\b|[^\w\s]"  # scikit-learn's own drops "I", "a" and every "!"

Answer = Callable[[Rows], np.ndarray]


def baselines(task: Task, train: Rows, *splits: Rows, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """{"majority": [outputs of each split], "tfidf": [...]}, each fitted once on `train` alone.

    Where labels are on words these are no label at all, and a linear model over words and their neighbours.
    """
    if task.reads != "rows":
        linear = fit_linear_words(task, train, seed)
        return {"majority": [nothing(task, rows) for rows in splits], "tfidf": [linear(rows) for rows in splits]}
    answer = fit_tfidf(task, train, seed)
    return {
        "majority": [majority(task, train, rows) for rows in splits],
        "tfidf": [answer(rows) for rows in splits],
    }


def shown_name(task: Task, name: str) -> str:
    """How a reader knows the baseline: 'tfidf+logreg', 'tfidf+ridge', 'majority', 'mean'."""
    if task.reads != "rows":
        linear = {"words": "word features+logreg", "answers": "overlap+logreg"}[task.reads]
        return {"tfidf": linear, "majority": "nothing"}[name]
    number = task.objective == "mean_squared_error"
    return {
        "tfidf": "tfidf+ridge" if number else "tfidf+logreg",
        "majority": "mean" if number else "majority",
    }[name]


def majority(task: Task, train: Rows, rows: Rows) -> np.ndarray:
    """The answer that fits `train` best without reading: its commonest label, or its mean; float32 [N, C]."""
    targets = task.encode(train)
    if task.objective == "cross_entropy":
        line_C = np.log(np.maximum(np.bincount(targets, minlength=task.width) / len(targets), 1e-6))
    elif task.objective == "binary_cross_entropy":
        line_C = _logit(targets.mean(0))
    else:
        line_C = targets.mean(0)
    return np.tile(np.asarray(line_C, np.float32), (len(rows), 1))


def tfidf(task: Task, train: Rows, rows: Rows, seed: int = 0) -> np.ndarray:
    """TF-IDF with logistic or ridge regression, fitted on `train`; outputs for `rows`, float32 [N, C].

    Words and word pairs, and pieces of words (2 to 5 characters); runs of 1 to 3 characters for scripts
    without spaces. A sentence pair also has the distances of its two sides and how alike they are. Deterministic; 8,000
    short rows take seconds.
    """
    return fit_tfidf(task, train, seed)(rows)


def fit_tfidf(task: Task, train: Rows, seed: int) -> Answer:
    """What `tfidf` fits on `train`, to be asked more than once: rows -> outputs, float32 [N, C]."""
    order = np.random.default_rng(seed).permutation(len(train))[:MOST_ROWS]
    train = [train[i] for i in order]
    x_NF, featurize = _fit_features(train, task.pair)
    targets = task.encode(train)
    with warnings.catch_warnings():
        # Stopped at the iteration limit is good enough for a bar; the held-out score decides either way.
        warnings.simplefilter("ignore")
        fitted = _fit_linear(task, x_NF, targets, _best_strength(task, x_NF, targets))
    return lambda rows: fitted(featurize(rows)) if len(rows) else np.zeros((0, task.width), np.float32)


def _best_strength(task: Task, x_NF: Any, targets: np.ndarray) -> float:
    """The strength that scores best on the last fifth (rows come shuffled); ties go to more penalty."""
    cut = len(targets) - len(targets) // 5
    if len(targets) - cut < 10 or task.width > MANY_LABELS:
        return USUAL_STRENGTH
    scores = []
    for strength in STRENGTHS:
        fitted = _fit_linear(task, x_NF[:cut], targets[:cut], strength)
        scores.append(task.score(fitted(x_NF[cut:]), targets[cut:]))
    return STRENGTHS[int(np.nanargmax(scores))] if np.isfinite(scores).any() else USUAL_STRENGTH


def _fit_linear(task: Task, x_NF: Any, targets: np.ndarray, strength: float) -> Callable[[Any], np.ndarray]:
    if task.objective == "mean_squared_error":
        from sklearn.linear_model import Ridge

        ridge = Ridge(alpha=1 / strength, solver="sparse_cg", tol=1e-4).fit(x_NF, targets.reshape(-1))
        return lambda new: ridge.predict(new).reshape(-1, 1).astype(np.float32)
    if task.objective == "cross_entropy" and task.width == 2:
        yes = _fit_yes_no(x_NF, targets == 1, strength)
        return lambda new: _log_probability(np.stack([-yes(new), yes(new)], axis=1))
    one_hot = task.objective == "cross_entropy"
    yes_NC = np.eye(task.width)[targets] > 0 if one_hot else targets > 0.5
    columns = [_fit_yes_no(x_NF, yes_NC[:, c], strength) for c in range(task.width)]

    def answer(new: Any) -> np.ndarray:
        logit_NC = np.stack([column(new) for column in columns], axis=1)
        return _log_probability(logit_NC) if one_hot else logit_NC.astype(np.float32)

    return answer


def _fit_yes_no(x_NF: Any, yes_N: np.ndarray, strength: float) -> Callable[[Any], np.ndarray]:
    """The logit of one label, [N]. liblinear runs on one core, so a busy machine does not slow it tenfold."""
    from sklearn.linear_model import LogisticRegression

    if yes_N.all() or not yes_N.any():
        return lambda new: np.full(new.shape[0], float(_logit(yes_N.mean())))
    model = LogisticRegression(C=strength, solver="liblinear", dual=True, tol=1e-2, random_state=0)
    return model.fit(x_NF, yes_N).decision_function


def _log_probability(logit_NC: np.ndarray) -> np.ndarray:
    """One-against-rest logits -> log of each label's own probability over the sum of them all."""
    from scipy.special import log_expit, logsumexp

    log_p_NC = log_expit(logit_NC)
    return np.asarray(log_p_NC - logsumexp(log_p_NC, axis=1, keepdims=True), np.float32)


def _logit(share: Any) -> np.ndarray:
    share = np.clip(share, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(share) - np.log1p(-share))


# --- features


def _fit_features(train: Rows, pair: bool) -> tuple[Any, Callable[[Rows], Any]]:
    """Fit the vocabulary on `train`; (its features, the function that makes them), sparse [N, F]."""
    from scipy.sparse import hstack

    texts = [row.text for row in train] + ([row.pair or "" for row in train] if pair else [])
    vectorizers = _vectorizers(texts)
    x_NF = hstack([_fit_or_empty(v, texts) for v in vectorizers], format="csr")

    def single(texts: Sequence[str]) -> Any:
        return hstack([v.transform(texts) for v in vectorizers], format="csr")

    if not pair:
        return x_NF, lambda rows: single([row.text for row in rows])
    sides = x_NF[: len(train)], x_NF[len(train) :]
    return _pair_features(train, *sides), lambda rows: _pair_features(
        rows, single([row.text for row in rows]), single([row.pair or "" for row in rows])
    )


def _vectorizers(texts: Sequence[str]) -> list[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    often = 2 if len(texts) >= 200 else 1  # a term seen once among many texts can only be learned by heart
    common = {"min_df": often, "max_features": MOST_FEATURES, "sublinear_tf": True}
    # Without spaces a "word" is a whole clause: with them Chinese reviews scored 0.81 held out, without 0.83.
    if _unspaced(texts):
        return [TfidfVectorizer(analyzer="char", ngram_range=(1, 3), **common)]
    return [
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, **common),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **common),
    ]


def _unspaced(texts: Sequence[str]) -> bool:
    """Is a third of what is written in a script without spaces? 500 texts from all over the list decide."""
    sample = "".join(texts[:: max(1, len(texts) // 500)])
    return len(UNSPACED.findall(sample)) > len(sample) / 3


def _fit_or_empty(vectorizer: Any, texts: Sequence[str]) -> Any:
    """Fit; where no term is left (empty texts, none seen twice) take any there is, or one never seen."""
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:
        vectorizer.set_params(min_df=1).fit([*texts, "none here"])
        return vectorizer.transform(texts)


def _pair_features(rows: Rows, a_NF: Any, b_NF: Any) -> Any:
    """Both sides, their distance in every term, and how alike they are: sparse [N, 3F + 5].

    What they share needs no columns of its own: min(a, b) = (a + b - |a - b|) / 2 is linear in these.
    """
    from scipy.sparse import csr_matrix, hstack

    alike_N4 = np.array([_alike(row) for row in rows]).reshape(-1, 4)
    cosine_N1 = np.asarray(a_NF.multiply(b_NF).sum(1)).reshape(-1, 1)  # every vectorizer gives lines of length 1
    return hstack([a_NF, b_NF, abs(a_NF - b_NF), csr_matrix(np.hstack([alike_N4, cosine_N1]))], format="csr")


def _alike(row: Row) -> tuple[float, float, float, float]:
    """Shared words over all, over the shorter side; ratio of lengths; same numbers or not. All 0..1."""
    a, b = (set(text.lower().split()) for text in (row.text, row.pair or ""))
    short, long = sorted((max(len(a), 1), max(len(b), 1)))
    same_numbers = {w for w in a if any(map(str.isdigit, w))} == {w for w in b if any(map(str.isdigit, w))}
    return len(a & b) / max(len(a | b), 1), len(a & b) / short, short / long, float(same_numbers)
