"""The file tree as registry: names, pages and settings, read without importing a technique."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from burnish import catalog
from burnish.core import describe, name_of
from burnish.errors import UsageError

ROOT = Path(catalog.__file__).parent


def test_every_file_is_listed_under_its_own_path_and_nothing_else_is():
    for name in catalog.names():
        assert (ROOT / f"{name}.py").is_file()
    listed = {name.split("/")[0] for name in catalog.names()}
    assert listed <= set(catalog.STAGES)
    assert {"tune/finetune", "compress/int8"} <= set(catalog.names())


def test_a_file_without_a_step_and_one_with_an_underscore_are_left_out(tmp_path, monkeypatch):
    stage = tmp_path / "compress"
    stage.mkdir()
    frame = '"""Halve it."""\n__all__ = ["Half"]\n@dataclass(frozen=True)\nclass Half'
    step = f"{frame}:\n    def __call__(self): ...\n"
    (stage / "half.py").write_text(step)
    (stage / "_half.py").write_text(step)
    (stage / "helpers.py").write_text("__all__ = ['helper']\ndef helper(): ...\n")
    (stage / "thawed.py").write_text(step.replace("(frozen=True)", ""))
    (stage / "hidden.py").write_text(step.replace('["Half"]', "[]"))
    (stage / "soft.py").write_text(f"{frame}(Tweak):\n    by: float = 1.0\n")
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    assert catalog.names() == ["compress/half", "compress/soft"]
    assert catalog.page("soft").settings[0].name == "by"


def test_settings_are_the_fields_with_their_comments():
    found = {s.name: s for s in catalog.page("tune/finetune").settings}
    assert found["lr"].comment
    assert found["lr"].default == "None"
    cls = catalog.find("tune/finetune")
    assert list(found) == [f.name for f in dataclasses.fields(cls)]


def test_listing_describing_and_checking_import_no_torch():
    code = (
        "import sys; from burnish import catalog, recipe\n"
        "[catalog.describe_page(n) for n in catalog.names()]; recipe.schema()\n"
        "recipe.loads('steps: [{use: tune/finetune, lr: 1e-5}]')\n"
        "assert not {'torch', 'transformers', 'scipy', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["int8", "compress/int8"])
def test_a_bare_name_means_the_one_technique_that_has_it(name):
    assert catalog.page(name).name == "compress/int8"


@pytest.mark.parametrize("name", ["compress/int9", "int9", "comprss/int8"])
def test_an_unknown_technique_is_answered_with_the_nearest(name):
    with pytest.raises(UsageError, match=r"did you mean '(compress/)?int8'") as caught:
        catalog.page(name)
    assert caught.value.exit_code == 2


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        catalog.check("tune/finetune", {"epohcs": 3})


def test_a_setting_known_by_what_its_comment_says_is_offered():
    with pytest.raises(UsageError, match="did you mean 'lr'"):
        catalog.check("tune/finetune", {"learning_rate": 1e-5})


def needed(name):
    """Something for each setting that must be given."""
    return {setting.name: "given" for setting in catalog.page(name).settings if not setting.default}


@pytest.mark.parametrize("name", catalog.names())
def test_every_technique_is_built_with_no_more_than_it_needs_and_again_from_its_own_description(name):
    step = catalog.build(name, needed(name))
    assert name_of(step) == name
    assert catalog.build(name, describe(step)) == step


@pytest.mark.parametrize("name", catalog.names())
def test_every_unknown_setting_is_refused(name):
    with pytest.raises(UsageError, match="has no setting 'colour'"):
        catalog.build(name, {**needed(name), "colour": "red"})


@pytest.mark.parametrize("name", catalog.names())
def test_every_page_opens_with_a_sentence_and_shows_each_setting(name):
    page, text = catalog.page(name), catalog.describe_page(name)
    assert len(page.summary) > 20
    assert all(setting.name in text for setting in page.settings)


def test_a_value_the_technique_itself_refuses_is_a_usage_error(tmp_path, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Picky:
        bits: int = 4

        def __post_init__(self):
            if self.bits > 8:
                raise ValueError("bits must be 2..8, got 9")

    monkeypatch.setattr(catalog, "find", lambda name: Picky)
    monkeypatch.setattr(catalog, "check", lambda name, settings, at="": dict(settings))
    with pytest.raises(UsageError, match=r"recipe\.yaml:3: .*got 9"):
        catalog.build("compress/picky", {"bits": 9}, "recipe.yaml:3")


def test_parse_reads_the_value_of_with():
    assert catalog.parse("compress/int8") == ("compress/int8", {})
    assert catalog.parse("tune/finetune:lr=1e-5,epochs=2") == ("tune/finetune", {"lr": "1e-5", "epochs": "2"})
    assert catalog.parse("x:layers=0,2,5,alpha=1") == ("x", {"layers": "0,2,5", "alpha": "1"})


@pytest.mark.parametrize("text", ["x:lr", "x:=3", "x:lr=1,lr=2"])
def test_parse_refuses_what_is_no_setting(text):
    with pytest.raises(UsageError):
        catalog.parse(text)
