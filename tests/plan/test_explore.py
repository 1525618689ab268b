"""The search over shapes: what goes on, what the time allows, and a real one on the tiny model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from burnish import api, runs
from burnish.errors import DataError, UsageError
from burnish.plan import explore, gather
from burnish.plan.budget import Budget
from burnish.report.verify import verify

SETTINGS = {"epochs": "3", "lr": "2e-3", "precision": "fp32"}


def facts(size: float, ms: float, drop: float) -> dict[str, Any]:
    return {"size_bytes": size, "p50_ms": ms, "p95_ms": 1.5 * ms, "drop": {"value": drop, "high": drop + 2}}


MEASURED = {
    "large": facts(20e6, 4.0, 0.5),
    "middle": facts(10e6, 2.0, 3.0),
    "small": facts(5e6, 1.0, 6.0),
    "tiny": facts(2e6, 0.4, 20.0),
}


def test_the_cheapest_that_may_come_within_the_limit_go_on_and_the_best_of_the_rest() -> None:
    kept = explore.going_on(MEASURED, Budget(max_drop=1.0), 3, 8.0)
    assert kept == {"small", "middle", "large"}
    assert explore.going_on(MEASURED, Budget(max_drop=1.0), 2, 8.0) == {"small", "large"}


def test_what_is_too_large_or_too_slow_leaves_whatever_its_quality() -> None:
    assert explore.going_on(MEASURED, Budget(max_drop=1.0, max_size=6_000_000), 3, 8.0) == {"small", "tiny"}
    assert explore.going_on(MEASURED, Budget(max_drop=1.0, max_p95_ms=1.0), 2, 8.0) == {"tiny"}


def test_where_nothing_fits_the_nearest_go_on() -> None:
    kept = explore.going_on(MEASURED, Budget(max_drop=30.0, max_size=1_000_000), 2, 8.0)
    assert kept == {"tiny", "small"}


@pytest.mark.parametrize("layers", [2, 3, 6, 12])
def test_shapes_are_different_alone_and_together(layers: int) -> None:
    found = explore.shapes(layers)
    assert len({shape.name for shape in found}) == len(found) >= 3
    steps = {tuple(use.name for use in shape.uses) for shape in found}
    alone = {("compress/distill",), ("compress/prune_units",)}
    assert steps == alone | {("compress/distill", "compress/prune_units")}


def test_more_time_buys_more_epochs_and_the_forecast_fits_it() -> None:
    found = explore.shapes(6)
    given = [explore.epochs_for(seconds, 20.0, found, extra=10.0) for seconds in (60, 600, 1200, 2400)]
    assert given == sorted(given)
    assert given[0] == 1
    assert (
        explore.forecast_of(given[2], 20.0, found, extra=10.0)
        <= 1200
        < explore.forecast_of(given[2] + 1, 20.0, found, extra=10.0)
    )


@pytest.fixture(scope="module")
def tuned(tiny_csv: Path, tiny_folder: Path, tmp_path_factory) -> api.Run:
    return api.fit(
        str(tiny_csv), model=str(tiny_folder), out=tmp_path_factory.mktemp("runs") / "a", time=60, max_drop=100,
        recipe="int8", settings=SETTINGS,
    )  # fmt: skip


def test_compress_searches_from_the_tuned_model(tuned: api.Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gather, "EXPLORE_FROM", 60.0)
    monkeypatch.setattr(gather, "CANDIDATE_SECONDS", 20.0)
    monkeypatch.setattr(explore, "ENDS", explore.ENDS[:2])
    request = api.compress_request(tuned.folder, max_drop=100, time=90)
    planned = api.compress_plan(tuned.folder, request, tmp_path / "b")
    assert planned["search"]["epochs"] >= 1
    assert len(planned["search"]["shapes"]) == len(explore.shapes(2))
    made = api.compress_run(tuned.folder, request, tmp_path / "b")
    assert made.result["reference"]["steps"] == ["tune/finetune"]
    assert made.result["reference"]["test"] == tuned.result["reference"]["test"]
    names = {step for c in made.result["candidates"] for step in c["steps"]}
    assert {"compress/distill", "compress/prune_units", "compress/vocabulary"} <= names
    assert runs.read_json(made.folder / "explore.json")["epochs"] >= 1
    assert verify(made.folder) == []
    assert made.result["chosen"]["size_bytes"] < tuned.result["reference"]["size_bytes"]


def test_compress_does_not_tune(tuned: api.Run) -> None:
    with pytest.raises(UsageError, match="tuned"):
        api.compress_request(tuned.folder, steps=("tune/lora",))


def test_compress_needs_a_finished_run(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    runs.write_json(tmp_path / "half" / "request.json", {})
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "compress", str(tmp_path / "half")], capture_output=True, text=True
    )
    assert done.returncode == DataError.exit_code
    assert "not a finished run" in done.stderr
