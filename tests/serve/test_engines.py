"""Every engine answers what torch answers, for every family, at any batch and length."""

import subprocess
import sys

import numpy as np
import pytest

from burnish.errors import DataError, Missing, UsageError
from burnish.serve.engines import collate, engine, input_names, names, onnx
from burnish.serve.predict import outputs_of
from tests.tiny import tiny_model, tiny_tokenizer, tiny_work

SHAPES = [(1, 1), (1, 5), (3, 1), (2, 9), (5, 64)]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def bert():
    return tiny_model(labels=3)


def distilbert():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        vocab_size=120, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64, num_labels=3
    )
    return DistilBertForSequenceClassification(config)


def roberta():
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(
        vocab_size=120, **SMALL, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, num_labels=3
    )
    return RobertaForSequenceClassification(config)


def electra():
    from transformers import ElectraConfig, ElectraForSequenceClassification

    config = ElectraConfig(vocab_size=120, embedding_size=16, **SMALL, max_position_embeddings=64, num_labels=3)
    return ElectraForSequenceClassification(config)


def made(family):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = family().eval()
        for parameter in model.parameters():
            parameter.data *= 3  # outputs far enough apart that a lost token shows
    return model


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """`built(family, engine, precision)` -> (model, folder); each is built once, since an export takes seconds."""
    kept, models, programs, export = {}, {}, {}, onnx.export

    def export_once(model, tokenizer, *, max_length):
        if id(model) not in programs:
            programs[id(model)] = export(model, tokenizer, max_length=max_length)
        return programs[id(model)]

    def build(family, name, precision="fp32"):
        lack = engine(name, needed=False).available()
        if lack:
            pytest.skip(lack)
        if (family, name, precision) not in kept:
            model, folder = models.setdefault(family, made(family)), tmp_path_factory.mktemp(name)
            model.config.save_pretrained(folder)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(onnx, "export", export_once)
                engine(name).build(model, tiny_tokenizer(), folder, precision=precision, max_length=64)
            kept[family, name, precision] = model, folder
        return kept[family, name, precision]

    return build


def rows_of(inputs, shape, seed=0):
    """`shape` = (rows, longest); lengths fall from the longest, so that all but the first are padded in a batch."""
    rng = np.random.default_rng(seed)
    lengths = [max(1, shape[1] - 7 * n) for n in range(shape[0])]
    columns = {"input_ids": lambda n: rng.integers(5, 90, n), "attention_mask": np.ones, "token_type_ids": np.zeros}
    return [{name: np.asarray(columns[name](n)).astype(np.int64) for name in inputs} for n in lengths]


def torch_outputs(model, batch):
    import torch

    with torch.inference_mode():
        return model(**{name: torch.from_numpy(ids) for name, ids in batch.items()}).logits.float().numpy()


@pytest.mark.parametrize("family", [bert, distilbert, roberta, electra])
def test_onnx_equals_torch_for_every_family_alone_and_padded(family, built):
    model, folder = built(family, "onnx")
    inputs, pad_id = input_names(model, tiny_tokenizer()), model.config.pad_token_id
    assert ("token_type_ids" in inputs) == (family in (bert, electra))
    predictor = engine("onnx").load(folder, threads=1)
    for shape in SHAPES:
        rows = rows_of(inputs, shape)
        batch = collate(rows, pad_id)
        np.testing.assert_allclose(predictor(batch), torch_outputs(model, batch), atol=1e-5)
        alone = np.concatenate([predictor(collate([row], pad_id)) for row in rows])
        np.testing.assert_allclose(alone, predictor(batch), atol=1e-5)


@pytest.mark.parametrize(("name", "precision", "near"), [
    ("torch", "fp32", 1e-6), ("torch", "bf16", 0.1), ("openvino", "fp32", 1e-5), ("openvino", "bf16", 0.1),
])  # fmt: skip
def test_the_other_engines_equal_torch(name, precision, near, built):
    model, folder = built(bert, name, precision)
    predictor = engine(name).load(folder, threads=1)
    for shape in SHAPES:
        batch = collate(rows_of(input_names(model, tiny_tokenizer()), shape), 0)
        gap = np.abs(predictor(batch) - torch_outputs(model, batch)).max()
        assert gap < near
        assert (precision == "fp32") or gap > 0  # bf16 that changes nothing is not bf16


