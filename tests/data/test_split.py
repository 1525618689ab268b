"""Splitting, by property: nothing is lost, no text on two sides, shares kept, order of the file irrelevant."""

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core import Row
from burnish.data.infer import Columns
from burnish.data.kind import CLASSIFY, MULTI_LABEL, REGRESS
from burnish.data.read import read
from burnish.data.rows import rows_of
from burnish.data.split import Splits, content_hash, group_key, split, with_test
from burnish.data.table import Table
from burnish.errors import DataError, UsageError

SIDES = ("train", "valid", "test")
WORDS = st.sampled_from(["good", "bad", "film", "Film", "the", "THE!", "battery", "screen", "a b", "…"])
LABELS = st.sampled_from(["pos", "neg", "neutral"])
TARGETS = {
    "labels": LABELS,
    "numbers": st.floats(-4, 4),
    "label sets": st.lists(LABELS, unique=True).map(lambda labels: tuple(sorted(labels))),
}


def rows_from(drawn: list[tuple[str, str | None, object]]) -> list[Row]:
    return [Row(f"data:{i}", text, pair, target) for i, (text, pair, target) in enumerate(drawn)]  # type: ignore[arg-type]


def rows_strategy(kind: str, pair: bool = False) -> st.SearchStrategy[list[Row]]:
    """60 to 120 rows, of which many share a text, plus 40 with a text of their own so that no side is empty."""
    texts = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
    drawn = st.tuples(texts, texts if pair else st.none(), TARGETS[kind])
    own = st.lists(TARGETS[kind], min_size=40, max_size=40)
    both = st.tuples(st.lists(drawn, min_size=20, max_size=80), own)
    return both.map(
        lambda two: rows_from([*two[0], *((f"own {i}", "x" if pair else None, t) for i, t in enumerate(two[1]))])
    )


def contents(rows: tuple[Row, ...]) -> list[tuple[object, ...]]:
    return [(row.text, row.pair, row.target) for row in rows]


ANY_ROWS = st.one_of(
    rows_strategy("labels"), rows_strategy("labels", pair=True), rows_strategy("numbers"), rows_strategy("label sets")
)


@settings(max_examples=40, deadline=None)
@given(ANY_ROWS, st.integers(0, 3))
def test_every_row_is_on_exactly_one_side(rows: list[Row], seed: int) -> None:
    found = split(rows, seed=seed)
    assert sorted(row.id for side in SIDES for row in getattr(found, side)) == sorted(row.id for row in rows)


@settings(max_examples=40, deadline=None)
@given(ANY_ROWS, st.integers(0, 3))
def test_no_text_is_on_two_sides(rows: list[Row], seed: int) -> None:
    found = split(rows, seed=seed)
    keys = [{group_key(row) for row in getattr(found, side)} for side in SIDES]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]


