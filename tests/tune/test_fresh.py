"""Each epoch has versions of its own, as many as asked, and nothing but seed, epoch and row decides them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from burnish import catalog
from burnish.core import describe
from burnish.errors import DataError, UsageError
from burnish.tasks import make
from burnish.train.batches import collate
from burnish.train.texts import Texts
from burnish.train.tweak import Tweak
from burnish.tune.fresh import Fresh
from burnish.tune.lora import LoRA
from burnish.tune.rdrop import RDrop
from tests.tiny import tiny_work
from tests.tune.short_runs import cut_equals_straight, is_plain_and_reloads, same_weights, tuned
from tests.tune.works import changes_training, same_under_accumulation

AEDA = catalog.build("augment/aeda")


class Spy(Tweak):
    """Stands inside, and writes down what it is given."""

    def __init__(self):
        self.seen: dict[int, dict[int, list[int]]] = {}
        self.epoch = 0

    def before_epoch(self, epoch):
        self.epoch = epoch

    def loss(self, model, batch, inner):
        for row, ids, mask in zip(batch["rows"], batch["input_ids"], batch["attention_mask"], strict=True):
            self.seen.setdefault(self.epoch, {})[int(row)] = ids[mask.bool()].tolist()
        return inner(model, batch)


def seen(**settings):
    spy = Spy()
    tuned(tweaks=(Fresh(**settings), spy), precision="fp32")
    return spy.seen


@pytest.mark.parametrize(("by", "share"), [(None, 0.5), (AEDA, 0.25), (AEDA, 1.0)])
def test_the_share_of_changed_rows_is_the_same_in_every_epoch_and_the_versions_are_not(by, share) -> None:
    found, plain = seen(by=by, share=share), raw()
    for rows in found.values():
        assert sorted(rows) == list(range(64))
        assert sum(rows[i] != plain[i] for i in rows) == round(share * 64)
    both = [i for i in range(64) if all(rows[i] != plain[i] for rows in found.values())]
    assert both
    assert any(found[0][i] != found[1][i] for i in both)


def raw() -> list[list[int]]:
    """The rows as the model sees them: its embedding is compacted, so ids are what a run without versions is given."""
    spy = Spy()
    tuned(tweaks=(spy,), precision="fp32")
    return [spy.seen[0][i] for i in range(64)]


def test_a_run_that_was_killed_in_the_middle_of_an_epoch_ends_in_the_same_bits(tmp_path, monkeypatch) -> None:
    assert cut_equals_straight(8, tmp_path, monkeypatch, lambda: tuned(tweaks=(Fresh(by=AEDA),)))


def test_it_changes_training_and_another_seed_or_share_changes_it_otherwise() -> None:
    assert changes_training("cross_entropy", tweaks=(Fresh(by=AEDA),))
    a, b = (tuned(tweaks=(Fresh(by=AEDA, share=share),)) for share in (0.25, 0.75))
    assert not same_weights(a, b)
    assert a.notes["fresh"] == {"share": 0.25, "changed": 16}


def test_micro_batches_change_nothing() -> None:
    assert same_under_accumulation("cross_entropy", tweaks=(Fresh(by=AEDA),))


def test_the_model_stays_plain_and_knows_the_new_words(tmp_path) -> None:
    made = tuned(tweaks=(Fresh(by=AEDA),))
    assert is_plain_and_reloads(made, tmp_path)


@pytest.mark.parametrize("other", [RDrop(), LoRA(rank=2)])
def test_it_goes_with_other_tweaks(other) -> None:
    for tweaks in ((Fresh(by=AEDA), other), (other, Fresh(by=AEDA))):
        made = tuned(tweaks=tweaks)
        assert made.notes["fresh"]["changed"] == 32
        assert all(torch.isfinite(v).all() for v in made.model.state_dict().values() if v.is_floating_point())


def test_pairs_have_one_side_changed_and_stay_pairs() -> None:
    work = tiny_work()
    pairs = [replace(row, pair=f"the plot was {row.text}") for row in work.train]
    spy = Spy()
    both = replace(work, train=pairs, valid=[replace(r, pair=r.text) for r in work.valid])
    tuned(replace(both, task=replace(work.task, pair=True)), tweaks=(Fresh(by=AEDA, share=1.0), spy))
    assert set(spy.seen[0]) == set(range(64))


def test_a_batch_without_changed_rows_is_left_as_it_is() -> None:
    work = tiny_work()
    live = _live(work)
    encoded = [{"input_ids": [2, 5, 3]}]
    batch = {**collate(encoded, 0), "rows": torch.tensor([0])}
    assert live.changed(batch) is batch


def _live(work):
    facts = SimpleNamespace(task=work.task, texts=Texts(work.tokenizer, work.train, 64), seed=0, steps=4, per_epoch=2)
    return Fresh(by=AEDA).begin(facts)


def test_the_words_of_every_epoch_are_announced() -> None:
    live = _live(tiny_work())
    announced = set(live.ids())
    for epoch in range(2):
        live.before_epoch(epoch)
        assert {token for row in live.now.values() for token in row["input_ids"]} <= announced


def test_it_says_what_it_cannot_do() -> None:
    silent = catalog.build("augment/homophones", {})
    with pytest.raises(DataError, match="can change none"):
        tuned(tweaks=(Fresh(by=silent),))
    with pytest.raises(UsageError, match="edits one text"):
        Fresh(by=catalog.build("tune/rdrop"))
    with pytest.raises(UsageError, match="share"):
        Fresh(share=0.0)
    words = replace(tiny_work(), task=make("sequence-labelling", labels=("O", "B-THING", "I-THING")))
    with pytest.raises(UsageError, match="one answer a row"):
        _live(words)


def test_it_is_built_from_text_as_anywhere_else() -> None:
    made = catalog.build("tune/finetune", {"tweaks": [{"use": "tune/fresh", "by": "augment/aeda", "share": "0.3"}]})
    assert made.tweaks == (Fresh(by=AEDA, share=0.3),)
    assert catalog.build("tune/finetune", describe(made)) == made