def test_int8_computes_the_same_as_the_torch_model_it_was_made_of(int8):
    import random

    from burnish.compress.int8 import Int8

    model = Int8(smallest=16)(tiny_work(), random.Random(0)).model
    predictor = engine("onnx").load(int8, threads=1)
    for row in rows_of(["input_ids", "attention_mask", "token_type_ids"], (9, 64)):
        batch = collate([row], 0)
        np.testing.assert_allclose(predictor(batch), torch_outputs(model, batch), atol=2e-4)


def test_one_thread_or_two_give_the_same_bits(int8):
    one, two = engine("onnx").load(int8, threads=1), engine("onnx").load(int8, threads=2)
    for row in rows_of(["input_ids", "attention_mask", "token_type_ids"], (9, 64)):
        assert (one(collate([row], 0)) == two(collate([row], 0))).all()


@pytest.mark.parametrize("name", names())
def test_an_engine_called_by_many_threads_gives_each_its_own_answer(name, built):
    model, folder = built(bert, name)
    rows = rows_of(input_names(model, tiny_tokenizer()), (9, 64)) * 8
    predictor = engine(name).load(folder, threads=1, callers=4)
    one = outputs_of(predictor, rows, alone=True, workers=1, max_tokens=64)
    four = outputs_of(predictor, rows, alone=True, workers=4, max_tokens=64)
    assert (one == four).all()
    assert len(np.unique(one[:9], axis=0)) == 9


def test_building_twice_gives_the_same_file_leaves_the_model_alone_and_says_nothing(built, tmp_path, capfd):
    model, folder = built(bert, "onnx")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    capfd.readouterr()
    assert engine("onnx").build(model, tiny_tokenizer(), tmp_path, precision="fp32", max_length=64) == ["model.onnx"]
    assert capfd.readouterr() == ("", "")
    assert all((before[name] == tensor).all() for name, tensor in model.state_dict().items())
    content = (tmp_path / "model.onnx").read_bytes()
    assert content == (folder / "model.onnx").read_bytes()
    assert b"/src/burnish" not in content  # nor folders of this machine


def test_float_layers_cannot_be_called_int8(tmp_path):
    with pytest.raises(UsageError, match="layers are fp32, the artifact is to be int8"):
        engine("onnx").build(tiny_model(), tiny_tokenizer(), tmp_path, precision="int8", max_length=64)


def test_torch_refuses_a_model_that_plain_transformers_could_not_load(tmp_path):
    import random

    from burnish.compress.int8 import Int8

    model = Int8(smallest=16)(tiny_work(), random.Random(0)).model
    with pytest.raises(UsageError, match="rebuilt by compress/int8"):
        engine("torch").build(model, tiny_tokenizer(), tmp_path, precision="fp32", max_length=64)


def test_a_model_that_cannot_be_exported_is_named(tmp_path, monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(type(model), "forward", lambda self, input_ids: input_ids.numpy().tolist())
    with pytest.raises(UsageError, match=r"\(bert\) cannot be exported"):
        engine("onnx").build(model, tiny_tokenizer(), tmp_path, precision="fp32", max_length=64)


def test_an_unknown_engine_gets_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'onnx'"):
        engine("onx")


def test_an_engine_that_is_not_installed_gives_the_install_line(monkeypatch):
    monkeypatch.setattr(engine("openvino", needed=False), "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"pip install 'burnish\[openvino\]'"):
        engine("openvino")


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_damaged_model_file_is_named(name, tmp_path):
    if engine(name, needed=False).available():
        pytest.skip(engine(name, needed=False).available())
    for file in ("model.onnx", "openvino_model.xml", "openvino_model.bin"):
        (tmp_path / file).write_bytes(b"not a model")
    with pytest.raises(DataError, match="cannot be loaded"):
        engine(name).load(tmp_path, threads=1)


def test_a_model_file_that_is_a_link_is_refused(int8, tmp_path):
    (tmp_path / "model.onnx").symlink_to(int8 / "model.onnx")
    with pytest.raises(DataError, match="leads out of the artifact"):
        engine("onnx").load(tmp_path, threads=1)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_serving_imports_neither_torch_nor_transformers(name, built):
    _, folder = built(bert, name)
    code = f"""
import sys
from pathlib import Path
import numpy as np
from burnish.serve import app, parity
from burnish.serve.engines import engine, example
inputs = ["input_ids", "attention_mask", "token_type_ids"]
assert engine({name!r}).load(Path({str(folder)!r}), threads=1)(example(inputs)).shape == (2, 3)
heavy = {{"torch", "transformers", "sklearn", "scipy", "pandas", "onnx"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
