"""Made-up runs, built once: finished ones of every kind are read by many tests and changed by none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.report.page import write
from tests.report.fake_run import Scene, make, write_manifest

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A finished run of a scene, with manifest and report; not to be written to."""
    made: dict[Scene, Path] = {}

    def build(**scene: object) -> Path:
        wanted = Scene(**scene)  # type: ignore[arg-type]
        if wanted not in made:
            folder = make(tmp_path_factory.mktemp("runs") / "reviews", wanted)
            write_manifest(folder)
            write(folder)
            made[wanted] = folder
        return made[wanted]

    return build


@pytest.fixture
def own_run(run_of: Build, tmp_path: Path) -> Path:
    """A copy of a small run that a test may damage."""
    return copy_run(run_of(rows=60, max_size=30_000, shrink=1000), tmp_path / "reviews")


def copy_run(run: Path, to: Path) -> Path:
    """Copy all but the weights, which are linked: they are large and few tests touch them."""

    def copy(source: str, target: str) -> None:
        path = Path(source)
        if path.name == "model.onnx":
            Path(target).hardlink_to(path)
        else:
            shutil.copyfile(source, target)

    shutil.copytree(run, to, copy_function=copy)
    return to
