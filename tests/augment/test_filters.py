"""What filters take out and what they let through, on pairs written by hand before the filters were."""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import models, tasks
from burnish.augment._change import Change, edits_between, shown
from burnish.augment._edits import Edit, apply
from burnish.augment._filters import Sieve, filters_of
from burnish.augment._kept import names_in, negations_in, numbers_in
from burnish.augment._rows import grown
from burnish.augment._share import shares_by_label, warnings_of
from burnish.core import Row, Span, Work
from burnish.errors import DataError, UsageError

LABELS = ("complaint", "news", "praise", "question")


def pairs() -> list[dict[str, str]]:
    """kind, label, parent, child; kind is good, or what is wrong with the child."""
    with (Path(__file__).parent / "pairs.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def judged(model: object = None, tokenizer: object = None) -> tuple[dict[str, Counter[str]], Sieve]:
    """For each kind how many pairs each filter took out; "" counts those it let through. Also the filters."""
    found = pairs()
    labels = {line["parent"]: line["label"] for line in found}
    rows = {text: Row(f"data:{i}", text, None, label) for i, (text, label) in enumerate(labels.items())}
    work = Work(model, tokenizer, tasks.make("text-classification", LABELS), tuple(rows.values()), ())
    sieve = Sieve(("meaning",), work)
    both = [(rows[line["parent"]], replace(rows[line["parent"]], id="n", text=line["child"])) for line in found]
    reasons = [sieve.cheaply(*pair) for pair in both]
    left = [i for i, reason in enumerate(reasons) if not reason]
    for i, reason in zip(left, sieve.dearly([both[i] for i in left]), strict=True):
        reasons[i] = reason
    counts: dict[str, Counter[str]] = {}
    for line, reason in zip(found, reasons, strict=True):
        counts.setdefault(line["kind"], Counter())[reason] += 1
    return counts, sieve


def caught(counts: dict[str, Counter[str]]) -> dict[str, int]:
    return {kind: found.total() - found[""] for kind, found in counts.items()}


def test_there_are_a_hundred_pairs_of_either_kind() -> None:
    kinds = Counter(line["kind"] for line in pairs())
    assert kinds.pop("good") == 100
    assert kinds.total() == 100
    assert set(kinds) == {"negation", "number", "entity", "sense"}


def test_nine_of_ten_bad_pairs_go_and_nine_of_ten_good_ones_stay(minilm: Path) -> None:
    """MiniLM knows no Chinese: what it cannot read it must let through, and the sense of Chinese rows goes unseen."""
    task = tasks.make("text-classification", LABELS)
    counts, sieve = judged(*models.load(str(minilm), task, seed=0, new_head=True))
    found = caught(counts)
    assert sum(n for kind, n in found.items() if kind != "good") >= 90
    assert found["good"] <= 10
    assert sieve.removed["sense"] >= 10
    assert "cannot read" in sieve.facts()["sense"]["how"]


def test_without_a_model_what_can_be_checked_is_and_the_rest_is_said() -> None:
    counts, sieve = judged()
    found = caught(counts)
    assert min(found["negation"] / 28, found["number"] / 26, found["entity"] / 24) > 0.9
    assert found["sense"] <= 4  # two of them lose a name or a number on the way
    assert found["good"] <= 5
    assert "takes a model" in sieve.facts()["sense"]["how"]
    assert "by spelling" in sieve.facts()["similarity"]["how"]


# -- one filter at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Around 3,200 of them", [3200]),
        ("3.2 thousand", [3200]),
        ("twenty-five and 25th", [25, 25]),
        ("three hundred euros", [300]),
        ("it fell to -5 at 18:45", [-5, 18, 45]),
        ("won 3-1 with l0ve", [1, 3]),
        ("one day at first", []),
        ("三百二十人", [320]),
        ("两年", [2]),
        ("十分好,一起去", []),
        ("等了十分钟", [10]),
        ("２０２４年", [2024]),
    ],
)
def test_numbers_are_read_by_value(text: str, numbers: list[float]) -> None:
    assert sorted(numbers_in(text).elements()) == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It isn't, is it not?", 2),
        ("neither here nor there", 1),
        ("not only good", 0),
        ("Nothing failed", 2),
        ("notable knots", 0),
        ("非常好,不仅便宜", 0),
        ("没有,也不去", 2),
        ("尚未完成", 1),
    ],
)
def test_negations_are_counted(text: str, count: int) -> None:
    assert negations_in(text) == count


