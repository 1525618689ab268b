from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn

from burnish import models
from burnish.compress import _mask
from burnish.compress._weights import layers_of
from burnish.compress.keep_zeros import KeepZeros
from burnish.compress.magnitude import Magnitude
from burnish.compress.movement import Apart, Movement, masked, threshold_at
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from burnish.train.optimizer import grouped
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_model, tiny_work

SHORT = {"epochs": 4, "lr": 1e-3, "batch_size": 8, "precision": "fp32"}


def test_the_threshold_climbs_by_a_cubic_law() -> None:
    assert [threshold_at(t, 0.1, 0.1, 0.2) for t in (0, 0.1, 0.8, 1)] == [0, 0, pytest.approx(0.1), pytest.approx(0.1)]
    assert threshold_at(0.45, 0.1, 0.1, 0.2) == pytest.approx(0.1 * (1 - 0.5**3))
    assert threshold_at(1, 0.1, 0, 0) == pytest.approx(0.1)


def test_a_score_falls_where_its_weight_moves_to_zero() -> None:
    """S.grad = dL/dW' x W, and masked weights count like others."""
    w = torch.tensor([[2.0, -3.0]], requires_grad=True)
    s = torch.tensor([[0.0, -5.0]], requires_grad=True)
    used = masked(w, s, 0.1)
    assert used.tolist() == [[2, 0]]
    (used * torch.tensor([[10.0, 100.0]])).sum().backward()
    assert (s.grad.tolist(), w.grad.tolist()) == ([[20, -300]], [[10, 0]])


def test_embeddings_are_frozen_and_scores_stand_apart() -> None:
    model = tiny_model()
    model.bert.encoder.layer[0].output.dense.scores = nn.Parameter(torch.zeros(32, 64))
    groups = grouped(model, 0.01, (Apart(),))
    assert {g.names for g in groups if g.scale == 2} == {("bert.encoder.layer.0.output.dense.scores",)}
    assert not any("embeddings" in name for g in groups for name in g.names)


def test_more_penalty_leaves_fewer_weights_and_all_zeros_are_exact(tmp_path: Path) -> None:
    work = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200), Random(0))
    low, high = (Movement(share=0.2, penalty=p, **SHORT)(work, Random(0)) for p in (0.0, 1e5))
    assert 0.2 <= high.notes["weights_left"] + 0.02 < low.notes["weights_left"] < 1
    assert low.notes["threshold"] == pytest.approx(0.1)
    assert 0 < high.notes["threshold"] < 0.1
    assert high.notes["score_lr"] == pytest.approx(10 / 100)
    names = layers_of(work.model)[0]
    assert all(type(high.model.get_submodule(name)) is nn.Linear for name in names)
    assert set(high.model.state_dict()) == set(work.model.state_dict())
    zeros = sum(int((_mask.weight_of(high.model, name) == 0).sum()) for name in names)
    total = sum(_mask.weight_of(high.model, name).numel() for name in names)
    assert high.notes["weights_left"] == pytest.approx(1 - zeros / total)
    for name, value in work.model.state_dict().items():
        if "embeddings" in name:
            assert torch.equal(value, high.model.state_dict()[name])
    models.save(high.model, high.tokenizer, tmp_path)
    again = models.load_saved(tmp_path)[0]
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in high.model.state_dict().items())
    targets = work.task.encode(work.valid)
    assert work.task.score(outputs_of_rows(high.model, high.tokenizer, high.valid, 64), targets) > 0.8


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "bert"])
def test_every_family_can_be_thinned(kind: str) -> None:
    wishes = {**SHORT, "epochs": 1}
    made = Movement(**wishes)(family_work(kind, train=32, valid=8), Random(0))
    assert 0 < made.notes["weights_left"] < 1


def test_zeros_stay_through_another_training_where_that_is_asked() -> None:
    thin = Magnitude(share=0.25)(tiny_work(), Random(0))
    names = layers_of(thin.model)[0]
    kept, filled = (
        FineTune(epochs=1, lr=1e-3, precision="fp32", tweaks=t)(thin, Random(0)) for t in ((KeepZeros(),), ())
    )
    for name in names:
        zero = _mask.weight_of(thin.model, name) == 0
        assert (_mask.weight_of(kept.model, name)[zero] == 0).all()
        assert not torch.equal(_mask.weight_of(kept.model, name), _mask.weight_of(thin.model, name))
    assert not all((_mask.weight_of(filled.model, n)[_mask.weight_of(thin.model, n) == 0] == 0).all() for n in names)
    assert kept.notes["zeros_kept"] == sum(int((_mask.weight_of(thin.model, n) == 0).sum()) for n in names)
    with pytest.raises(UsageError, match="hold no zeros"):
        FineTune(epochs=1, tweaks=(KeepZeros(),))(tiny_work(), Random(0))


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="threshold 1"):
        Movement(threshold=1.0)
    with pytest.raises(UsageError, match="together below 1"):
        Movement(quiet=0.5, cooldown=0.5)
    with pytest.raises(UsageError, match="epochs 0"):
        Movement(epochs=0)
