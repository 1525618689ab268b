"""`burnish search`: what it prints, what it leaves on disk, and what it refuses."""

import csv
import importlib.util
import json
import xml.etree.ElementTree as ET

import pytest

from burnish import api, models, recipe
from burnish.cli import main
from burnish.plan import hyper
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer

KEYS = {
    "schema_version", "run", "best", "default", "finalists", "importance", "curve", "trials", "seconds", "why",
}  # fmt: skip
VARY = ["lr=1e-3..1e-1", "batch_size=4,8", "warmup=0,0.1"]
SETTINGS = {"precision": "fp32", "epochs": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("search")
    model = tiny_model()
    model.config.architectures = ["BertModel"]
    models.save(model, tiny_tokenizer(), folder / "model")
    with (folder / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row.text, row.target) for row in tiny_rows(60))
    return folder


@pytest.fixture(scope="module")
def found(place):
    request = api.open_request(str(place / "reviews.csv"), model=str(place / "model"), settings=SETTINGS)
    return api.search(request, place / "run", vary=VARY, trials=4)


@pytest.fixture
def command(place):
    words = ["search", str(place / "reviews.csv"), "--model", str(place / "model")]
    return [*words, *(w for k, v in SETTINGS.items() for w in ("--set", f"{k}={v}"))]


@pytest.fixture
def again(place, command, monkeypatch):
    """The command line for the finished run; whoever trains now fails."""
    monkeypatch.setattr(hyper, "lay", None)
    return [*command, *(w for v in VARY for w in ("--vary", v)), "--trials", "4", "--out", str(place / "run")]


def test_json_has_the_answer_and_its_evidence(found, again, capsys) -> None:
    assert main([*again, "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    document = json.loads(said.out)
    assert set(document) >= KEYS
    assert len(document["trials"]) == len(document["curve"]) == 4
    assert document["finalists"][0]["params"] == document["default"]["params"]
    assert document["seconds"] >= sum(t["seconds"] for t in document["trials"]) - 0.1


def test_text_says_what_is_recommended_and_why(found, again, capsys) -> None:
    assert main(again) == 0
    said = capsys.readouterr().out
    assert said.split()[:2] == ["recommended", found["recommended"]["which"]]
    assert found["why"] in said
    assert "±" in said


def test_the_recipe_is_for_fit(found) -> None:
    read = recipe.load(found["recipe"])
    assert [use.name for use in read.uses] == ["tune/finetune"]
    assert read.uses[0].settings["lr"] == found["recommended"]["settings"]["lr"]
    assert read.uses[0].settings["batch_size"] == found["recommended"]["settings"]["batch_size"]
    read.build()


def test_a_fit_takes_the_recipe(found, place, capsys) -> None:
    words = ["fit", str(place / "reviews.csv"), "--model", str(place / "model"), "--recipe", found["recipe"]]
    assert main([*words, "--out", str(place / "fit"), "--dry-run", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 1


def test_the_plot_is_an_svg_that_stands_alone(found) -> None:
    with open(found["plot"]) as file:
        text = file.read()
    assert ET.fromstring(text).tag.endswith("svg")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_dry_run_prints_the_space_and_the_cost(command, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    words = [*command, "--dry-run", "--quiet", "--time", "60s", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["trials"] >= 1
    assert plan["trial_seconds"] > 0
    assert set(plan["space"]) == {"lr", "warmup", "weight_decay", "batch_size", "layer_decay"}
    assert not out.exists()


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--vary", "batchsize=16,32"], "did you mean 'batch_size'"),
        (["--vary", "seed=1,2"], "the luckiest run"),
        (["--vary", "epochs=1,2"], "given twice"),
        (["--set", "lr=auto"], "leave lr out"),
        (["--sampler", "tpee"], "--sampler tpe"),
        (["--workers", "0"], "workers"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(extra, says, command, tmp_path, capsys) -> None:
    assert main([*command, "--out", str(tmp_path / "run"), *extra]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_optuna_it_says_how_to_install_it(command, tmp_path, monkeypatch, capsys) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "optuna" else real(name, *a))
    assert main([*command, "--out", str(tmp_path / "run")]) == 4
    assert 'pip install "burnish[search]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