@settings(max_examples=40, deadline=None)
@given(ANY_ROWS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_order_of_the_file_does_not_matter(rows: list[Row], seed: int, rng: random.Random) -> None:
    found = split(rows, seed=seed)
    again = split(rng.sample(rows, len(rows)), seed=seed)
    for side in SIDES:
        assert contents(getattr(found, side)) == contents(getattr(again, side))
    assert content_hash(rows) == content_hash(rng.sample(rows, len(rows)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(30, 200), min_size=2, max_size=4), st.integers(0, 3))
def test_labels_keep_their_shares(sizes: list[int], seed: int) -> None:
    rows = rows_from([(f"text {label} {i}", None, f"label {label}") for label, n in enumerate(sizes) for i in range(n)])
    found = split(rows, valid=0.15, test=0.2, seed=seed)
    assert len(found.test) == round(0.2 * len(rows))
    for side, share in (("test", 0.2), ("valid", 0.15)):
        counts = Counter(row.target for row in getattr(found, side))
        for label, n in enumerate(sizes):
            assert abs(counts[f"label {label}"] - share * n) <= 1.5, (side, label, n, counts)


@settings(max_examples=20, deadline=None)
@given(rows_strategy("labels"))
def test_every_label_can_be_learned(rows: list[Row]) -> None:
    single = [row for row in rows if row.text.startswith("own")]
    found = split(single)
    assert {row.target for row in found.train} == {row.target for row in single}


@pytest.mark.parametrize("seed", range(5))
def test_rare_labels_can_be_learned_too(seed: int) -> None:
    sizes = {"one": 1, "two": 2, "three": 3, "many": 60}
    rows = rows_from([(f"{label} {i}", None, label) for label, n in sizes.items() for i in range(n)])
    found = split(rows, valid=0.4, test=0.4, seed=seed)
    assert {row.target for row in found.train} == set(sizes)


def test_numbers_are_spread_over_all_sides() -> None:
    rows = rows_from([(f"text {i}", None, float(i)) for i in range(400)])
    found = split(rows)
    for side in SIDES:
        values = [float(row.target) for row in getattr(found, side)]  # type: ignore[arg-type]
        assert abs(sum(values) / len(values) - 199.5) < 12  # chance alone would give a spread of about 14


def test_rare_labels_of_label_sets_reach_every_side() -> None:
    rows = rows_from([(f"text {i}", None, ("common", "rare") if i % 10 == 0 else ("common",)) for i in range(200)])
    found = split(rows, valid=0.2, test=0.2)
    assert [sum("rare" in row.target for row in getattr(found, side)) for side in SIDES] == [12, 4, 4]  # type: ignore[operator]


def test_seeds_differ_and_the_same_seed_agrees() -> None:
    rows = rows_from([(f"text {i}", None, str(i % 2)) for i in range(100)])
    assert split(rows, seed=0) == split(rows, seed=0)
    assert set(split(rows, seed=0).test) != set(split(rows, seed=1).test)


def test_added_rows_hardly_move_the_others() -> None:
    rows = rows_from([(f"text {i}", None, str(i % 2)) for i in range(1000)])
    before, after = (set(contents(split(some, seed=0).test)) for some in (rows[:950], rows))
    assert len(before & after) > 0.9 * len(before)


def test_shares_are_capped_on_large_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.data.split.TEST_CAP", 100)
    monkeypatch.setattr("burnish.data.split.VALID_CAP", 20)
    rows = rows_from([(f"text {i}", None, str(i % 2)) for i in range(600)])
    found = split(rows)
    assert [len(getattr(found, side)) for side in SIDES] == [480, 20, 100]


def test_impossible_shares_are_refused() -> None:
    rows = rows_from([(f"text {i}", None, str(i % 2)) for i in range(20)])
    for valid, test in ((0.5, 0.5), (-0.1, 0.2)):
        with pytest.raises(UsageError, match="less than 1"):
            split(rows, valid=valid, test=test)


def test_rows_that_all_say_the_same_are_refused() -> None:
    with pytest.raises(DataError, match="none for"):
        split(rows_from([("the same", None, str(i % 2)) for i in range(100)]))


@pytest.mark.parametrize(
    ("a", "b"),
    [("It's  GREAT!", "it s great"), ("ＡＢＣ", "abc"), ("a\u00a0b", "a b"), ("Straße", "strasse"), ("«à»", "À")],
)
def test_texts_equal_after_normalising_share_a_group(a: str, b: str) -> None:
    assert group_key(Row("x", a)) == group_key(Row("x", b))


@pytest.mark.parametrize(("a", "b"), [("good", "goods"), ("कि", "की"), (":)", ":("), ("", "."), ("3 stars", "4 stars")])
def test_texts_that_differ_do_not(a: str, b: str) -> None:
    assert group_key(Row("x", a)) != group_key(Row("x", b))


def test_a_pair_and_its_mirror_share_a_group() -> None:
    assert group_key(Row("x", "a", "b")) == group_key(Row("x", "B!", "A"))
    assert group_key(Row("x", "a b", "c")) != group_key(Row("x", "a", "b c"))


# Test files


def plain(n: int, role: str = "data") -> list[Row]:
    return [Row(f"{role}:{i}", f"{role} text {i}", None, ("neg", "pos")[i % 2]) for i in range(n)]


def test_test_rows_stay_and_their_twins_leave_train() -> None:
    train, test = plain(100), plain(20, "test")
    leaking = [Row("data:100", "TEST text 3!", None, "pos"), Row("data:101", "test text 4", None, "neg")]
    found = with_test([*train, *leaking], test)
    assert list(found.test) == test
    assert len(found.train) + len(found.valid) == 100
    assert "2 training rows" in found.notes[0]
    assert with_test(train, test).notes == ()


def test_labels_that_only_the_test_has_are_named() -> None:
    with pytest.raises(DataError, match="'positive'") as error:
        with_test(plain(100), [Row("test:0", "new", None, "positive")])
    assert "did you mean 'pos'?" in str(error.value)
    assert error.value.exit_code == 5


def test_a_test_file_that_is_the_training_file_is_refused() -> None:
    with pytest.raises(DataError, match="all 50 training rows"):
        with_test(plain(50), plain(50))


# Tables to rows


def table(rows: list[dict[str, object]], lines: Callable[[int], int] | None = None) -> Table:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(columns, rows, "reviews.csv", "", [lines(i) for i in range(len(rows))] if lines else ())


def test_rows_keep_their_place_and_empty_texts_stay() -> None:
    data = table([{"text": "a", "label": 1}, {"text": None, "label": 0.0}, {"text": "  ", "label": " 1 "}])
    rows = rows_of(data, Columns("text", None, "label", CLASSIFY), "test")
    assert [(row.id, row.text, row.target) for row in rows] == [
        ("test:0", "a", "1"),
        ("test:1", "", "0"),
        ("test:2", "", "1"),
    ]


def test_missing_targets_name_their_lines() -> None:
    data = table([{"text": "a", "label": ""}] * 7 + [{"text": "a", "label": "x"}], lines=lambda i: 2 + 3 * i)
    with pytest.raises(DataError, match=r"line 2, line 5, line 8, line 11, line 14 and 2 more"):
        rows_of(data, Columns("text", None, "label", CLASSIFY))


def test_a_test_file_without_the_column_says_so() -> None:
    with pytest.raises(DataError, match="no column 'label'") as error:
        rows_of(table([{"text": "a", "Label": "x"}]), Columns("text", None, "label", CLASSIFY), "test")
    assert "rename 'Label' to 'label'" in str(error.value)


def test_half_a_character_is_refused_where_it_stands() -> None:
    data = table([{"text": "fine \U0001f600", "label": "x"}, {"text": "cut \ud83d", "label": "x"}])
    with pytest.raises(DataError, match="row 2: half of a character"):
        rows_of(data, Columns("text", None, "label", CLASSIFY))


def test_targets_are_parsed_by_kind() -> None:
    pairs = table([{"a": "x", "b": "y", "t": "1.5"}])
    assert rows_of(pairs, Columns("a", "b", "t", REGRESS)) == [Row("data:0", "x", "y", 1.5)]
    joined = table([{"a": "x", "t": "b | a|b"}])
    assert rows_of(joined, Columns("a", None, "t", MULTI_LABEL, separator="|"))[0].target == ("a", "b")
    listed = table([{"a": "x", "t": ["b", "a"]}, {"a": "y", "t": []}])
    assert [row.target for row in rows_of(listed, Columns("a", None, "t", MULTI_LABEL))] == [("a", "b"), ()]
    with pytest.raises(DataError, match="row 1: 'much'"):
        rows_of(table([{"a": "x", "t": "much"}]), Columns("a", None, "t", REGRESS))


@pytest.mark.real
def test_trec_questions_of_the_test_leave_train(shared) -> None:  # type: ignore[no-untyped-def]
    columns = Columns("text", None, "label", CLASSIFY)
    train, test = (rows_of(read(str(shared / f"data/trec/{name}.csv")), columns, name) for name in ("train", "test"))
    found: Splits = with_test(train, test)
    assert len(found.test) == 500
    assert "11 training rows" in found.notes[0]
    assert not {group_key(row) for row in found.test} & {group_key(row) for row in (*found.train, *found.valid)}
