"""Texts to words: where they stand, which may change, how many, and in what case."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.augment._own import own
from burnish.augment._words import chinese, free, how_many, kept, like, words
from burnish.core import Row, Span
from burnish.errors import DataError

MIXED = st.text(alphabet="aB é9'’-_ .,\n不去北京𠀀😀שλनि๋ा!", max_size=40)


def cut(text: str, whole: bool = False) -> list[str]:
    return [word.text for word in words(text, whole=whole)]


@settings(deadline=None)  # the first one loads jieba
@given(MIXED, st.booleans())
def test_words_stand_where_they_say_in_order(text: str, whole: bool) -> None:
    pytest.importorskip("jieba")
    end = 0
    for word in words(text, whole=whole):
        assert end <= word.start < word.end
        assert text[word.start : word.end] == word.text
        assert word.text[0].isalnum()
        end = word.end
    outside = [c for i, c in enumerate(text) if not any(w.start <= i < w.end for w in words(text, whole=whole))]
    assert not any(c.isalnum() for c in outside)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I don't like well-known cafés.", ["I", "don't", "like", "well-known", "cafés"]),
        ("rock 'n' roll -- 3.5 e-mails_x", ["rock", "n", "roll", "3", "5", "e-mails_x"]),
        ("我的iPhone很好", ["我", "的", "iPhone", "很", "好"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("?!... 😀 -- ''", []),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert cut(text) == found


def test_chinese_words() -> None:
    pytest.importorskip("jieba")
    assert cut("我们在北京看电影。", whole=True) == ["我们", "在", "北京", "看", "电影"]
    # In an English text Chinese characters stand alone: jieba is not asked.
    assert cut("the film 电影 was good for us", whole=True)[2:4] == ["电", "影"]
    assert chinese("我的iPhone")
    assert not chinese("I love 北京")


def test_only_what_is_clear_of_protection_is_free() -> None:
    row = Row("r", "Bob did not pay $3 to Acme Corp today", target=(Span(0, 3, "PER"),))
    assert [w.text for w in free(row, words(row.text), ("Acme Corp",))] == ["did", "pay", "to", "today"]


@given(st.floats(0.01, 0.99), st.integers(1, 30))
def test_a_share_is_rounded_to_one_of_its_neighbours(share: float, total: int) -> None:
    assert int(share * total) <= how_many(share, total, Random(0)) <= int(share * total) + 1


def test_a_share_is_met_over_many_texts() -> None:
    rng = Random(0)
    for total in (1, 3, 7, 14):
        found = [how_many(0.1, total, rng) for _ in range(40_000)]
        assert sum(found) / (40_000 * total) == pytest.approx(0.1, rel=0.06)
        assert set(found) <= {int(0.1 * total), int(0.1 * total) + 1}


@pytest.mark.parametrize(
    ("word", "model", "found"),
    [("movie", "FILM", "MOVIE"), ("movie", "Film", "Movie"), ("movie", "film", "movie"), ("i", "A", "I"),
     ("电影", "片子", "电影"), ("movie", "3D", "movie")],
)  # fmt: skip
def test_the_case_is_carried_over(word: str, model: str, found: str) -> None:
    assert like(word, model) == found


def test_words_to_keep_come_from_a_file_too(tmp_path) -> None:
    path = tmp_path / "keep.txt"
    path.write_text("Acme\n\n北京\n", "utf-8")
    assert kept(("Bob", str(path))) == ("Bob", "Acme", "北京")
    with pytest.raises(DataError, match="no file"):
        kept((str(tmp_path / "none.txt"),))


def test_the_users_list(tmp_path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("# mine\nphone, mobile\nNew York, NYC\n手机，电话, 移动电话\nalone\n", "utf-8")
    mine = own(str(path))
    row = Row("r", "My Phone in new york is no headphone; 我的移动电话", target=None)
    places = mine.places(row)
    assert [w.text for w in places] == ["Phone", "new york", "移动电话"]
    assert mine.other("Phone", Random(0)) == "Mobile"
    assert mine.other("new york", Random(0)) == "NYC"
    assert mine.other("移动电话", Random(0)) in ("手机", "电话")
    assert [w.text for w in mine.places(row, ("New York",))] == ["Phone", "移动电话"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "alone\nsame, SAME\n"])
def test_a_list_without_groups_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "own.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match="no group of two words"):
        own(str(path))
    with pytest.raises(DataError, match="no file"):
        own(str(tmp_path / "none"))
