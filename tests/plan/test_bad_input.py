"""What cannot work says so before the work starts: what was given, what was expected, what to try."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from burnish import api, runs
from burnish.errors import DataError, Missing, UsageError


def fit(data, model, out, **more):
    return api.fit(str(data), model=str(model), out=out, **more)


def test_a_folder_that_is_no_model(tiny_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"config\.json"):
        fit(tiny_csv, tmp_path / "empty", tmp_path / "run")


def test_weights_as_pickle_are_refused_with_the_way_to_convert(
    tiny_csv: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "model"
    bad.mkdir()
    for path in tiny_folder.iterdir():
        if path.suffix != ".safetensors":
            (bad / path.name).write_bytes(path.read_bytes())
    (bad / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(UsageError, match="pickle") as caught:
        fit(tiny_csv, bad, tmp_path / "run")
    assert "save_pretrained" in str(caught.value)


def test_a_head_that_does_not_fit_is_refused_and_can_be_replaced(tiny_csv: Path, tmp_path: Path) -> None:
    from burnish import models
    from burnish.tasks import make
    from tests.tiny import tiny_model, tiny_tokenizer

    model = tiny_model(labels=5)
    model.config.architectures = ["BertForSequenceClassification"]
    models.save(model, tiny_tokenizer(), tmp_path / "model")
    with pytest.raises(UsageError, match="5 outputs"):
        fit(tiny_csv, tmp_path / "model", tmp_path / "run")
    made, _ = models.load(str(tmp_path / "model"), make("text-classification", ("a", "b")), seed=0, new_head=True)
    assert made.config.num_labels == 2


def test_a_column_that_is_not_there_offers_the_nearest(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label"):
        fit(tiny_csv, tiny_folder, tmp_path / "run", target="labl")


def test_labels_that_training_never_saw(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "test.csv"
    other.write_text("text,label\na film,maybe\nanother film,neg\n")
    with pytest.raises(DataError, match="maybe"):
        fit(tiny_csv, tiny_folder, tmp_path / "run", test=str(other))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"text,label\n" + b"a,x\nb,x\n" * 20, "two different"),
        (b"text,label\na,b,c,d\ne,f\n", "field"),
        (b"text,label\n\xff\xfe\x00,a\n", "UTF-8"),
    ],
)
def test_files_that_cannot_be_learned_from(content: bytes, word: str, tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=word):
        fit(path, tiny_folder, tmp_path / "run")


def test_a_recipe_with_an_unknown_key_names_the_line(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("steps:\n  - use: compress/int8\n    embedings: true\n")
    with pytest.raises(UsageError, match=r"mine\.yaml:3"):
        fit(tiny_csv, tiny_folder, tmp_path / "run", recipe=str(tmp_path / "mine.yaml"))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("three years of work")
    with pytest.raises(UsageError, match="not a burnish run"):
        fit(tiny_csv, tiny_folder, tmp_path / "run")
    assert (tmp_path / "run" / "thesis.txt").read_text() == "three years of work"


def test_a_half_written_run_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    runs.write_json(tmp_path / "half" / "request.json", {})
    with pytest.raises(DataError, match="same `burnish fit` command"):
        api.Run(tmp_path / "half")


def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path: Path, monkeypatch) -> None:
    runs.write_text(tmp_path / "a.json", "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(Missing, match="disk is full"):
        runs.write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_really_full_disk_ends_a_fit_with_code_4(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """A file-size limit is the closest to a full disk that needs no mount: writes fail in the middle."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        f"from burnish.cli import main; sys.argv = ['burnish', 'fit', {str(tiny_csv)!r},"
        f"'--model', {str(tiny_folder)!r},"
        f"'--out', {str(tmp_path / 'run')!r}, '--recipe', 'int8', '--set', 'epochs=1', '--quiet']; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_run_that_another_process_works_on_is_left_alone(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(UsageError, match="another process works on"):
        fit(tiny_csv, tiny_folder, tmp_path / "run")
    holder.communicate("done")


HOLDER = """
import sys
from pathlib import Path
from burnish import runs
folder = Path(sys.argv[1])
folder.mkdir()
with runs.held(folder):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_half_written_is_swept(tmp_path: Path) -> None:
    for left in ("works/.abc.torch-fp32.x1", "works/.abc.tmp"):
        (tmp_path / left).mkdir(parents=True)
        (tmp_path / left / "model.onnx").write_bytes(b"half")
    (tmp_path / ".result.json.x.tmp").write_bytes(b"half")
    (tmp_path / "works" / "abc").mkdir()
    (tmp_path / "result.json").write_text("{}")
    runs.sweep(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["result.json", "works", "works/abc"]
