"""The contract: what a step's key depends on."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from burnish.core import Work, reads_of, run, step_key


@dataclass(frozen=True)
class Reader:
    own: str
    more: tuple[str, ...] = ()

    def __call__(self, work: Work, rng: Random) -> Work:
        return work


class NoCache:
    def take(self, key: str, like: Work) -> None:
        return None

    def keep(self, key: str, work: Work, record: Any) -> None:
        pass

    def folder(self, key: str) -> None:
        return None


def key_of(step: Reader) -> str:
    work = Work(None, None, None, (), ())  # type: ignore[arg-type]
    return next(run([step], work, {}, NoCache(), parent="p"))[1].key


def test_another_word_list_is_another_step(tmp_path: Path) -> None:
    words = tmp_path / "words.csv"
    words.write_text("big, large")
    first = key_of(Reader(str(words)))
    assert key_of(Reader(str(words))) == first
    words.write_text("big, huge")
    assert key_of(Reader(str(words))) != first


def test_a_folder_counts_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("1")
    first = key_of(Reader("x", (f"{tmp_path}/",)))
    (tmp_path / "deep" / "a.txt").write_text("2")
    assert key_of(Reader("x", (f"{tmp_path}/",))) != first


def test_words_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "auto").write_text("a file that is called as a setting is")
    monkeypatch.chdir(tmp_path)
    assert reads_of({"lr": "auto", "by": "augment/aeda", "n": 3, "deep": {"x": ["auto", None]}}) == {}
    assert step_key("", "a", {}, 0, {}) == step_key("", "a", {}, 0)
