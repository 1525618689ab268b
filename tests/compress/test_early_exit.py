import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish import models
from burnish.compress._exits import attach
from burnish.compress.early_exit import EarlyExit, joint
from burnish.compress.int8 import Int8
from burnish.compress.student import Student
from burnish.core import Row, Work
from burnish.errors import UsageError
from burnish.measure.exits import Rule, at_least, calibrate, left_at, rows_needed, rules, said, uncertainty
from burnish.serve.artifact import read_artifact, write_artifact
from burnish.serve.engines import engine
from burnish.serve.predict import Local
from burnish.tasks import make
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work

CE = "cross_entropy"


def with_exits(work: Work, rule: Rule, layers: tuple[int, ...] = (1, 2)) -> Work:
    """Untrained heads that differ enough for some rows to leave at each of them."""
    torch.manual_seed(0)
    exits = attach(work.model, layers, rule, work.task.width)
    for head in exits.heads:
        head.dense.weight.data *= 9
        head.out.weight.data *= 9
    work.model.eval()
    facts = {"layers": list(layers), "outputs": work.task.width, "rule": rule.to_json()}
    models.add_structure(work.model, "compress/early_exit", facts)
    return work


def outputs(work: Work, rows=None) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid if rows is None else rows, 64)


def middling(work: Work, layers: tuple[int, ...] = (1, 2)) -> Work:
    """With a threshold at which some rows leave at the first exit and some stay."""
    made = with_exits(work, Rule("entropy", 1.1, CE), layers)
    at_first = uncertainty(outputs(made), CE)
    rule = Rule("entropy", float(np.median(at_first)), CE)
    made.model.exits.rule, made.model.exits.left = rule, [0] * (len(layers) + 1)
    made.model.burnish_structure[-1]["rule"] = rule.to_json()
    return made


# -- the rule ------------------------------------------------------------------------------------------


def test_entropy_is_1_when_nothing_is_known_and_0_when_all_is() -> None:
    assert uncertainty(np.zeros((1, 5)), CE) == pytest.approx([1.0])
    assert uncertainty(np.array([[90.0, 0, 0]]), CE) == pytest.approx([0.0], abs=1e-9)
    p = np.array([0.9, 0.1])
    assert uncertainty(np.log(p)[None], CE)[0] == pytest.approx(0.4689956, abs=1e-6)  # bits, by hand
    two = uncertainty(np.array([[90.0, 0.0]]), "binary_cross_entropy")
    assert two == pytest.approx([1.0])  # the label nobody knows counts


def test_patience_waits_until_so_many_answers_repeat_the_one_before() -> None:
    answers = [0, 1, 1, 1, 0]  # of one row at five exits
    said_ENC = np.array([[[1.0, 0.0]] if a == 0 else [[0.0, 1.0]] for a in answers])
    assert left_at(Rule("patience", 1, CE), said_ENC).tolist() == [2]
    assert left_at(Rule("patience", 2, CE), said_ENC).tolist() == [3]
    assert left_at(Rule("patience", 3, CE), said_ENC).tolist() == [5]


def test_numbers_leave_when_two_exits_say_nearly_the_same() -> None:
    said_ENC = np.array([[[1.0], [1.0]], [[1.4], [3.0]], [[1.5], [5.0]]])
    assert left_at(Rule("difference", 0.2, "mean_squared_error"), said_ENC).tolist() == [2, 3]


def test_the_joint_loss_is_pabees() -> None:
    assert joint([torch.tensor(6.0), torch.tensor(3.0), torch.tensor(1.0)]) == pytest.approx((6 + 6 + 3) / 6)


