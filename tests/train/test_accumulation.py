"""How a step is cut into micro-batches changes nothing: the loop's first promise, for twelve families of models.

One optimizer step on 16 rows as 16 x 1, 8 x 2, 4 x 4 and 1 x 16: loss, gradient norm and the gradient itself, before
clipping, agree to 1e-4, with labels of uneven frequency, rows of uneven length, class weights, label smoothing and
R-Drop on. Micro-batches of one row have no padding at all, so padding is part of the promise.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from burnish.core import Task
from burnish.tasks import make
from burnish.train import loop
from burnish.train.loop import Data, Settings, train
from burnish.train.objective import Plain
from burnish.train.parts import Clip, Weighting
from burnish.train.prepare import encode_work
from burnish.train.smooth import smoothed_rows
from burnish.tune.class_weights import ClassWeights
from burnish.tune.focal import Focal
from burnish.tune.huber import Huber
from burnish.tune.label_smoothing import LabelSmoothing
from burnish.tune.rdrop import RDrop
from burnish.units import IGNORE
from tests.tiny import tiny_work

ROWS, PAD, WORDS, LABELS = 16, 1, 40, 3
CUTS = (1, 2, 4, 16)  # micro-batches of 16, 8, 4 and 1 rows

# What each family calls the usual sizes: width, layers, heads, width inside. None: all four as in BERT.
FAMILIES: dict[str, tuple[str, ...] | None] = {
    "Albert": None,
    "Bert": None,
    "Camembert": None,
    "DebertaV2": None,
    "DistilBert": ("dim", "n_layers", "n_heads", "hidden_dim"),
    "Electra": None,
    "GPT2": ("n_embd", "n_layer", "n_head", "n_inner"),
    "MPNet": None,
    "ModernBert": None,
    "Qwen2": None,
    "Roberta": None,
    "XLMRoberta": None,
}
BERT_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
ALSO: dict[str, dict[str, Any]] = {
    "Albert": {"embedding_size": 16},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "Electra": {"embedding_size": 16},
    "ModernBert": {"cls_token_id": 2, "sep_token_id": 3, "global_attn_every_n_layers": 2, "local_attention": 8},
    "Qwen2": {"num_key_value_heads": 1},
}
TOGETHER = {"objective": LabelSmoothing(), "weighting": ClassWeights("inverse")}


def tiny(family: str, labels: int = LABELS) -> nn.Module:
    """Two layers, 16 wide, random, without any dropout."""
    sizes = dict(zip(FAMILIES[family] or BERT_NAMES, (16, 2, 2, 32), strict=True))
    ids = {"pad_token_id": PAD, "bos_token_id": 2, "eos_token_id": 3}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=WORDS, max_position_embeddings=64, num_labels=labels, **ids, **sizes, **ALSO.get(family, {})
    )
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForSequenceClassification")(config)
        for parameter in model.parameters():  # as it comes, a fresh head hides the rows behind nearly equal outputs
            if parameter.ndim >= 2:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def rows(targets: np.ndarray) -> Data:
    """Rows of 3 to 18 tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.permutation(len(targets)) % 16 + 3
    return Data([{"input_ids": [2, *rng.integers(4, WORDS, n - 2).tolist(), 3]} for n in lengths], targets)


UNEVEN = rows(np.array([0] * 11 + [1] * 4 + [2]))
CLASSES = make("text-classification", labels=("a", "b", "c"))


@dataclass(frozen=True)
class Spy(Clip):
    """Clips nothing and keeps the gradient as one vector, in double precision."""

    def apply(self, gradients: Sequence[Tensor], norm: float, norms: Sequence[float]) -> bool:
        SEEN.append((norm, torch.cat([g.detach().double().flatten() for g in gradients])))
        return False


SEEN: list[tuple[float, Tensor]] = []


def step(model: nn.Module, cut: int = 1, task: Task = CLASSES, learn: Data = UNEVEN, tweaks=(), **parts):
    """Loss, gradient norm and gradient of one optimizer step."""
    SEEN.clear()
    size = len(learn.encoded)
    settings = Settings(lr=1e-3, epochs=1, batch_size=size, accumulate=cut, clip=Spy(), evals_per_epoch=1, **parts)
    made = train(model, task, learn, learn, settings, seed=0, pad_id=PAD, tweaks=tweaks)
    ((norm, gradient),) = SEEN
    return made.notes["curve"][0]["loss"], norm, gradient