def test_names_are_found_where_no_sentence_begins() -> None:
    assert names_in("We met Anna at Toy Story. The film won.") == {"anna", "toy", "story"}
    assert names_in("NASA and iPhone; I'm in “the loop”") == {"nasa", "iphone", "the loop"}
    assert names_in("Five Ways To Cook Rice At Home") == frozenset()  # a headline
    assert names_in("Der Hund jagt die Katze und das ist nicht gut") == frozenset()


def why(name: str, old: str, new: str, **rows: object) -> str:
    parent = Row("data:0", old, None, "a")
    work = Work(None, None, SimpleNamespace(), (parent,), ())  # type: ignore[arg-type]
    return Sieve((name,), work).cheaply(parent, replace(parent, id="n", text=new, **rows))


@pytest.mark.parametrize(
    ("name", "old", "new", "taken"),
    [
        ("length", "a good film about boats", "film", True),
        ("length:low=0.1", "a good film about boats", "film", False),
        ("changed", "a good film about boats", "nobody ever swims there alone", True),
        ("changed:high=1", "a good film about boats", "nobody ever swims there alone", False),
        ("changed:low=0.1", "a good film", "film a good", True),
        ("script", "房间很干净", "the room is clean", True),
        ("script", "房间很干净", "房间非常干净", False),
        ("script", "the room is clean and it was cheap", "die zimmer sind sauber und nicht teuer", True),
        ("script", "the room is clean and it was cheap", "room clean cheap bed towel view", False),
        ("negations", "an impossible task", "a possible task", True),
        ("negations", "a useful tool", "a useless tool", True),
        ("negations", "under the bridge", "der bridge", False),
        ("entities", "we met Anna in Rome", "in Rome we met Anna", False),
        ("entities", "we met Anna in Rome", "we met Anna in Bonn", True),
    ],
)
def test_each_filter_alone(name: str, old: str, new: str, taken: bool) -> None:
    assert bool(why(name, old, new)) == taken


def test_what_is_in_labelled_spans_is_left_to_the_technique() -> None:
    old = Row("data:0", "paid 20 euros in Rome", None, (Span(5, 13, "SUM"), Span(17, 21, "LOC")))
    new = replace(old, id="n", text="paid 35 euros in Bonn")
    work = Work(None, None, SimpleNamespace(), (old,), ())  # type: ignore[arg-type]
    sieve = Sieve(("numbers", "entities"), work)
    assert sieve.cheaply(old, new) == ""
    assert sieve.cheaply(old, replace(new, target=(Span(5, 13, "SUM"),)))
    assert sieve.removed == {"entities": 1}


@pytest.mark.parametrize("asked", ["lenght", "numbers:tau=1", "label:taw=0.6", "length:low=2", "label:tau=high"])
def test_a_slip_in_the_setting_is_refused(asked: str) -> None:
    with pytest.raises(UsageError):
        filters_of([asked])


def test_the_order_is_by_cost_whatever_was_asked_first() -> None:
    kinds = [type(one).__name__ for one in filters_of(["label:tau=0.6", "numbers", "length"])]
    assert kinds == ["Length", "Numbers", "Label"]


# -- nearly the same -----------------------------------------------------------------------------------

LONG = " ".join(f"w{i}" for i in range(40))


def test_a_row_held_out_is_not_made_again_even_nearly() -> None:
    parent, held = Row("data:0", "something else entirely", None, "a"), Row("valid:0", LONG, None, "a")
    work = Work(None, None, SimpleNamespace(), (parent,), (held,))  # type: ignore[arg-type]
    sieve = Sieve(("near",), work)
    assert sieve.cheaply(parent, replace(parent, id="n", text=f"{LONG.upper()} w40")) == "nearly a row held out"
    assert sieve.cheaply(parent, replace(parent, id="n", text=" ".join(reversed(LONG.split())))) == ""


def test_one_familys_rows_may_be_alike_others_not() -> None:
    rows = (Row("data:0", LONG, None, "a"), Row("data:1", "something else", None, "a"))
    sieve = Sieve(("near",), Work(None, None, SimpleNamespace(), rows, ()))  # type: ignore[arg-type]
    child = replace(rows[0], id="n", text=f"{LONG} more", parent="data:0")
    assert sieve.cheaply(rows[0], child) == ""
    assert sieve.cheaply(rows[1], replace(child, parent="data:1")) == "nearly another row"
    sieve.admitted(replace(rows[1], id="m", text=f"x {LONG[:-4]} y z q", parent="data:1"))
    assert sieve.cheaply(rows[0], replace(child, text=f"x {LONG[:-4]} y z q")) == "nearly another row"


