"""Texts in windows: each word is read where most of the text is round it, and nothing else depends on the cut."""

import itertools
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish import heads, models
from burnish.core import FILL, Row, Span
from burnish.errors import DataError, UsageError
from burnish.tasks.tags import rules
from burnish.tasks.windows import cut
from burnish.train.batches import encode_windows
from burnish.train.evaluate import model_outputs, outputs_of_rows
from burnish.train.objective import loss_rows
from burnish.train.prepare import encode_work
from burnish.tune.crf import Crf, log_partition, of_words, path_score
from burnish.tune.finetune import FineTune
from burnish.units import IGNORE
from tests.families import KINDS
from tests.tiny import tiny_tokenizer
from tests.tiny_words import answers_work, words_work

TOKENIZER = tiny_tokenizer()
WORDS = st.lists(st.sampled_from(["film", "xylophone9", "a", "去", "it's", "good!", "Zebra"]), max_size=40)


@given(WORDS, st.integers(4, 30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_word_is_placed_on_its_own_tokens(parts: list[str], length: int, asked: bool) -> None:
    text = " ".join(parts)
    found = TOKENIZER("the phone", text) if asked else TOKENIZER(text)
    encoding = found.encodings[0]
    if asked and length < 6:
        return
    windows, layout = cut(text, encoding, length, which=int(asked))
    assert all(len(window.ids) <= length for window in windows)
    body = [i for i, s in enumerate(encoding.sequence_ids) if s == int(asked)]
    for first, last in ((layout.first_W, "first"), (layout.last_W, "last")):
        for w, (window, token) in enumerate(zip(*layout.placed(first), strict=True)):
            if token < 0:
                continue
            whole = body[first[w]]
            assert windows[window].ids[token] == encoding.ids[whole], last
            start, end = encoding.offsets[whole]
            assert start < layout.units[w][1]
            assert layout.units[w][0] < end
    if sum(len(window.ids) for window in windows) <= length:
        assert windows[0].ids == encoding.ids


def test_a_word_in_two_windows_is_read_where_more_is_round_it() -> None:
    text = " ".join(["film"] * 30)
    encoding = TOKENIZER(text).encodings[0]
    windows, layout = cut(text, encoding, 12)
    window_W, token_W = layout.placed(layout.first_W)
    assert len(windows) > 2
    assert (np.diff(window_W) >= 0).all()
    inner = (window_W > 0) & (window_W < len(windows) - 1)
    assert token_W[inner].min() >= 2
    assert token_W[inner].max() <= 9  # of 1..10: one token of room at least on each side


def test_no_room_says_so() -> None:
    encoding = TOKENIZER("the film was good and the story too", "film").encodings[0]
    with pytest.raises(DataError, match="room"):
        cut("film", encoding, 10, which=1)


@pytest.mark.parametrize("make", [words_work, answers_work])
def test_short_windows_give_every_word_one_line_of_outputs(make) -> None:
    work = make(8, 8)
    whole = outputs_of_rows(work.model, work.tokenizer, work.valid, 64, task=work.task)
    parts = outputs_of_rows(work.model, work.tokenizer, work.valid, 16, task=work.task)
    assert whole.shape == parts.shape
    np.testing.assert_array_equal(whole == FILL, parts == FILL)
    assert np.isfinite(parts).all()


@pytest.mark.parametrize("make", [words_work, answers_work])
@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "modernbert"])
def test_company_and_padding_change_nothing(make, kind: str) -> None:
    work = make(8, 12, kind=kind)
    encoded, _ = encode_windows(work.tokenizer, work.valid, 40, work.task.reads)
    together = model_outputs(work.model, encoded, 0)
    alone = [model_outputs(work.model, [row], 0)[0] for row in encoded]
    for own, lone, row in zip(together, alone, encoded, strict=True):
        n = len(row["input_ids"])
        np.testing.assert_allclose(own[:n], lone[:n], atol=2e-5)
        assert (own[n:] == FILL).all()


def test_the_loss_is_a_mean_over_words_not_over_rows() -> None:
    outputs = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[IGNORE, 1, 2, 3], [IGNORE, 4, IGNORE, IGNORE]])
    rows = loss_rows("word_cross_entropy", outputs, targets)
    words = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    assert (rows * torch.tensor([3.0, 1.0])).sum() / 4 == pytest.approx(words.item(), abs=1e-6)


def test_long_rows_train_in_windows_and_every_word_once() -> None:
    work = words_work(16, 8)
    learn, valid = encode_work(work, 12)
    assert len(learn.encoded) > len(work.train)
    assert learn.whole is not None
    assert (learn.targets != IGNORE).sum() == (learn.whole.targets != IGNORE).sum()
    assert valid.whole is not None
    assert len(valid.whole.layouts) == len(work.valid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [words_work, answers_work])