def assert_all_cuts_agree(build: Callable[[], nn.Module], **settings) -> float:
    """Return the loss, once every cut has given the same loss, norm and gradient."""
    loss, norm, gradient = step(build(), **settings)
    assert loss > 0
    assert norm > 1e-3
    for cut in CUTS[1:]:
        cut_loss, cut_norm, cut_gradient = step(build(), cut, **settings)
        assert cut_loss == pytest.approx(loss, rel=1e-4), cut
        assert cut_norm == pytest.approx(norm, rel=1e-4), cut
        assert float((cut_gradient - gradient).norm()) < 1e-4 * norm, cut
    return loss


@pytest.mark.parametrize("family", FAMILIES)
def test_cutting_a_step_changes_nothing(family: str) -> None:
    assert_all_cuts_agree(lambda: tiny(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_cutting_a_step_changes_nothing_with_class_weights_smoothing_and_rdrop(family: str) -> None:
    assert_all_cuts_agree(lambda: tiny(family), tweaks=[RDrop()], **TOGETHER)


@pytest.mark.parametrize("family", FAMILIES)
def test_wider_padding_changes_nothing(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch 11 tokens wider than its longest row."""
    loss, norm, gradient = step(tiny(family), **TOGETHER)
    real = loop.collate

    def wide(encoded, pad_id):
        longest = max(len(row["input_ids"]) for row in encoded)
        filler = {"input_ids": [PAD] * (longest + 11)}
        return {name: value[:-1] for name, value in real([*encoded, filler], pad_id).items()}

    monkeypatch.setattr(loop, "collate", wide)
    wide_loss, wide_norm, wide_gradient = step(tiny(family), **TOGETHER)
    assert wide_loss == pytest.approx(loss, rel=1e-4)
    assert wide_norm == pytest.approx(norm, rel=1e-4)
    assert float((wide_gradient - gradient).norm()) < 1e-4 * norm


def wobbly() -> nn.Module:
    """BERT whose head sees each row moved the second time it comes: R-Drop without random numbers."""
    model = tiny("Bert")
    seen: dict[tuple[int, ...], int] = {}
    sides: list[int] = []

    def read(module: nn.Module, args: Any, inputs: dict[str, Any]) -> None:
        sides.clear()
        for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True):
            key = tuple(ids[: sum(mask)])
            sides.append(seen.get(key, 0) % 2)
            seen[key] = seen.get(key, 0) + module.training

    def move(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] * (1 + 0.5 * torch.tensor(sides)[:, None]) if module.training else args[0],)

    model.register_forward_pre_hook(read, with_kwargs=True)
    model.get_submodule("classifier").register_forward_pre_hook(move)
    return model


def test_cutting_a_step_changes_nothing_where_rdrop_has_something_to_pull_together() -> None:
    plain = assert_all_cuts_agree(wobbly, tweaks=[RDrop(alpha=1e-9)], **TOGETHER)
    pulled = assert_all_cuts_agree(wobbly, tweaks=[RDrop(alpha=4.0)], **TOGETHER)
    assert pulled > plain * 1.001


@pytest.mark.parametrize(
    ("task", "targets", "parts"),
    [
        (make("regression"), np.arange(ROWS, dtype=np.float32)[:, None] ** 2, {"objective": Huber(0.5)}),
        (
            make("multi-label-classification", labels=("a", "b", "c")),
            (np.arange(ROWS * 3).reshape(ROWS, 3) % 5 == 0).astype(np.float32),
            {"objective": Focal(), "weighting": ClassWeights("effective", beta=0.9)},
        ),
    ],
    ids=["regression", "multi-label"],
)
def test_cutting_a_step_changes_nothing_for_other_tasks(task: Task, targets: np.ndarray, parts: dict) -> None:
    assert_all_cuts_agree(lambda: tiny("Bert", task.width), task=task, learn=rows(targets), **parts)


OWN_WEIGHTS = np.linspace(0.2, 3.0, ROWS, dtype=np.float32)
OWN_SMOOTHING = np.array([0.0, 0.3] * (ROWS // 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("task", "targets", "parts"),
    [
        (CLASSES, UNEVEN.targets, {}),
        (CLASSES, UNEVEN.targets, {**TOGETHER, "tweaks": [RDrop()]}),
        (
            make("multi-label-classification", labels=("a", "b", "c")),
            (np.arange(ROWS * 3).reshape(ROWS, 3) % 5 == 0).astype(np.float32),
            {"objective": Focal()},
        ),
        (make("regression"), np.arange(ROWS, dtype=np.float32)[:, None] ** 2, {}),
    ],
    ids=["classes", "with all the rest", "multi-label", "regression"],
)
def test_cutting_a_step_changes_nothing_where_rows_have_weights_and_smoothing(
    task: Task, targets: np.ndarray, parts: dict
) -> None:
    learn = replace(rows(targets), weights=OWN_WEIGHTS, smoothing=OWN_SMOOTHING)
    loss = assert_all_cuts_agree(lambda: tiny("Bert", task.width), task=task, learn=learn, **parts)
    plain = assert_all_cuts_agree(lambda: tiny("Bert", task.width), task=task, learn=rows(targets), **parts)
    assert abs(loss - plain) > 3e-4


# -- a case worked out by hand ---------------------------------------------------------------------


class Table(nn.Module):
    """Its first token picks the outputs of a row from a table."""

    def __init__(self, outputs: list[list[float]]):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.tensor(outputs), freeze=False)

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def set_input_embeddings(self, table: nn.Module) -> None:
        self.table = table

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table(input_ids[:, 0]))


@dataclass(frozen=True)
class Given(Weighting):
    weight: tuple[float, ...] = (1.0,)

    def weights(self, task: Task, targets: np.ndarray) -> np.ndarray:
        return np.array(self.weight)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_the_denominator_is_the_sum_of_the_weights(cut: int) -> None:
    """Three rows of label a with p(a) = 1/2, 3/4, 1/4 and weights 3, 1, 2.

    loss: (3 ln 2 + ln 4/3 + 2 ln 4) / 6. Slope of the outputs: weight (p - 1, 1 - p) / 6, so the squared norm is
    2 ((3/2)^2 + (1/4)^2 + (3/2)^2) / 36. A mean over rows would divide by 3, and a mean of micro-batch means
    weighs the row that is alone in its micro-batch more.
    """
    model = Table([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]])
    learn = Data([{"input_ids": [i]} for i in range(3)], np.array([0, 0, 0]))
    task = make("text-classification", labels=("a", "b"))
    loss, norm, _ = step(model, cut, task, learn, weighting=Given((3.0, 1.0, 2.0)))
    assert loss == pytest.approx((3 * math.log(2) + math.log(4 / 3) + 2 * math.log(4)) / 6, abs=1e-6)
    assert norm == pytest.approx(math.sqrt(2 * (1.5**2 + 0.25**2 + 1.5**2)) / 6, rel=1e-5)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_rows_bring_weights_and_smoothing_of_their_own(cut: int) -> None:
    """The rows of above, weighted 3, 1, 2 by themselves and doubled by class; the second believes its label by half.

    Its loss: 1/2 (-ln 3/4) + 1/4 (-ln 3/4 - ln 1/4). The common factor of the weighting is in the denominator, too.
    """
    model = Table([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]])
    own = {"weights": np.array([3, 1, 2], np.float32), "smoothing": np.array([0, 0.5, 0], np.float32)}
    learn = Data([{"input_ids": [i]} for i in range(3)], np.array([0, 0, 0]), **own)
    task = make("text-classification", labels=("a", "b"))
    loss, _, _ = step(model, cut, task, learn, weighting=Given((2.0, 2.0, 2.0)))
    second = 0.5 * math.log(4 / 3) + 0.25 * (math.log(4 / 3) + math.log(4))
    assert loss == pytest.approx((3 * math.log(2) + second + 2 * math.log(4)) / 6, abs=1e-6)


def test_smoothing_a_row_is_what_label_smoothing_is() -> None:
    outputs = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
    share = torch.tensor([0.2, 0.0])
    labels, yes_no = torch.tensor([0, 2]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    for kind, targets in (("cross_entropy", labels), ("binary_cross_entropy", yes_no)):
        plain, soft = Plain(kind).rows(outputs, targets), LabelSmoothing(0.2).rows(outputs, targets)
        found = smoothed_rows(Plain(kind), kind, outputs, targets, share)
        assert torch.allclose(found, torch.stack([soft[0], plain[1]]))
    number, far = torch.tensor([[1.0], [2.0]]), outputs[:, :1]
    whole = Plain("mean_squared_error")
    found = smoothed_rows(whole, "mean_squared_error", far, number, share)
    assert torch.equal(found, whole.rows(far, number))


def test_words_are_smoothed_where_they_have_a_label() -> None:
    outputs_BSC, targets_BS = torch.randn(2, 3, 4), torch.tensor([[1, 2, IGNORE], [0, IGNORE, IGNORE]])
    whole = Plain("word_cross_entropy")
    found = smoothed_rows(whole, "word_cross_entropy", outputs_BSC, targets_BS, torch.tensor([0.3, 0.0]))
    log_p_SC = outputs_BSC[0, :2].log_softmax(-1)
    own = -log_p_SC[[0, 1], [1, 2]].mean()
    assert torch.allclose(found[0], 0.7 * own - 0.3 * log_p_SC.mean())
    assert found[1] == whole.rows(outputs_BSC, targets_BS)[1]


def test_rows_bring_them_along_from_augmentation() -> None:
    """Through the doors that steps use: the rows of a work, encoded."""
    work = tiny_work(train=8, valid=4)
    made = [replace(row, id=f"{row.id}+x", parent=row.id, weight=0.5, smoothing=0.1) for row in work.train[:3]]
    learn, valid = encode_work(replace(work, train=[*work.train, *made]), 32)
    assert learn.weights is not None
    assert learn.weights.tolist() == [1.0] * 8 + [0.5] * 3
    assert learn.smoothing is not None
    assert learn.smoothing.tolist() == pytest.approx([0.0] * 8 + [0.1] * 3)
    assert valid.weights is None
    some = learn.some(np.array([0, 9]))
    assert some.weights is not None
    assert some.weights.tolist() == [1.0, 0.5]


# -- beside another trainer ------------------------------------------------------------------------


def trainer_step(cut: int, folder: Path) -> tuple[float, float]:
    """Loss and gradient norm of the same step by transformers' own Trainer, as it comes."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=ROWS // cut,
        gradient_accumulation_steps=cut,
        max_steps=1,
        learning_rate=0.0,
        max_grad_norm=1e9,
        logging_steps=1,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    learn = [{**row, "labels": int(y)} for row, y in zip(UNEVEN.encoded, UNEVEN.targets, strict=True)]

    def together(features: list[dict[str, Any]]) -> dict[str, Tensor]:
        made = loop.collate([{"input_ids": f["input_ids"]} for f in features], PAD)
        return made | {"labels": torch.tensor([f["labels"] for f in features])}

    trainer = Trainer(model=tiny("Bert"), args=arguments, train_dataset=learn, data_collator=together)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    first = trainer.state.log_history[0]
    return first["loss"], first["grad_norm"]


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="transformers' Trainer needs accelerate")
def test_beside_the_common_trainer(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """transformers 5.23 gives 4 times the loss and norm for 4 micro-batches; another version may have mended it."""
    whole, cut = (trainer_step(n, tmp_path) for n in (1, 4))
    ours_whole, ours_cut = step(tiny("Bert")), step(tiny("Bert"), 4)
    theirs = tuple(b / a for a, b in zip(whole, cut, strict=True))
    ours = tuple(b / a for a, b in zip(ours_whole[:2], ours_cut[:2], strict=True))
    said = f"4 x 4 against 16 x 1, loss and norm: Trainer of {transformers.__version__} {theirs}, burnish {ours}"
    record_property("accumulation", said)
    assert whole[0] == pytest.approx(ours_whole[0], rel=1e-3), said  # uncut, the two do agree
    assert ours == pytest.approx((1, 1), rel=1e-4), said


def test_the_models_are_still() -> None:
    """Without this the promise would be tested against luck: in train mode, twice the same outputs."""
    assert len(FAMILIES) >= 10
    for family in FAMILIES:
        model = tiny(family).train()
        ids = torch.tensor([[2, 7, 9, 3]])
        with torch.no_grad():
            assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits), family
