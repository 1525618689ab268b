"""Augmentation inside a fit: rows are made before tuning, compared at equal steps, and left out unless they help."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from burnish import api, runs
from burnish.errors import UsageError
from burnish.plan import effect, fit
from burnish.plan.reopen import reopen
from burnish.plan.request import augmenting, recipes_for
from burnish.recipe import load
from burnish.report.augmentation import augmentation
from burnish.report.files import Files
from burnish.report.table import summary_lines
from burnish.report.verify import verify

SETTINGS = {"epochs": "3", "lr": "3e-3", "precision": "fp32", "doctor": "off"}
AEDA = "augment/aeda:ratio=0.5"


def fitted(data: Path, model: Path, out: Path, *steps: str, **more) -> api.Run:
    usual = {"time": 120.0, "max_drop": 100.0, "settings": SETTINGS}
    return api.fit(str(data), model=str(model), out=out, steps=steps, **{**usual, **more})


@pytest.fixture(scope="module")
def kept(tiny_csv: Path, tiny_folder: Path, tmp_path_factory) -> api.Run:
    out = tmp_path_factory.mktemp("kept") / "run"
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(fit, "RACE_LEAST", 2.0)
        quick.setattr(fit, "RACE_SHARE", 0.01)
        return fitted(tiny_csv, tiny_folder, out, AEDA, "compress/int8", augment_anyway=True)


@pytest.fixture(scope="module")
def tuned(tiny_csv: Path, tiny_folder: Path, tmp_path_factory) -> Path:
    """`burnish tune`, where the time allows three pairs; the rows are too easy for augmentation to help."""
    request = api.open_request(str(tiny_csv), model=str(tiny_folder), steps=(AEDA,), settings=SETTINGS)
    api.tune(request, tmp_path_factory.mktemp("tuned") / "run")
    return tmp_path_factory.getbasetemp() / "tuned0" / "run"


def test_rows_are_made_before_tuning_of_the_training_rows_alone(kept: api.Run) -> None:
    first = kept.records[0]
    second = next(r for r in kept.records if r.step == "tune/finetune" and r.parent == first.key)
    assert first.step == "augment/aeda"
    assert kept.result["reference"]["steps"] == ["augment/aeda", "tune/finetune"]
    made = runs.read_rows(kept.folder / "works" / second.key / "train.jsonl")
    own = {row.id for row in runs.read_rows(kept.folder / "rows" / "train.jsonl")}
    assert len(made) == len(own) + round(0.5 * len(own))
    assert {row.parent for row in made if row.parent} <= own


def test_what_is_asked_for_is_kept_and_the_answer_says_so_everywhere(kept: api.Run) -> None:
    told = kept.result["augmentation"]
    assert told == runs.read_json(kept.folder / effect.FILE)
    assert told["kept"]
    assert told["seeds"] >= 1
    assert any(told["told"] in line for line in summary_lines(kept.folder))
    page = (kept.folder / "report.html").read_text("utf-8")
    assert 'id="augmentation"' in page
    assert "optimizer steps were planned for each arm" in page
    assert len(augmentation(Files(kept.folder))) == 3


def test_both_arms_have_the_same_steps(kept: api.Run) -> None:
    told = kept.result["augmentation"]
    for one in told["arms_by_seed"]:
        assert one["steps"]["plain"] == one["steps"]["with"] == told["optimizer_steps"]
    with_, plain = (r for r in kept.records if r.step == "tune/finetune")
    assert {**with_.settings} == {**plain.settings}


def test_the_gain_can_be_counted_again_and_a_changed_one_is_found(kept: api.Run, tmp_path: Path) -> None:
    assert verify(kept.folder) == []
    copy = tmp_path / "copy"
    shutil.copytree(kept.folder, copy)
    for name, place in (("augment.json", ()), ("result.json", ("augmentation",))):
        facts = runs.read_json(copy / name)
        inner = facts[place[0]] if place else facts
        inner["gain"]["value"] += 1.0
        runs.write_json(copy / name, facts)
    assert any("gain.value" in sentence for sentence in verify(copy))


def test_the_recipe_of_the_run_makes_the_same_rows_again(kept: api.Run) -> None:
    names = [use.name for use in load(kept.folder / "recipe.yaml").uses]
    assert names[:2] == ["augment/aeda", "tune/finetune"]


def test_a_run_with_augmentation_can_be_opened_again(kept: api.Run) -> None:
    opened = reopen(kept.folder)
    assert opened.reference.steps == ("augment/aeda", "tune/finetune")
    assert all(not use.name.startswith("augment/") for use in opened.uses)
    assert len(opened.ground.work.train) == kept.result["rows"]["train"]
    assert len(opened.reference.work.train) > len(opened.ground.work.train)


def test_what_does_not_help_is_left_out(tuned: Path) -> None:
    told = runs.read_json(tuned / "tune.json")["augmentation"]
    assert told["seeds"] == effect.SEEDS
    assert len(told["gain"]["by_seed"]) == effect.SEEDS
    assert told["kept"] is (told["gain"]["low"] > 0)
    assert told["verdict"] in ("cannot tell", "hurts")
    assert "left out" in told["told"]
    records = runs.read_records(tuned)
    plain = next(r for r in records if r.step == "tune/finetune" and r.parent not in {x.key for x in records})
    assert runs.read_json(tuned / "tune.json")["settings"] == plain.settings


def test_each_seed_has_rows_and_weights_of_its_own(tuned: Path) -> None:
    for arm in ("plain", "with"):
        said = [
            runs.read_predictions(tuned / "predictions" / f"valid-augment-{arm}-{s}.jsonl").outputs for s in range(3)
        ]
        assert not np.array_equal(said[0], said[1])
        assert not np.array_equal(said[1], said[2])


def test_the_same_command_again_goes_on_from_what_is_there(tuned: Path, tiny_csv: Path, tiny_folder: Path) -> None:
    before = runs.read_json(tuned / "tune.json")
    (tuned / "predictions" / "valid-augment-with-2.jsonl").unlink()
    request = api.open_request(str(tiny_csv), model=str(tiny_folder), steps=(AEDA,), settings=SETTINGS)
    again = api.tune(request, tuned)
    assert again["augmentation"]["gain"] == before["augmentation"]["gain"]


def test_without_time_for_one_pair_it_says_so_and_leaves_it_out(
    tiny_csv: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effect, "affordable", lambda pair, left: 0)
    request = api.open_request(str(tiny_csv), model=str(tiny_folder), steps=(AEDA,), settings=SETTINGS, time=600)
    made = api.tune(request, tmp_path / "run")
    told = made["augmentation"]
    assert (told["verdict"], told["kept"]) == ("not measured", False)
    assert "not measured" in told["told"]
    (tuned,) = (r for r in runs.read_records(tmp_path / "run") if r.step == "tune/finetune")
    assert tuned.settings["steps"] is None  # as without augmentation


@pytest.mark.parametrize(("pair", "left", "seeds"), [(10.0, float("inf"), 3), (10, 100, 3), (10, 40, 2), (10, 16, 0)])
def test_as_many_seeds_as_the_time_allows(pair: float, left: float, seeds: int) -> None:
    assert effect.affordable(pair, left) == seeds


def test_the_forecast_has_the_arms(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    settings = {"epochs": "3", "precision": "fp32"}
    plan = api.plan(
        api.open_request(str(tiny_csv), model=str(tiny_folder), steps=(AEDA,), settings=settings), tmp_path / "run"
    )
    assert plan["augment"]["seeds"] == 3
    assert plan["augment"]["seconds"] == pytest.approx(8 * plan["tune_seconds"], rel=0.1)  # 3 x 2 x 1.5, less the one


def test_augmentation_alone_is_tried_with_the_usual_recipes() -> None:
    request = api.open_request("rows.csv", model="m", steps=(AEDA, "tune/lion"))
    assert len(recipes_for(request)) == 4
    assert all(not use.name.startswith("augment/") for one in recipes_for(request) for use in one.uses)
    assert [use.name for use in augmenting(request)] == ["augment/aeda"]
    assert recipes_for(request)[0].uses[0].settings["optimizer"]["use"] == "tune/lion"


def test_it_stands_in_a_recipe_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("steps:\n  - use: augment/aeda\n    ratio: 0.2\n  - use: tune/finetune\n  - use: compress/int8\n")
    request = api.open_request("rows.csv", model="m", recipe=str(path))
    (one,) = recipes_for(request)
    assert [use.name for use in one.uses] == ["tune/finetune", "compress/int8"]
    assert augmenting(request)[0].settings == {"ratio": 0.2}


def test_a_verb_that_would_pass_over_it_refuses(tiny_csv: Path, tiny_folder: Path, tmp_path: Path) -> None:
    request = api.open_request(str(tiny_csv), model=str(tiny_folder), steps=(AEDA,))
    with pytest.raises(UsageError, match="burnish augment"):
        api.lr(request, tmp_path / "lr")
    with pytest.raises(UsageError, match="burnish augment"):
        api.search(request, tmp_path / "search", trials=1)


def test_a_model_that_is_tuned_is_not_given_more_rows(kept: api.Run) -> None:
    with pytest.raises(UsageError, match="tuned"):
        api.compress_request(kept.folder, steps=(AEDA,))
