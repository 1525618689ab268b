"""Looking at texts: normal form, script, language, and near-duplicates against counting every pair."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data.text import language_of, near_duplicates, normalise, script_of


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once or not any(map(str.isalnum, text))


@pytest.mark.parametrize(
    ("text", "script", "language"),
    [
        ("The battery died after two days", "Latin", "en"),
        ("Das ist nicht gut für mich", "Latin", "de"),
        ("C'est un très bon film, je l'ai vu avec elle", "Latin", "fr"),
        ("La película no es mala, pero los actores sí", "Latin", "es"),
        ("Het is niet te geloven dat hij dit heeft gedaan", "Latin", "nl"),
        ("Не понравилось совсем, очень жаль", "Cyrillic", "ru"),
        ("Дуже гарний фільм, мені сподобався її голос", "Cyrillic", "uk"),
        ("这本书真的很好看", "Han", "zh"),
        ("この本はとても面白い", "Japanese", "ja"),
        ("정말 재미있어요", "Hangul", "ko"),
        ("هذا الفيلم رائع", "Arabic", "ar"),
        ("यह फ़िल्म अच्छी है", "Devanagari", "hi"),
        ("zxcv qwrt", "Latin", "unknown"),
        ("12:30 !!", "none", "unknown"),
    ],
)
def test_scripts_and_languages(text: str, script: str, language: str) -> None:
    assert (script_of(text), language_of(text)) == (script, language)


def words(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(3000)}" for _ in range(n)]


def shingles(text: str) -> set[tuple[str, ...]]:
    tokens = text.split()
    return set(zip(tokens, tokens[1:], tokens[2:], strict=False))


def test_finds_what_counting_every_pair_finds() -> None:
    rng = random.Random(3)
    texts = []
    for _ in range(60):
        base = words(rng, 40)
        texts.append(" ".join(base))
        for _ in range(rng.randrange(3)):
            edited = list(base)
            edited[rng.randrange(40)] = "other"
            texts.append(" ".join(edited))
    exact = {}
    for (i, a), (j, b) in itertools.combinations(enumerate(map(shingles, texts)), 2):
        if len(a & b) / len(a | b) >= 0.8:
            exact[i, j] = len(a & b) / len(a | b)
    found = {(i, j): similarity for i, j, similarity in near_duplicates(texts, 0.8)}
    assert len(exact) > 30
    assert found == pytest.approx(exact)


def test_characters_stand_for_words_in_chinese() -> None:
    a = "房间很大很干净，服务员的态度也非常好，下次来北京还会住在这里"
    assert [(i, j) for i, j, _ in near_duplicates([a, a[:-1], "完全不同的一句话，说的是别的事情"])] == [(0, 1)]


def test_empty_and_short_texts_are_no_trouble() -> None:
    assert near_duplicates([]) == []
    assert near_duplicates(["", "", "."]) == []
    assert [(i, j) for i, j, _ in near_duplicates(["yes", "Yes!", "no", "yes no"])] == [(0, 1)]


def test_boilerplate_does_not_cost_a_square() -> None:
    start = time.perf_counter()
    found = near_duplicates(["the very same letter went out to all of our customers"] * 5000)
    assert time.perf_counter() - start < 10  # all 12 million pairs would take minutes
    assert len(found) >= 4999  # but each text is still found with a neighbour
