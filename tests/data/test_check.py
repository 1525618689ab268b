"""Checking: each defect that is planted is found, and clean rows draw no warning."""

import functools
import json
from typing import Any

import numpy as np
import pytest

from burnish.core import Row, Rows, Task
from burnish.data.check import check, lines, smallest_difference
from burnish.data.infer import infer
from burnish.data.read import read
from burnish.data.rows import rows_of
from burnish.data.split import Splits, labels_of, split, with_test
from burnish.tasks import make
from tests.tiny import tiny_rows


def binary() -> Task:
    return make("text-classification", labels=("neg", "pos"))


@functools.cache
def clean(rows: int = 400) -> Splits:
    """Rows of random words: even, all different, and with 2,000 of them enough."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{i}" for i in rng.integers(0, 5000, 12)) for _ in range(rows)]
    return split([Row(f"data:{i}", text, None, ("neg", "pos")[i % 2]) for i, text in enumerate(texts)])


def with_rows(*planted: Row, side: str = "train") -> Splits:
    base = clean()
    sides = {name: getattr(base, name) for name in ("train", "valid", "test")}
    sides[side] = (*sides[side], *planted)
    return Splits(**sides)


def row(text: str, target: Any = "pos", name: str = "planted:0", pair: str | None = None) -> Row:
    return Row(name, text, pair, target)


def warned(found: dict[str, Any], part: str) -> dict[str, Any]:
    """The one finding whose sentence holds `part`."""
    hits = [finding for finding in found["findings"] if part in finding["what"]]
    assert len(hits) == 1, [finding["what"] for finding in found["findings"]]
    return hits[0]


def test_clean_rows_draw_no_warning() -> None:
    found = check(clean(2000), binary())
    assert [f for f in found["findings"] if f["level"] != "info"] == []
    assert found["rows"] == {"train": 1300, "valid": 300, "test": 400}
    assert [(c["label"], c["share"]) for c in found["labels"]] == [("neg", 0.5), ("pos", 0.5)]


def test_is_json_and_prints() -> None:
    found = check(
        with_rows(row(""), row("word1 word2")), binary(), lengths=lambda rows: np.full(len(rows), 9), max_length=8
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = "\n".join(lines(found))
    assert "402 rows" in text
    assert "100.0 % are cut at 8" in text
    assert "planted:0" in text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("12 / 34 !", "no letters"),
        ("good\x00 film", "control characters"),
        ("na\ufffdve", "replacement characters"),
        ("<p>Good<br/>film</p>", "HTML"),
        ("rock &amp; roll", "HTML"),
        ("https://example.org/a?b=c", "nothing but a link"),
        ("long " * 1000, "very long"),
    ],
)
def test_odd_texts_are_found_and_shown(text: str, kind: str) -> None:
    found = check(with_rows(row(text)), binary())
    assert found["odd"][kind]["rows"] == 1
    assert warned(found, kind)["examples"][0]["id"] == "planted:0"


@pytest.mark.parametrize("text", ["a < b and c > d", "I <3 this", "AT&T; or so", "see www.example.org for more"])
def test_plain_texts_are_not_called_odd(text: str) -> None:
    assert check(with_rows(row(text)), binary())["odd"] == {}


def test_equal_rows_inside_and_across() -> None:
    base = clean()
    inside = check(with_rows(row(base.train[0].text.upper(), base.train[0].target)), binary())
    assert inside["duplicates"]["exact"]["inside"] == {"train": 1, "valid": 0, "test": 0}
    assert warned(inside, "equal to another row")["level"] == "info"
    across = check(with_rows(row(base.train[0].text + "!", base.train[0].target), side="test"), binary())
    assert across["duplicates"]["exact"]["across"]["train-test"] == 1
    finding = warned(across, "equal to a train row")
    assert finding["level"] == "error"
    assert {example["split"] for example in finding["examples"][0]} == {"train", "test"}


def test_near_twins_across() -> None:
    base = clean()
    found = check(with_rows(row(base.train[0].text + " more", base.train[0].target), side="test"), binary())
    assert found["duplicates"]["near"]["across"] == {"train-valid": 0, "train-test": 1, "valid-test": 0}
    assert found["duplicates"]["exact"]["across"]["train-test"] == 0
    assert warned(found, "nearly equal to a train row")["examples"]


def test_conflicting_labels() -> None:
    found = check(with_rows(row("the same film again", "pos", "a"), row("The same film, again!", "neg", "b")), binary())
    assert (found["conflicts"]["texts"], found["conflicts"]["rows"], found["conflicts"]["lost"]) == (1, 2, 1)
    assert {e["id"] for e in warned(found, "different targets")["examples"][0]} == {"a", "b"}


def test_a_mirrored_pair_may_have_another_label() -> None:
    pairs = Splits(
        (row("a dog runs", "pos", "a", "an animal moves"), row("an animal moves", "neg", "b", "a dog runs")), (), ()
    )
    assert check(pairs, make("text-classification", ("neg", "pos"), pair=True))["conflicts"]["texts"] == 0


def test_numbers_conflict_when_a_spread_apart() -> None:
    rows = [row(f"text {i}", float(i % 5), str(i)) for i in range(50)]
    near, far = (
        check(Splits((*rows, row("Text 0!", value, "x")), (), ()), make("regression"))["conflicts"]["texts"]
        for value in (0.5, 3.0)
    )
    assert (near, far) == (0, 1)


def test_uneven_labels() -> None:
    rows = [row(f"text number {i} is its own", "rare" if i % 20 == 0 else "common", str(i)) for i in range(600)]
    found = check(split(rows), make("text-classification", ("common", "rare")))
    assert found["balance"]["largest_share"] == pytest.approx(0.95)
    assert "95.0 %" in warned(found, "'common' is")["what"]


def test_labels_that_cannot_be_learned_or_measured() -> None:
    base = clean()
    task = make("text-classification", ("neg", "other", "pos"))
    only_test = check(Splits(base.train, base.valid, (*base.test, row("new", "other"))), task)
    assert warned(only_test, "without a training row")["level"] == "error"
    only_train = check(Splits((*base.train, row("new", "other")), base.valid, base.test), task)
    assert warned(only_train, "without a test row")["level"] == "warn"
    assert "'other'" in warned(only_train, "fewer than 10 training rows")["what"]


def test_labels_that_differ_by_case() -> None:
    found = check(with_rows(*(row(f"new text {i}", "Pos") for i in range(20))), binary())
    assert "'Pos', 'pos'" in warned(found, "differ by case")["what"]


def test_lengths_in_tokens_and_what_is_cut() -> None:
    def lengths(rows: Rows) -> np.ndarray:
        return np.arange(1, len(rows) + 1)

    found = check(clean(), binary(), lengths=lengths, max_length=360)
    expected = {"p50": 201, "p95": 381, "p99": 397, "max": 400, "max_length": 360, "truncated_share": 0.1}
    assert found["lengths"]["tokens"] == expected
    assert "10.0 %" in warned(found, "longer than 360 tokens")["what"]
    assert check(clean(), binary())["lengths"]["tokens"] is None


def test_languages_are_shares() -> None:
    english = [row(f"this is the text with number {i}", "pos", str(i)) for i in range(60)]
    german = [row(f"das ist der Text mit der Nummer {i}", "neg", str(i)) for i in range(40)]
    found = check(Splits((*english, *german), (), ()), binary())
    assert found["languages"] == {"en": 0.6, "de": 0.4}
    assert found["scripts"] == {"Latin": 1.0}
    assert warned(found, "more than one language")["level"] == "warn"


def test_little_data_is_called_little() -> None:
    found = check(split(tiny_rows(100)), binary())
    assert warned(found, "only 65 training rows")["level"] == "warn"
    assert warned(found, "test rows show no drop under")["level"] == "warn"


def test_notes_are_repeated() -> None:
    base = clean()
    found = check(Splits(base.train, base.valid, base.test, ("two rows left",)), binary(), notes=["read as cp1252"])
    assert warned(found, "two rows left")
    assert warned(found, "read as cp1252")


def test_a_power_function_can_be_lent() -> None:
    found = check(clean(), binary(), power=lambda rows: rows / 100)
    assert {side: v["points"] for side, v in found["min_visible_drop"].items()} == {"test": 0.8, "valid": 0.6}


def test_smallest_difference_needs_four_times_the_rows_for_half() -> None:
    assert smallest_difference(4000) / smallest_difference(16_000) == pytest.approx(2, rel=0.02)
    assert smallest_difference(1000, 0.02) < smallest_difference(1000, 0.10)
    assert smallest_difference(5) == pytest.approx(1, abs=0.2)


def test_smallest_difference_is_found_eight_times_in_ten() -> None:
    """By simulation: McNemar's chi-square test on drawn rows, at the difference that the formula gives."""
    rows, disagree = 1000, 0.10
    drop = smallest_difference(rows, disagree)
    rng = np.random.default_rng(0)
    losses, gains, _ = rng.multinomial(rows, [(disagree + drop) / 2, (disagree - drop) / 2, 1 - disagree], 20_000).T
    seen = (losses - gains) ** 2 / (losses + gains) > 1.959964**2
    assert seen.mean() == pytest.approx(0.80, abs=0.02)


