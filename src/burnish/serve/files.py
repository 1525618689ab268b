"""Files of an artifact: inside the folder only, hashed, never a pickle, and replaced whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from burnish.errors import DataError, problem
from burnish.runs import disk_errors, sync_folder
from burnish.words import say

__all__ = ["inside", "refuse_pickles", "replaced_folder"]

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`. Raises DataError when it is absent, a link, or anywhere else."""
    path = folder / name
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()) or path.is_symlink():
        given = say("{path} leads out of the artifact", path=path)
        raise DataError(problem(given, say("a plain file inside {folder}", folder=folder), _again()))
    if not real.is_file():
        given = say("{path} is not there", path=path)
        raise DataError(problem(given, say("a whole artifact"), _again()))
    return path


def refuse_pickles(folder: Path) -> None:
    """Raises DataError when a file below `folder` is of a kind that can run code while it is read.

    `.bin` is the weights of an OpenVINO model when the `.xml` is beside it, and a pickle otherwise.
    """
    for path in folder.rglob("*"):
        bare = path.suffix == ".bin" and not path.with_suffix(".xml").exists()
        if path.suffix in PICKLES or bare:
            given = say("{path} may be a pickle, which can run code while it is read", path=path)
            hint = say("convert it to safetensors where you trust it, and take it out of the folder")
            raise DataError(problem(given, say("safetensors, ONNX and JSON only"), hint))


def _again() -> str:
    return say("copy the artifact again, or give the same `burnish fit` command again")


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to fill; on a clean exit it takes the place of `folder`, else it is removed.

    All files are on disk before the rename. Raises Missing when the disk is full; the old folder is then still there.
    """
    folder = folder.absolute()
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            yield made
            made.chmod(0o755)
            _to_disk(made)
            _swap(made, folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise


def _to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _swap(made: Path, folder: Path) -> None:
    """A folder cannot be renamed over a full one, so the old one steps aside for a moment."""
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
    if folder.exists():
        folder.rename(old / folder.name)
    made.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
