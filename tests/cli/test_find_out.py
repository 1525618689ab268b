"""ls, show, schema, init, doctor, check: what can be asked without a run."""

import json
import shlex

import pytest

from burnish import catalog, recipe
from burnish.cli import main

LABELS = {"good": "pos", "bad": "neg"}


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A small data set in the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"the {word} film number {i},{label}" for i in range(40) for word, label in (("good", "pos"), ("bad", "neg"))
    ]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return tmp_path


def document(capsys):
    said = json.loads(capsys.readouterr().out)
    assert said["schema_version"] == 1
    return said


def test_ls_lists_every_technique_once(capsys):
    assert main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in catalog.names():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1


def test_ls_of_one_stage(capsys):
    assert main(["ls", "compress", "--json"]) == 0
    assert [t["name"] for t in document(capsys)["techniques"]] == catalog.names("compress")


def test_ls_of_no_stage_offers_the_nearest(capsys):
    assert main(["ls", "comprss"]) == 2
    assert "did you mean 'compress'" in capsys.readouterr().err


@pytest.mark.parametrize("name", catalog.names())
def test_show_prints_page_and_settings(name, capsys):
    assert main(["show", name]) == 0
    text = capsys.readouterr().out
    assert catalog.page(name).text.strip() in text
    assert main(["show", name, "--json"]) == 0
    assert [s["name"] for s in document(capsys)["settings"]] == [s.name for s in catalog.page(name).settings]


@pytest.mark.parametrize("name", recipe.names())
def test_show_of_a_recipe_prints_it(name, capsys):
    assert main(["show", name]) == 0
    assert recipe.loads(capsys.readouterr().out).build() == recipe.load(name).build()
    assert main(["show", name, "--json"]) == 0
    assert document(capsys)["steps"]


def test_schema_is_json_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe.schema()
    assert main(["schema", "--json"]) == 0
    assert document(capsys)["schema"] == recipe.schema()


@pytest.mark.parametrize("name", recipe.names())
def test_init_writes_a_recipe_that_means_the_same_and_prints_the_command(name, reviews, capsys):
    assert main(["init", "reviews.csv", "--like", name]) == 0
    command = shlex.split(capsys.readouterr().out)
    assert command[:3] == ["burnish", "fit", "reviews.csv"]
    assert command[command.index("--target") + 1] == "label"
    assert command[command.index("--recipe") + 1] == "recipe.yaml"
    read = recipe.load(reviews / "recipe.yaml")
    assert read.build() == recipe.load(name).build()


def test_init_never_overwrites(reviews, capsys):
    (reviews / "recipe.yaml").write_text("mine")
    assert main(["init", "reviews.csv"]) == 2
    assert (reviews / "recipe.yaml").read_text() == "mine"


def test_doctor_says_what_is_here(capsys):
    assert main(["doctor", "--json"]) == 0
    found = document(capsys)
    assert found["engines"]["torch"]["works"]
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["numpy"]
    assert not [part for part in found["missing"] if part["needed"]]
    assert main(["doctor"]) == 0
    assert "numpy" in capsys.readouterr().out


def test_doctor_ends_with_4_and_the_install_line_when_something_needed_is_missing(capsys, monkeypatch):
    from burnish.cli import doctor

    monkeypatch.setattr(doctor, "versions", lambda: {"burnish": "1", "torch": None, "openvino": None})
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert main(["doctor"]) == 4
    shown = capsys.readouterr().out
    assert "pip install torch" in shown
    assert "pip install 'burnish[openvino]'" in shown


def test_check_prints_facts_and_says_how_it_read_the_columns(reviews, capsys):
    assert main(["check", "reviews.csv"]) == 0
    said = capsys.readouterr()
    assert "80 rows" in said.out
    assert "label" in said.err
    assert main(["check", "reviews.csv", "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out)["columns"]["target"] == "label"


def test_check_ends_with_5_when_the_data_cannot_be_learned_from(reviews, capsys, monkeypatch):
    from burnish.data import check

    real = check.check

    def worse(splits, task, **lent):
        found = real(splits, task, **lent)
        return {**found, "findings": [{"level": "error", "what": "rotten", "why": "", "try": "", "examples": []}]}

    monkeypatch.setattr(check, "check", worse)
    assert main(["check", "reviews.csv"]) == 5
    assert "rotten" in capsys.readouterr().out


def test_check_of_a_missing_file_ends_with_5(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "nothing.csv"]) == 5
    assert "nothing.csv" in capsys.readouterr().err