# -- the proof -----------------------------------------------------------------------------------------


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert at_least(299, 299, 0.95) == pytest.approx(0.05 ** (1 / 299))
    p = at_least(9, 10, 0.95)
    assert 10 * p**9 * (1 - p) + p**10 == pytest.approx(0.05)  # the chance of 9 or more of 10
    assert at_least(0, 10, 0.95) == 0
    assert rows_needed(0.99, 0.95) == 299
    assert at_least(299, 299, 0.95) >= 0.99 > at_least(298, 298, 0.95)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An exit whose answer is wrong the more often the less sure it is."""
    rng = np.random.default_rng(seed)
    margin_N = rng.exponential(2.0, n)
    right_N = rng.random(n) > 0.3 * np.exp(-margin_N)
    exit_NC = np.stack([margin_N, np.zeros(n)], 1)
    return exit_NC[None], np.where(right_N[:, None], [[1.0, 0.0]], [[0.0, 1.0]])


def differs(a_NC: np.ndarray, b_NC: np.ndarray) -> np.ndarray:
    return a_NC.argmax(1) == b_NC.argmax(1)


def test_what_was_proven_holds_on_new_rows_as_often_as_promised() -> None:
    whole = drawn(50_000, 999)
    broken = left = 0
    for seed in range(60):
        said_ENC, final_NC = drawn(400, seed)
        proof = calibrate(
            rules("entropy", CE, 1, 1.0),
            Rule("entropy", 0, CE),
            said_ENC,
            final_NC,
            differs,
            agree=0.95,
            confidence=0.9,
        )
        broken += differs(whole[1], said(proof.rule, *whole)).mean() < 0.95
        left += (left_at(proof.rule, said_ENC) == 0).mean()
    assert broken <= 12  # 6 are allowed on average; more than 12 of 60 has a chance of 1 in 100
    assert left / 60 > 0.4  # and it is not held by letting nobody go


def test_too_few_rows_prove_what_they_can_and_not_more() -> None:
    said_ENC, final_NC = drawn(40, 3)
    tried, never = rules("entropy", CE, 1, 1.0), Rule("entropy", 0, CE)
    proof = calibrate(tried, never, said_ENC, final_NC, differs, agree=0.99, confidence=0.95)
    assert proof.agreeing == proof.rows == 40
    assert proof.bound == pytest.approx(0.05 ** (1 / 40))
    assert (left_at(proof.rule, said_ENC) == 0).any()


# -- the model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rows_leave_batches_in_every_family_without_changing_the_others(kind: str) -> None:
    work = middling(family_work(kind, train=4, valid=24))
    made = outputs(work)
    exits = work.model.exits
    assert sum(exits.left) == 24
    assert 0 < exits.left[0] < 24
    alone = np.concatenate([outputs(work, [row]) for row in work.valid])
    assert np.abs(made - alone).max() < 1e-5


def test_who_left_is_not_computed_any_further() -> None:
    work = middling(family_work("bert", train=4, valid=24))
    seen: list[int] = []
    work.model.bert.encoder.layer[2].register_forward_pre_hook(lambda m, args: seen.append(len(args[0])))
    outputs(work)
    assert sum(seen) == work.model.exits.left[2] < 24


def test_without_exits_it_is_the_model_it_was() -> None:
    work = family_work("bert", train=4, valid=8)
    before = outputs(work)
    made = with_exits(work, Rule("entropy", 0.0, CE))
    assert np.array_equal(outputs(made), before)
    plain = models.as_float(made.model)
    assert set(plain.state_dict()) == set(family_work("bert", train=4, valid=8).model.state_dict())
    assert np.array_equal(outputs(dataclasses.replace(made, model=plain)), before)


def test_an_error_inside_leaves_the_model_usable() -> None:
    work = middling(family_work("bert", train=4, valid=8))
    before = outputs(work)
    with pytest.raises(IndexError):
        work.model(input_ids=torch.tensor([[10**6]]))
    assert np.array_equal(outputs(work), before)
    assert len(list(work.model.bert.encoder.layer)) == 3


@pytest.mark.parametrize("style", ["fastbert", "deebert", "pabee"])
def test_heads_learn_and_the_notes_say_who_left_where(style: str) -> None:
    work = FineTune(epochs=6, lr=3e-3, precision="fp32")(tiny_work(train=160, valid=80, layers=3), Random(0))
    made = EarlyExit(style=style, agree=0.9, epochs=6, lr=3e-3, precision="fp32")(work, Random(0))
    notes = made.notes
    assert sum(notes["left_after_layer"].values()) == 80
    assert notes["left_after_layer"]["3"] < 60
    assert notes["mean_layers"] < 2.8
    assert notes["agreement"] >= notes["proven"]["share"] >= 0.9
    if style != "pabee":
        own = {k: v for k, v in made.model.state_dict().items() if not k.startswith("exits")}
        assert all(torch.equal(v, work.model.state_dict()[k]) for k, v in own.items())


def test_regression_leaves_within_the_tolerance() -> None:
    work = tiny_work(train=160, valid=100, layers=3)
    value = {"neg": 20.0, "pos": 60.0}
    rows = [Row(r.id, r.text, None, value[r.target]) for r in (*work.train, *work.valid)]
    model = family_work("bert").model.__class__(family_model_config())
    work = Work(model.eval(), work.tokenizer, make("regression"), rows[:160], rows[160:])
    work = FineTune(epochs=6, lr=3e-3, precision="fp32")(work, Random(0))
    full = outputs(work)
    made = EarlyExit(agree=0.9, tolerance=0.5, epochs=6, lr=3e-3, precision="fp32")(work, Random(0))
    gap = np.abs(outputs(made) - full)
    assert (gap <= 0.5 * 20).mean() == pytest.approx(made.notes["agreement"])
    assert made.notes["left_after_layer"]["1"] == 0  # nothing to compare with yet
    assert made.notes["left_after_layer"]["3"] < 100
    assert made.notes["agreement"] >= 0.9


def family_model_config():
    config = family_work("bert").model.config
    config.num_labels = 1
    return config


def test_training_afterwards_is_refused() -> None:
    made = middling(tiny_work(train=16, valid=8), layers=(1,))
    with pytest.raises(UsageError, match="after every step that trains"):
        FineTune(epochs=1)(made, Random(0))
    with pytest.raises(UsageError, match="compress/early_exit"):
        Student(epochs=1)(made, Random(0))


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"layers": (2,)}, "of 2"), ({"layers": (1, 1)}, "rising"), ({"style": "x"}, "fastbert"), ({"agree": 1}, "share")],
)
def test_what_cannot_be_meant_is_refused(settings: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        EarlyExit(**settings)(tiny_work(train=8, valid=4), Random(0))


def test_a_model_of_integers_is_not_trained_whole() -> None:
    work = Int8(smallest=16)(tiny_work(train=8, valid=4), Random(0))
    with pytest.raises(UsageError, match="before compress/int8"):
        EarlyExit(style="pabee")(work, Random(0))


# -- served --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["float", "int8 before", "int8 after"])
def test_it_is_saved_and_served_as_it_is_measured(order: str, tmp_path: Path) -> None:
    work = tiny_work(train=8, valid=16)
    if order == "int8 before":
        work = Int8(smallest=16)(work, Random(0))
    work = middling(work, layers=(1,))
    if order == "int8 after":
        work = Int8(smallest=16)(work, Random(0))
    work.model.exits.left = [0, 0]
    measured = outputs(work)
    assert 0 < work.model.exits.left[0] < 16
    models.save(work.model, work.tokenizer, tmp_path / "saved")
    model, tokenizer = models.load_saved(tmp_path / "saved")
    assert np.array_equal(outputs(dataclasses.replace(work, model=model, tokenizer=tokenizer)), measured)
    if order == "int8 after":  # one export is enough here, it takes seconds
        served(work, measured, tmp_path / "artifact")


def served(work: Work, measured: np.ndarray, folder: Path) -> None:
    write_artifact(
        folder, model=work.model, tokenizer=work.tokenizer, task=work.task, engine="onnx",
        precision=models.precision(work.model), max_length=64, rows_for_golden=work.valid[:3], base_model="tiny",
        measured={},
    )  # fmt: skip
    assert {"segment-1.onnx", "segment-2.onnx", "segments.json"} <= set(read_artifact(folder)["files"])
    assert np.abs(Local(folder).outputs([row.text for row in work.valid]) - measured).max() < 2e-4
    ids = [work.tokenizer(row.text)["input_ids"][:6] for row in work.valid]  # a batch, and one word a row fewer
    batch = {"input_ids": np.array(ids)}
    batch |= {"attention_mask": np.ones_like(batch["input_ids"]), "token_type_ids": np.zeros_like(batch["input_ids"])}
    predict = engine("onnx").load(folder, threads=1)
    alone = np.concatenate([predict({k: v[i : i + 1] for k, v in batch.items()}) for i in range(len(ids))])
    assert np.abs(predict(batch) - alone).max() < (1e-5 if models.precision(work.model) == "fp32" else 0.2)


def test_engines_that_hold_one_graph_say_so(tmp_path: Path) -> None:
    made = middling(tiny_work(train=4, valid=8), layers=(1,))
    for name in ("openvino", "torch"):
        if engine(name, needed=False).available() is None:
            with pytest.raises(UsageError, match="use the onnx engine"):
                engine(name).build(made.model, made.tokenizer, tmp_path, precision="fp32", max_length=64)
