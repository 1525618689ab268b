"""An artifact is whole or refused, and replaced whole or not at all."""

import json
import shutil

import numpy as np
import pytest

from burnish.errors import DataError, Missing, UsageError
from burnish.serve import artifact, files
from burnish.serve.artifact import artifact_folder, read_artifact, served_bytes, update_measured, write_artifact
from burnish.serve.predict import Local
from tests.serve.conftest import MAX_LENGTH
from tests.tiny import tiny_work


@pytest.fixture
def copied(int8, tmp_path):
    return shutil.copytree(int8, tmp_path / "artifact")


def write(folder, **changes):
    work = tiny_work()
    wanted = {
        "model": work.model, "tokenizer": work.tokenizer, "task": work.task, "engine": "torch", "precision": "fp32",
        "max_length": MAX_LENGTH, "rows_for_golden": work.valid, "base_model": "tiny", "measured": {},
    }  # fmt: skip
    return write_artifact(folder, **{**wanted, **changes})


def test_it_says_what_it_is(int8):
    facts = read_artifact(int8)
    assert facts["schema_version"] == 1
    assert (facts["engine"], facts["precision"], facts["alone"]) == ("onnx", "int8", True)
    assert facts["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert facts["task"]["labels"] == ["neg", "pos"]
    assert set(facts["files"]) == {"model.onnx", "tokenizer.json", "tokenizer_config.json", "config.json"}
    assert {"python", "onnxruntime", "tokenizers"} <= set(facts["versions"])
    assert len(facts["golden"]) == 4


def test_what_company_could_change_is_never_batched(int8, plain, tmp_path):
    assert read_artifact(int8)["alone"] is True
    assert read_artifact(plain)["alone"] is False
    assert write(tmp_path / "artifact", precision="bf16")["alone"] is True


def test_plain_transformers_loads_a_torch_artifact_with_its_labels(plain):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(plain).eval()
    assert model.config.id2label == {0: "neg", 1: "pos"}
    batch = AutoTokenizer.from_pretrained(plain)("a good film", return_tensors="pt")
    with torch.inference_mode():
        expected = model(**batch).logits.numpy()
    np.testing.assert_allclose(Local(plain).outputs(["a good film"]), expected, atol=1e-6)


def test_the_model_given_keeps_its_own_label_names(tmp_path):
    work = tiny_work()
    before = dict(work.model.config.id2label)
    write(tmp_path / "artifact", model=work.model)
    assert work.model.config.id2label == before


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "tokenizer_config.json"])
def test_one_changed_bit_in_any_file_is_found_and_the_file_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is damaged"):
        Local(copied)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_is_cut_gone_or_a_link_is_found(copied, int8, name):
    (copied / name).write_bytes((copied / name).read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        read_artifact(copied)
    (copied / name).unlink()
    with pytest.raises(DataError, match="is not there"):
        read_artifact(copied)
    (copied / name).symlink_to(int8 / name)
    with pytest.raises(DataError, match="leads out"):
        read_artifact(copied)


def test_a_manifest_that_points_outside_is_refused(copied, tmp_path):
    (tmp_path / "secret").write_text("x")
    facts = json.loads((copied / "burnish.json").read_text())
    facts["files"]["../secret"] = "0" * 64
    (copied / "burnish.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="leads out"):
        read_artifact(copied)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "sub/optimizer.pkl", "state.npy"])
def test_a_pickle_is_refused_even_when_nothing_would_read_it(copied, name):
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="may be a pickle"):
        read_artifact(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"alone": "yes"}, "no usable alone"),
        ({"files": None}, "no usable files"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(copied, change, says):
    facts = json.loads((copied / "burnish.json").read_text())
    (copied / "burnish.json").write_text(json.dumps({**facts, **change}))
    with pytest.raises(DataError, match=says):
        read_artifact(copied)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_manifest_that_is_no_manifest_is_refused(copied, content):
    (copied / "burnish.json").write_text(content)
    with pytest.raises(DataError):
        read_artifact(copied)


def test_a_folder_without_one_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match="burnish fit"):
        read_artifact(tmp_path)


def test_a_run_folder_will_do(copied):
    assert artifact_folder(copied.parent) == copied


def test_the_size_that_counts_is_that_of_the_files_it_needs(copied):
    before = served_bytes(copied)
    (copied / "README.md").write_text("a card " * 1000)
    assert served_bytes(copied) == before
    assert before == sum((copied / n).stat().st_size for n in [*read_artifact(copied)["files"], "burnish.json"])


def test_measured_numbers_can_be_added_later(copied):
    before = read_artifact(copied)
    update_measured(copied, {"p50_ms": 2.5})
    assert read_artifact(copied) == {**before, "measured": {"p50_ms": 2.5}}


def test_a_failed_write_leaves_the_old_artifact_and_no_litter(plain, tmp_path, monkeypatch):
    folder = shutil.copytree(plain, tmp_path / "artifact")
    for broken in (OSError(28, "No space left on device"), RuntimeError("killed")):

        def fail(path, value, broken=broken):
            raise broken

        with monkeypatch.context() as patched:
            patched.setattr(artifact, "write_json", fail)
            with pytest.raises((Missing, RuntimeError)):
                write(folder)
        assert [p.name for p in tmp_path.iterdir()] == ["artifact"]
        assert read_artifact(folder) == read_artifact(plain)


def test_a_second_write_replaces_the_whole_folder(tmp_path):
    folder = tmp_path / "artifact"
    write(folder)
    (folder / "left-over.json").write_text("{}")
    write(folder, precision="bf16")
    assert read_artifact(folder)["precision"] == "bf16"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]
    assert not (folder / "left-over.json").exists()


def test_nan_in_the_golden_rows_stops_the_build(tmp_path):
    work = tiny_work()
    work.model.classifier.bias.data[0] = float("nan")
    with pytest.raises(UsageError, match="nan or infinity"):
        write(tmp_path / "artifact", model=work.model)


@pytest.mark.parametrize("change", [{"precision": "int4"}, {"precision": "int8"}, {"engine": "tensorrt"}])
def test_a_precision_or_engine_that_is_not_there_is_refused(tmp_path, change):
    with pytest.raises(UsageError, match="one of"):
        write(tmp_path / "artifact", **change)


def test_a_name_that_only_begins_like_the_folder_is_outside(tmp_path):
    (tmp_path / "art").mkdir()
    (tmp_path / "art-x").mkdir()
    (tmp_path / "art-x" / "f").write_text("")
    with pytest.raises(DataError):
        files.inside(tmp_path / "art", "../art-x/f")