def test_every_family_learns(make, kind: str) -> None:
    work = make(32, 16, kind=kind)
    made = FineTune(epochs=1, lr=1e-3, precision="fp32", doctor="off", max_length=48)(work, Random(0))
    before, after = (
        outputs_of_rows(m, work.tokenizer, work.valid, 48, task=work.task) for m in (work.model, made.model)
    )
    assert np.abs(before - after).max() > 1e-3
    curve = made.notes["curve"]
    assert np.isfinite([point["loss"] for point in curve]).all()


@pytest.mark.parametrize("make", [words_work, answers_work])
def test_micro_batches_change_nothing(make) -> None:
    work = make(32, 8)
    work.model.config.hidden_dropout_prob = work.model.config.attention_probs_dropout_prob = 0.0
    for module in work.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    step = FineTune(epochs=1, lr=1e-3, precision="fp32", doctor="off", max_length=16, batch_size=16)
    whole, parts = (replace(step, accumulate=n)(work, Random(0)) for n in (1, 8))
    for one, other in zip(whole.notes["curve"], parts.notes["curve"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_entities_and_answers_are_learned() -> None:
    work = words_work(256, 64)
    made = FineTune(epochs=6, lr=3e-3, precision="fp32", doctor="off", patience=0)(work, Random(0))
    outputs = outputs_of_rows(made.model, made.tokenizer, work.valid, 64, task=work.task)
    assert work.task.metrics(outputs, work.task.encode(work.valid))["relaxed_f1"] > 0.9


# -- CRF -------------------------------------------------------------------------------------------


def test_the_forward_algorithm_sums_over_all_paths() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(2, 3, 3, generator=generator)
    steps = torch.randn(4, 4, generator=generator)
    there = torch.tensor([[True, True, True], [True, True, False]])
    for row, width in ((0, 3), (1, 2)):
        paths = list(itertools.product(range(3), repeat=width))
        tags = torch.full((len(paths), 3), IGNORE)
        tags[:, :width] = torch.tensor(paths)
        scores = path_score(words[row].expand(len(paths), -1, -1), tags, steps)
        by_hand = [
            sum(words[row, w, c] for w, c in enumerate(p)) + sum(steps[a, b] for a, b in itertools.pairwise((3, *p, 3)))
            for p in paths
        ]
        torch.testing.assert_close(scores, torch.stack(by_hand))
        torch.testing.assert_close(log_partition(words, there, steps)[row], scores.logsumexp(0))


def test_words_come_to_the_front_in_their_order() -> None:
    outputs = torch.arange(2 * 5 * 1.0).reshape(2, 5, 1)
    targets = torch.tensor([[IGNORE, 0, IGNORE, 2, 1], [IGNORE, IGNORE, 3, IGNORE, IGNORE]])
    words, tags = of_words(outputs, targets)
    assert words[0, :, 0].tolist() == [1, 3, 4]
    assert tags.tolist() == [[0, 2, 1], [3, IGNORE, IGNORE]]


def test_a_crf_learns_its_steps_and_they_travel(tmp_path) -> None:
    work = words_work(64, 16)
    made = FineTune(epochs=2, lr=1e-3, precision="fp32", doctor="off", tweaks=(Crf(),))(work, Random(0))
    steps = made.model.crf_steps.detach()
    assert steps.abs().max() > 0.05
    assert heads.decoding(made.model, work.task).steps != ()
    models.save(made.model, made.tokenizer, tmp_path)
    again, tokenizer = models.load_saved(tmp_path)
    expected = outputs_of_rows(made.model, made.tokenizer, work.valid, 64, task=work.task)
    np.testing.assert_array_equal(outputs_of_rows(again, tokenizer, work.valid, 64, task=work.task), expected)
    plain = replace(work.task, steps=())
    assert rules(plain.labels).shape == steps.shape


def test_a_crf_is_for_words_only() -> None:
    with pytest.raises(UsageError, match="tune/crf"):
        FineTune(epochs=1, tweaks=(Crf(),))(answers_work(8, 8), Random(0))


def test_an_answer_outside_a_window_is_no_answer_there() -> None:
    work = answers_work(1, 1)
    text = " ".join(["film"] * 20 + ["zebra"] + ["film"] * 20)
    at = text.index("zebra")
    row = Row("x", text, "the phone", (Span(at, at + 5),))
    learn, _ = encode_work(replace(work, train=(row,)), 16)
    ends = learn.targets.tolist()
    hits = [(w, a) for w, (a, b) in enumerate(ends) if a]
    zebra = work.tokenizer.convert_tokens_to_ids("zebra")
    assert hits
    assert all(learn.encoded[w]["input_ids"][a] == zebra for w, a in hits)
    assert [0, 0] in ends