@given(st.lists(st.sampled_from("abcd"), min_size=3, max_size=12), st.lists(st.sampled_from("abcd"), min_size=3))
def test_no_near_pair_is_missed(a: list[str], b: list[str]) -> None:
    """Against the definition: Jaccard over runs of three words."""
    runs = [{" ".join(t[i : i + 3]) for i in range(len(t) - 2)} for t in (a, b)]
    near = len(runs[0] & runs[1]) >= 0.6 * len(runs[0] | runs[1])
    rows = (Row("data:0", " ".join(a), None, "x"), Row("data:1", "z", None, "x"))
    sieve = Sieve(("near:threshold=0.6",), Work(None, None, SimpleNamespace(), rows, ()))  # type: ignore[arg-type]
    assert bool(sieve.cheaply(rows[1], Row("n", " ".join(b), None, "x", parent="data:1"))) == near


# -- classifiers and encoders --------------------------------------------------------------------------

COLOURS = [
    Row(f"data:{i}", f"{word} thing number {i} {'x' * (i % 7)}", None, ("warm", "cold")[i % 2])
    for i in range(60)
    for word in [("red", "blue")[i % 2]]
]


def test_the_classifier_never_saw_the_original() -> None:
    """One row has a wrong label; a model that learned it by heart would pass its child."""
    odd = Row("data:99", "red and red and red", None, "cold")
    work = Work(None, None, tasks.make("text-classification", ("cold", "warm")), (*COLOURS, odd), ())
    sieve = Sieve(("label:tau=0.6",), work)
    asked = [(COLOURS[0], "a red thing"), (COLOURS[0], "a blue thing"), (odd, "red and red, and red")]
    reasons = sieve.dearly([(row, replace(row, id="n", text=text, parent=row.id)) for row, text in asked])
    assert reasons == ["", "another label", "another label"]


def test_the_label_filter_refuses_what_it_cannot_judge() -> None:
    spans = tuple(replace(row, target=(Span(0, 3, "X"),)) for row in COLOURS)
    with pytest.raises(UsageError, match="spans"):
        Sieve(("label",), Work(None, None, SimpleNamespace(), spans, ()))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="original rows"):
        Sieve(("label",), Work(None, None, SimpleNamespace(), tuple(COLOURS[:4]), ()))  # type: ignore[arg-type]


def test_numbers_may_be_off_as_far_as_the_originals_are() -> None:
    rows = tuple(Row(f"data:{i}", f"{'good ' * (i % 10)}film {i}", None, float(i % 10)) for i in range(80))
    sieve = Sieve(("label",), Work(None, None, tasks.make("regression"), rows, ()))
    texts = ("good " * 9 + "movie", "film film")
    same, other = (replace(rows[9], id="n", text=text, parent="data:9") for text in texts)
    assert sieve.dearly([(rows[9], same), (rows[9], other)]) == ["", "another label"]


def test_the_floor_of_similarity_is_that_of_one_label() -> None:
    """By spelling: rows about something else altogether share no letters."""
    work = Work(None, None, SimpleNamespace(), tuple(COLOURS), ())  # type: ignore[arg-type]
    sieve = Sieve(("similarity",), work)
    row = COLOURS[0]
    texts = ["red thing number 1", "zzz qqq jjj", row.text]
    reasons = sieve.dearly([(row, replace(row, id="n", text=text)) for text in texts])
    assert reasons == ["", "about something else", "the same again"]


# -- at work -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    ratio: float = 1.0
    weight: float = 1.0
    smoothing: float = 0.0
    filters: tuple[str, ...] = ("numbers",)


class Numbering:
    """In half of the tries it puts another number in, in the other half a word."""

    def edits(self, row: Row, rng: Random) -> list[Edit]:
        return [Edit(0, 0, f"{rng.randint(2, 999)} " if rng.random() < 0.5 else f"{chr(97 + rng.randrange(26))}x ")]


def test_what_is_filtered_out_is_tried_again_until_the_ratio_is_met() -> None:
    rows = tuple(Row(f"data:{i}", f"film about topic q{chr(97 + i)}", None, "ab"[i % 2]) for i in range(20))
    work = Work(None, None, SimpleNamespace(), rows, ())  # type: ignore[arg-type]
    made = grown(work, Wish(), Numbering(), "augment/n", Random(0))
    assert made.notes["new"] == made.notes["asked"] == 20
    removed = made.notes["filtered"]["numbers"]
    assert removed["removed"] > 5
    assert all("{+" in change and reason == "a number changed" for change, reason in removed["samples"])
    again = grown(replace(work, train=rows[::-1]), Wish(), Numbering(), "augment/n", Random(0), workers=2)
    assert set(again.train) == set(made.train)


