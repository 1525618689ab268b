"""Choosing techniques: one case where a technique must win, one where nothing can, and the counting in between."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from burnish import catalog
from burnish.augment._policies import compared
from burnish.augment._proxy import HELD, Arm, Proxy, corrected
from burnish.augment.auto import Auto
from burnish.augment.learned import Learned
from burnish.core import Row, Work
from burnish.errors import DataError, UsageError
from burnish.tasks import make
from tests.tiny import tiny_spans, tiny_work

FILLERS = ("film", "plot", "story", "phone", "battery", "ending", "actor", "screen", "song", "scene")
GOOD, BAD = ([f"{kind}{'abcdefgh'[i // 8]}{'klmnopqr'[i % 8]}" for i in range(48)] for kind in ("gu", "ba"))


def encoder(words: Sequence[str]):
    """A BERT with random weights and a vocabulary of whole words: it tells words apart, and knows none."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(vocabulary), num_labels=2, **shape)).eval()
    return model, PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=32, **names)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> tuple[Work, str]:
    """Each word that tells the label is in one row: held words are only met through the user's list."""
    rng, rows = random.Random(0), []
    for i in range(48):
        for label, words in (("neg", BAD), ("pos", GOOD)):
            text = rng.sample(FILLERS, 2)
            text.insert(1, words[i])
            rows.append(Row(f"data:{len(rows)}", " ".join(text), None, label))
    own = tmp_path_factory.mktemp("own") / "own.txt"
    own.write_text(f"{', '.join(GOOD)}\n{', '.join(BAD)}\n")
    model, tokenizer = encoder([*FILLERS, *GOOD, *BAD])
    valid = [replace(row, id=f"valid:{i}", text=f"{row.text} song") for i, row in enumerate(rows[::4])]
    return Work(model, tokenizer, make("text-classification", labels=("neg", "pos")), rows, valid), str(own)


def noise(work: Work) -> Work:
    """The same texts, with labels that they do not tell."""
    rng = random.Random(1)
    return replace(work, train=[replace(row, target=rng.choice(("neg", "pos"))) for row in work.train])


def test_a_technique_that_must_help_wins(case) -> None:
    work, own = case
    auto = Auto(techniques=(f"synonyms:own={own}", "random_swap", "aeda"), ratios=(2.0,), splits=2, confirm=6)
    made = auto(work, Random(0))
    assert [one["use"] for one in made.notes["picked"]] == ["augment/synonyms"]
    assert made.notes["confirmed"]["low"] > 0
    assert made.notes["new"] == len(made.train) - len(work.train) > len(work.train)
    assert [arm["name"] for arm in made.notes["arms"] if arm["chosen"]] == ["augment/synonyms x2"]
    assert all({"name", "gain", "low", "high", "seconds"} <= set(arm) for arm in made.notes["arms"] if arm["pairs"])
    json.dumps(made.notes, allow_nan=False)


def test_nothing_wins_where_there_is_nothing_to_learn(case) -> None:
    work = noise(case[0])
    made = Auto(techniques=("random_swap", "aeda", "typos"), ratios=(0.5, 2.0), splits=2, confirm=6)(work, Random(0))
    assert list(made.train) == list(work.train)
    assert made.notes["picked"] == []
    assert [arm["name"] for arm in made.notes["arms"] if arm["chosen"]] == ["none"]


def test_a_learned_policy_finds_it_too_and_both_are_compared(case) -> None:
    work, own = case
    operations = (f"synonyms:own={own}", "random_swap")
    auto = Auto(techniques=operations, ratios=(2.0,), splits=2, confirm=6)
    found = compared(work, auto, Learned(operations=operations, ratio=2.0, confirm=6))
    assert [one["use"] for one in found["auto"]["picked"]] == ["augment/synonyms"]
    (policy,) = [one["policy"] for one in found["learned"]["picked"]]
    assert any("synonyms" in part for part in policy)
    assert found["learned"]["confirmed"]["gain"] > 0


def test_a_policy_that_is_given_is_not_searched_for(case) -> None:
    work, own = case
    step = Learned(policy=("synonyms@1x2+random_swap@0.5x1",), operations=(f"synonyms:own={own}", "random_swap"))
    made = step(work, Random(0))
    assert len(made.train) == 2 * len(work.train)
    assert "arms" not in made.notes
    texts = {row.id: row.text for row in work.train}
    assert any(row.text.split() != texts[row.parent].split() for row in made.train if row.parent)


