"""Baselines learn what can be learned, answer in the task's own space, and repeat exactly."""

import csv
import json
import time

import numpy as np
import pytest

from burnish.core import Row
from burnish.measure.baselines import baselines, majority, shown_name, tfidf
from burnish.measure.intervals import interval
from burnish.tasks import make

GOOD, BAD, PLAIN = (
    ["great", "lovely", "superb"],
    ["awful", "dreadful", "poor"],
    ["film", "plot", "actor", "score", "we"],
)


def sentiment(rows, seed=0, labels=("bad", "good")):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(rows):
        side = int(rng.random() < 0.6)
        words = [*rng.choice(PLAIN, 4), *rng.choice(GOOD if side else BAD, 2)]
        made.append(Row(f"x:{i}", " ".join(rng.permutation(words)), target=labels[side]))
    return made


CLASSIFY = make("text-classification", ("bad", "good"))


def test_tfidf_learns_words_and_majority_the_commonest_label():
    train, test = sentiment(300), sentiment(100, seed=1)
    targets = CLASSIFY.encode(test)
    assert CLASSIFY.score(tfidf(CLASSIFY, train, test), targets) > 0.97
    assert set(CLASSIFY.answers(majority(CLASSIFY, train, test))) == {"good"}


def test_softmax_of_the_outputs_is_a_probability_that_means_something():
    train, test = sentiment(300), sentiment(200, seed=1)
    share = np.mean([row.target == "good" for row in train])
    p = np.exp(majority(CLASSIFY, train, test[:1]))[0]
    assert p == pytest.approx([1 - share, share], abs=1e-6)
    assert np.exp(tfidf(CLASSIFY, train, test)).sum(1) == pytest.approx(np.ones(200), abs=1e-5)


def test_three_labels_of_which_one_is_not_in_train():
    task = make("text-classification", ("bad", "good", "unseen"))
    out = baselines(task, sentiment(120), sentiment(20, seed=2))
    for outputs in (out["majority"][0], out["tfidf"][0]):
        assert outputs.shape == (20, 3)
        assert np.isfinite(outputs).all()
        assert (outputs[:, 2] < outputs[:, :2].max(1) - 2).all()


def test_many_labels_get_logits_and_a_label_nobody_has_is_never_given():
    texts = {"great plot": ("g", "p"), "awful plot": ("p",), "great film": ("g",), "awful film": ()}
    train = [Row(f"x:{i}", text, target=target) for i, (text, target) in enumerate(list(texts.items()) * 20)]
    task = make("multi-label-classification", ("g", "never", "p"))
    out = tfidf(task, train, train[:4])
    assert task.answers(out) == [("g", "p"), ("p",), ("g",), ()]
    assert task.answers(majority(task, train + train[:1], train[:1])) == [("g", "p")]


def test_numbers_are_predicted_in_their_own_unit():
    worth = dict(zip(GOOD + BAD, (30, 32, 34, 10, 12, 14), strict=True))
    rows = [Row(r.id, r.text, target=float(sum(worth.get(w, 0) for w in r.text.split()))) for r in sentiment(400)]
    task = make("regression")
    targets = task.encode(rows[300:])
    assert task.metrics(tfidf(task, rows[:300], rows[300:]), targets)["mae"] < 4
    assert majority(task, rows[:300], rows[300:])[0, 0] == pytest.approx(
        np.mean([r.target for r in rows[:300]]), rel=1e-5
    )


def test_a_pair_is_judged_by_how_alike_its_sides_are():
    rng = np.random.default_rng(3)

    def pair(i):
        a = " ".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6))
        b = (
            " ".join(rng.permutation(a.split()))
            if i % 2
            else " ".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6))
        )
        return Row(f"x:{i}", a, b, "same" if i % 2 else "other")

    task, rows = make("text-classification", ("other", "same"), pair=True), [pair(i) for i in range(400)]
    assert task.score(tfidf(task, rows[:300], rows[300:]), task.encode(rows[300:])) > 0.95


def test_scripts_without_spaces_are_read_by_characters():
    rng = np.random.default_rng(4)

    def review(i):
        target, word = ("good", "很好") if i % 3 else ("bad", "太差")
        return Row(f"x:{i}", "".join(rng.permutation([*"我们今天看了电影", word])), target=target)

    rows = [review(i) for i in range(300)]
    assert CLASSIFY.score(tfidf(CLASSIFY, rows[:200], rows[200:]), CLASSIFY.encode(rows[200:])) > 0.95


@pytest.mark.parametrize("texts", [["", " "], ["!!", "??"], ["a", "b"], ["\x00", "🙂"]])
def test_texts_with_nothing_to_learn_from_give_the_commonest_label(texts):
    rows = [Row(f"x:{i}", texts[i % 2] if i % 5 else texts[0], target="good" if i % 5 else "bad") for i in range(40)]
    outputs = tfidf(CLASSIFY, rows, [Row("y", "entirely new"), Row("z", "")])
    assert outputs.shape == (2, 2)
    assert np.isfinite(outputs).all()


def test_five_rows_and_no_rows_are_enough_to_ask():
    out = baselines(CLASSIFY, sentiment(5, seed=1), [], sentiment(3))
    assert [x.shape for x in out["tfidf"]] == [(0, 2), (3, 2)] == [x.shape for x in out["majority"]]


def test_the_same_seed_gives_the_same_bits():
    train, test = sentiment(150), sentiment(40, seed=1)
    assert (tfidf(CLASSIFY, train, test, seed=3) == tfidf(CLASSIFY, train, test, seed=3)).all()


def test_test_rows_do_not_reach_the_fit():
    train, test = sentiment(150), sentiment(40, seed=1)
    one = baselines(CLASSIFY, train, test[:1], test)["tfidf"]
    assert (one[0][0] == one[1][0]).all()
    assert (tfidf(CLASSIFY, train, test[:20]) == one[1][:20]).all()


def test_names_for_readers():
    assert (shown_name(CLASSIFY, "tfidf"), shown_name(make("regression"), "tfidf")) == ("tfidf+logreg", "tfidf+ridge")


def load(folder, split):
    with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    first = "text" if "text" in lines[0] else "sentence1"
    return [
        Row(
            f"{split}:{i}",
            line[first],
            line.get("sentence2"),
            line["label"] if "label" in line else float(line["valence"]),
        )
        for i, line in enumerate(lines)
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "least"), [("sst2", 0.82), ("trec", 0.88), ("mrpc", 0.72), ("tweet_valence", 0.78), ("zh_reviews", 0.82)]
)
def test_on_real_data_tfidf_reaches_its_usual_score_in_seconds(shared, name, least):
    train, test = (load(shared / "data" / name, split) for split in ("train", "test"))
    labels = tuple(sorted({r.target for r in train})) if isinstance(train[0].target, str) else ()
    task = make("text-classification" if labels else "regression", labels, train[0].pair is not None)
    start = time.process_time()
    found = baselines(task, train, test)
    seconds = time.process_time() - start
    targets = task.encode(test)
    scores = {shown_name(task, k): interval(task, v[0], targets).to_json() for k, v in found.items()}
    print(name, json.dumps(scores), round(seconds, 1), "s")
    assert task.score(found["tfidf"][0], targets) > least
    assert task.score(found["majority"][0], targets) < least - 0.05
    assert seconds < 15
