"""DP rewriting: the mechanism keeps its promise on a case by hand, and what the notes state is the sum of it."""

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._mlm import filler
from burnish.augment.dp_rewrite import WORD, DPRewrite, odds, picked, public_bounds
from burnish.core import Row, Span
from burnish.errors import UsageError
from tests.augment.tiny_models import mlm_folder
from tests.tiny import tiny_work


def step(**settings: Any) -> DPRewrite:
    return DPRewrite(model=str(mlm_folder()), **settings)


def test_the_mechanism_by_hand() -> None:
    """Two words, logits 0 and 1 and the other way round, bounds 0..1, epsilon 2: temperature 1."""
    one, two = odds(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0.0, 1.0, 2.0).tolist()
    assert one == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])
    assert max(two[0] / one[0], one[1] / two[1]) == pytest.approx(math.e)
    assert math.e <= math.exp(2.0)


FLOATS = st.floats(-50, 50)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=2, max_size=8), FLOATS, st.floats(0.1, 20), st.floats(0.01, 20))
def test_no_two_inputs_differ_by_more_than_epsilon(
    pairs: list[tuple[float, float]], low: float, width: float, epsilon: float
) -> None:
    one, two = odds(torch.tensor(pairs).T, low, low + width, epsilon)
    assert float((one.log() - two.log()).abs().max()) <= epsilon * (1 + 1e-9) + 1e-9


def test_the_bound_is_met_by_the_worst_case() -> None:
    """Over many words, one that stands alone at the top against one alone at the bottom comes near e^epsilon."""
    top, bottom = torch.zeros(1, 5000), torch.ones(1, 5000)
    top[0, 0], bottom[0, 0] = 1.0, 0.0
    ratio = odds(top, 0.0, 1.0, 3.0)[0, 0] / odds(bottom, 0.0, 1.0, 3.0)[0, 0]
    assert math.exp(2.9) < float(ratio) <= math.exp(3.0)


def test_words_are_picked_by_their_odds() -> None:
    shares = torch.tensor([[0.1, 0.0, 0.6, 0.3]], dtype=torch.float64).repeat(1000, 1)
    found = picked(shares, (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)
    assert [found.count(word) for word in range(4)] == [100, 0, 600, 300]


def test_every_word_is_drawn_and_the_text_keeps_its_form() -> None:
    rows = [
        Row("data:0", "Bob paid $3.50, not 4!", target="pos"),
        Row("data:1", "so it goes -- l'eau  3.5", target="neg"),
    ]
    made = step(epsilon=0.001)(replace(tiny_work(4, 4), train=rows), Random(0))
    known = set(filler(str(mlm_folder())).words)
    for row in made.train[2:]:
        old = rows[int(row.parent[-1])]
        words = WORD.findall(row.text)
        assert set(words) <= known
        assert len(words) == len(WORD.findall(old.text))
        assert [c for c in row.text if not c.isalnum()] == list(WORD.sub("", old.text))


def test_the_epsilon_of_the_text_is_stated() -> None:
    work = tiny_work(12, 4)
    made = step(epsilon=10)(work, Random(0))
    new, before = made.train[12:], {row.id: row for row in made.train}
    counts = {row.id: len(before[row.parent].text.split()) for row in new}
    assert made.notes["epsilons"] == {key: 10 * count for key, count in counts.items()}
    assert made.notes["epsilon_of_a_text"] == 10 * max(counts.values())
    assert made.notes["epsilon_of_a_word"] == 10


def test_tries_of_one_original_add_up() -> None:
    made = step(epsilon=10, ratio=3.0)(tiny_work(4, 4), Random(0))
    totals = {row.parent: 0.0 for row in made.train[4:]}
    for row in made.train[4:]:
        totals[row.parent] += made.notes["epsilons"][row.id]
    assert all(made.notes["epsilons_of_originals"][key] >= value for key, value in totals.items())
    assert made.notes["epsilon_of_an_original"] >= max(totals.values()) > made.notes["epsilon_of_a_text"]


def test_small_epsilons_forget_and_large_ones_do_not() -> None:
    """At next to nothing all words are as likely; at very much it is the model's own choice every time."""
    work = tiny_work(6, 4)
    vague = step(epsilon=1e-6)(work, Random(0)).train[6:]
    sure = [step(epsilon=1e6, beside=False)(work, Random(seed)).train[6:] for seed in (0, 1)]
    assert len({w for row in vague for w in row.text.split()}) > 15
    assert {row.text for row in sure[0]} == {row.text for row in sure[1]}


def test_the_bounds_do_not_come_from_the_rows() -> None:
    low, high = public_bounds(str(mlm_folder()))
    assert low < high
    assert step()(tiny_work(4, 4), Random(0)).notes["clip"] == pytest.approx([low, high], abs=1e-4)
    assert step(clip=(-1.0, 2.0))(tiny_work(4, 4), Random(0)).notes["clip"] == [-1.0, 2.0]


def test_without_the_originals_nothing_leads_back() -> None:
    work = tiny_work(8, 4)
    made = step(keep_originals=False, epsilon=1.0)(work, Random(0))
    assert len(made.train) == 8
    assert not any(row.parent for row in made.train)
    assert not {row.text for row in made.train} & {row.text for row in work.train}
    assert made.notes["examples"] == []
    assert not any(row.text in str(made.notes) for row in work.train)


def test_what_cannot_be_promised_is_refused() -> None:
    spans = [Row("data:0", "Bob came", target=(Span(0, 3, "PER"),))]
    with pytest.raises(UsageError, match="spans"):
        step()(replace(tiny_work(4, 4), train=spans), Random(0))
    long = [Row("data:0", "the film was good " * 20, target="pos"), Row("data:1", "the film", target="pos")]
    made = step()(replace(tiny_work(4, 4), train=long), Random(0))
    assert {row.parent for row in made.train[2:]} == {"data:1"}
    assert made.notes["left_out"]["too long for the model"] >= 1
    for wrong in ({"epsilon": 0}, {"clip": (1.0,)}, {"clip": (2.0, 1.0)}):
        with pytest.raises(UsageError):
            step(**wrong)