@pytest.mark.parametrize("policy", ["synonyms@2x1", "synonyms@0.5", "nothing@0.5x1", "typos@0.5x0"])
def test_what_cannot_be_read_as_a_policy_is_refused(policy: str) -> None:
    with pytest.raises(UsageError, match="no part of a policy"):
        Learned(policy=(policy,))


def test_both_arms_of_a_turn_have_the_same_split_and_weight(case) -> None:
    proxy = Proxy(case[0], 400, 7)
    learn, held = proxy.split(3)
    assert proxy.split(3) == (learn, held) != proxy.split(4)
    assert {row.id for row in learn} | {row.id for row in held} == {row.id for row in case[0].train}
    assert len(held) == pytest.approx(HELD * 96, abs=2)
    copies = tuple(replace(row, id=f"{row.id}+", parent=row.id) for row in learn)
    same = proxy._outputs(learn, copies, held, 1.0)
    assert np.allclose(same, proxy._outputs(learn, [], held, 2.0), atol=1e-3)  # as if every row were there twice


def test_the_interval_over_splits_does_not_shrink_to_nothing() -> None:
    """Splits share rows: many of them are worth fewer (by hand: variance 2, (1/2 + 1/3) of it)."""
    from scipy.stats import t

    mean, low, high = corrected([0.0, 2.0])
    assert mean == 1
    assert (low, high) == pytest.approx(
        (1 - t.ppf(0.975, 1) * (2 * 5 / 6) ** 0.5, 1 + t.ppf(0.975, 1) * (2 * 5 / 6) ** 0.5)
    )
    wide = corrected([0.0, 2.0] * 500)
    assert wide[2] - wide[1] > 2 * 1.9 * (1 / 3) ** 0.5  # deviation 1; a plain interval would be 0.12 wide


def test_a_technique_that_cannot_change_these_rows_leaves_the_race_with_its_words(case) -> None:
    made = Auto(techniques=("homophones", "aeda"), ratios=(0.5,), splits=2, confirm=2)(case[0], Random(0))
    refused = next(arm for arm in made.notes["arms"] if "homophones" in arm["name"])
    assert "could change none" in refused["why"] or "install" in refused["why"]


def test_a_policy_is_refused_for_words_and_for_very_few_rows() -> None:
    work = tiny_work()
    words = replace(work, task=make("sequence-labelling", labels=("O", "B-THING", "I-THING")))
    with pytest.raises(UsageError, match="one answer a row"):
        Auto()(replace(words, train=tiny_spans(work.train)), Random(0))
    with pytest.raises(DataError, match="at least"):
        Auto()(replace(work, train=work.train[:8]), Random(0))


def test_numbers_can_be_told_as_well() -> None:
    work = tiny_work()
    task = make("regression")
    rows = [replace(row, target=float(row.target == "pos")) for row in work.train]
    proxy, arm = Proxy(replace(work, task=task, train=rows), 400, 0), Arm("aeda", (catalog.build("augment/aeda"),))
    proxy.try_(arm, 0)
    assert np.isfinite(arm.mean)


def test_a_choice_among_choosers_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be chosen from"):
        Auto(techniques=("auto",))


def test_the_same_seed_chooses_the_same(case) -> None:
    auto = Auto(techniques=("random_swap", "aeda"), ratios=(0.5,), splits=2, confirm=2)
    first, second = (auto(case[0], Random(3)) for _ in range(2))
    plain = [{k: v for k, v in arm.items() if k != "seconds"} for arm in first.notes["arms"]]
    assert plain == [{k: v for k, v in arm.items() if k != "seconds"} for arm in second.notes["arms"]]
    assert list(first.train) == list(second.train)


def test_the_case_is_what_it_says(case) -> None:
    """No word that tells a label is in two rows, and the list knows them all."""
    work, own = case
    words = [word for row in work.train for word in row.text.split() if word not in FILLERS]
    assert len(words) == len(set(words)) == 96
    assert set(Path(own).read_text().replace(",", " ").split()) == set(words)