def test_regression_reports_targets_not_labels() -> None:
    rows = [row(f"text number {i} of its own kind", float(i % 7), str(i)) for i in range(400)]
    found = check(split(rows), make("regression"))
    assert found["labels"] == []
    assert found["targets"]["train"]["max"] == 6.0
    assert "targets: 0 to 6" in "\n".join(lines(found))


def test_multi_label_counts_labels_not_sets() -> None:
    rows = [row(f"text number {i} of its own kind", (("a",), ("a", "b"), ())[i % 3], str(i)) for i in range(300)]
    found = check(split(rows), make("multi-label-classification", ("a", "b")))
    assert [(c["label"], round(c["share"], 2)) for c in found["labels"]] == [("a", 0.67), ("b", 0.33)]


@pytest.mark.real
def test_mrpc_near_twins_are_seen(shared) -> None:  # type: ignore[no-untyped-def]
    tables = [read(str(shared / f"data/mrpc/{name}.csv"), role=name) for name in ("train", "test")]
    columns = infer(tables[0])
    assert (columns.text, columns.pair, columns.target) == ("sentence1", "sentence2", "label")
    train, test = (rows_of(table, columns) for table in tables)
    found = check(with_test(train, test), make(columns.kind, labels_of([r.target for r in train]), pair=True))
    assert found["rows"]["test"] == 1725
    assert found["duplicates"]["near"]["across"]["train-test"] >= 50
    assert found["duplicates"]["exact"]["across"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}


@pytest.mark.real
def test_bbc_is_read_whole(bbc) -> None:  # type: ignore[no-untyped-def]
    table = read(str(bbc))
    columns = infer(table)
    assert (len(table.rows), columns.kind) == (2225, "text-classification")
    assert table.notes == ("sports/199.txt is not UTF-8 and was read as Windows-1252",)
    assert len(split(rows_of(table, columns)).test) == 445