def test_what_many_at_once_refuse_is_tried_again_too() -> None:
    work = Work(None, None, tasks.make("text-classification", ("cold", "warm")), tuple(COLOURS), ())

    class Painting:
        def edits(self, row: Row, rng: Random) -> list[Edit]:
            word = row.text.split()[0]
            return [Edit(0, len(word), rng.choice(["red", "blue"])), Edit(len(word), len(word), f" {rng.random()}")]

    made = grown(work, Wish(0.5, filters=("label",)), Painting(), "augment/p", Random(0))
    assert made.notes["new"] == 30
    assert made.notes["filtered"]["label"]["removed"] > 5
    assert all(row.text.startswith("red" if row.target == "warm" else "blue") for row in made.train[60:])


def test_a_shortfall_is_counted_by_what_filters_say() -> None:
    class Always:
        def edits(self, row: Row, rng: Random) -> list[Edit]:
            return [Edit(0, 0, f"{rng.randint(2, 10**6)} ")] if row.id != "data:0" else [Edit(0, 0, "a ")]

    rows = tuple(Row(f"data:{i}", f"film about topic q{chr(97 + i)}", None, "a") for i in range(4))
    made = grown(Work(None, None, SimpleNamespace(), rows, ()), Wish(), Always(), "augment/n", Random(0))  # type: ignore[arg-type]
    assert made.notes["new"] == 1
    assert made.notes["short"]["a number changed"] == 15
    with pytest.raises(DataError, match="a number changed"):
        grown(Work(None, None, SimpleNamespace(), rows[1:], ()), Wish(), Always(), "augment/n", Random(0))  # type: ignore[arg-type]


def test_a_technique_that_was_here_before_gives_rows_of_other_names() -> None:
    rows = tuple(Row(f"data:{i}", f"film about topic q{chr(97 + i)}", None, "a") for i in range(8))
    work = Work(None, None, SimpleNamespace(), rows, ())  # type: ignore[arg-type]
    once = grown(work, Wish(), Numbering(), "augment/n", Random(0))
    twice = grown(once, Wish(), Numbering(), "augment/n", Random(1))
    assert len({row.id for row in twice.train}) == len(twice.train) == 24


# -- how much is made ----------------------------------------------------------------------------------


def made_of(row: Row, count: int) -> list[Row]:
    return [replace(row, id=f"{row.id}+{i}", parent=row.id) for i in range(count)]


def test_the_warning_comes_above_half_and_not_at_it() -> None:
    a, b = Row("data:0", "x", None, "a"), Row("data:1", "y", None, "b")
    assert warnings_of([a, b, *made_of(a, 1), *made_of(b, 1)]) == []
    (one,) = warnings_of([a, b, *made_of(a, 2)])
    assert "'a' 67%" in one
    whole = warnings_of([a, b, *made_of(a, 2), *made_of(b, 1)])
    assert "60.0%" in whole[0]
    assert "'a' 67%" in whole[1]
    assert "'b'" not in whole[1]


def test_shares_of_labels_for_every_kind_of_target() -> None:
    many, spans, number = (Row("data:0", "x", None, t) for t in (("a", "b"), (Span(0, 1, "P"),), 0.5))
    assert shares_by_label([many, *made_of(many, 1)]) == {"a": 0.5, "b": 0.5}
    assert shares_by_label([spans, *made_of(spans, 3)]) == {"P": 0.75}
    assert shares_by_label([number, *made_of(number, 3)]) == {}


# -- what changed --------------------------------------------------------------------------------------


@given(st.text(alphabet="ab cé去了。 _'’\n", max_size=30), st.text(alphabet="ab cé去了。 _'’\n", max_size=30))
def test_edits_between_two_texts_make_one_of_the_other(old: str, new: str) -> None:
    assert apply(old, edits_between(old, new)) == new


def test_a_pairs_change_is_the_side_that_changed() -> None:
    row = Row("data:0", "left", "right", "a")
    assert Change.of(row, replace(row, pair="rite")).new == "rite"
    assert shown(row, replace(row, pair="rite")) == "left / [-right-]{+rite+}"
