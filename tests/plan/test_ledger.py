"""The ledger: effects alone and in company, on a real run of the tiny model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish import api, runs
from burnish.cli.ledger import _lines
from burnish.errors import DataError, UsageError
from burnish.measure.effects import Effect, interaction, verdict
from burnish.measure.intervals import Drop, Estimate
from burnish.plan import ledger as ledgers
from burnish.tasks import make

SAME = Estimate(1.0, 0.95, 1.05)


def effect(lost: float = 0.0, p: float = 1.0, size: float = 1.0, speed: Estimate = SAME) -> Effect:
    return Effect(Drop(lost, lost - 1, lost + 1, p), size, speed, speed, 1.0, p)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (effect(), "cannot tell"),
        (effect(size=0.26), "helps"),
        (effect(speed=Estimate(1.5, 1.3, 1.7)), "helps"),
        (effect(lost=3.0, p=0.001), "hurts"),
        (effect(lost=3.0, p=0.001, size=0.5), "hurts"),
        (effect(lost=0.8, p=0.01, size=0.5), "helps"),
        (effect(lost=-2.0, p=0.001), "helps"),
        (effect(speed=Estimate(0.7, 0.6, 0.8)), "hurts"),
        (effect(lost=5.0, p=0.3), "cannot tell"),
    ],
)
def test_a_verdict_needs_evidence(one: Effect, said: str) -> None:
    assert verdict(one, 1.0)[0] == said


def test_no_interaction_where_effects_add_up() -> None:
    """Two techniques that each break rows of their own cost in company what they cost alone."""
    task, targets = make("text-classification", labels=("a", "b")), np.zeros(400, dtype=int)

    def breaking(*rows: range) -> np.ndarray:
        outputs = np.tile(np.array([1.0, 0.0], np.float32), (400, 1))
        for i in (i for part in rows for i in part):
            outputs[i] = (0.0, 1.0)
        return outputs

    mine, other = range(20), range(20, 60)
    added = interaction(task, targets, breaking(), breaking(mine), breaking(other), breaking(mine, other))
    assert added.value == pytest.approx(0)
    assert added.low <= 0 <= added.high
    worse = interaction(task, targets, breaking(), breaking(), breaking(other), breaking(mine, other))
    assert worse.value == pytest.approx(5.0)
    assert worse.low > 0


@pytest.fixture(scope="module")
def made(tiny_csv: Path, tiny_folder: Path, tmp_path_factory) -> api.Run:
    settings = {"epochs": "2", "lr": "2e-3", "precision": "fp32"}
    return api.fit(
        str(tiny_csv), model=str(tiny_folder), out=tmp_path_factory.mktemp("runs") / "a", time=60, max_drop=100,
        recipe="vocabulary-int8", settings=settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(made: api.Run) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledgers, "RACE_SECONDS", 1.0)
        return api.ledger(made.folder)


def test_every_technique_of_the_chosen_model_gets_its_line(made: api.Run, found: dict[str, Any]) -> None:
    assert found == runs.read_json(made.folder / "ledger.json")
    assert [t["technique"] for t in found["techniques"]] == ["compress/vocabulary", "compress/int8"]
    int8 = found["techniques"][1]
    assert int8["alone"]["size_ratio"] < 0.8
    assert int8["verdict"] == "helps"
    assert found["comparisons"] == 4
    assert 0 < found["smallest_visible_drop"] < 100
    page = made.report().read_text("utf-8")
    assert "What each technique gave" in page
    assert "compress/vocabulary" in page


def test_the_command_prints_the_table(found: dict[str, Any]) -> None:
    text = "\n".join(_lines(found))
    assert "added alone" in text
    assert "validation rows can show a loss of" in text


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    runs.write_json(tmp_path / "half" / "request.json", {})
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "ledger", str(tmp_path / "half")], capture_output=True, text=True
    )
    assert done.returncode == DataError.exit_code
    assert "not a finished run" in done.stderr


def test_without_techniques_there_is_no_ledger(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    settings = {"epochs": "1", "precision": "fp32"}
    made = api.fit(
        str(tiny_csv), model=str(tiny_folder), out=tmp_path / "run", time=30, recipe="tuned", settings=settings
    )  # fmt: skip
    with pytest.raises(UsageError, match="tuned one as it is"):
        api.ledger(made.folder)
