"""The conformance suite over every technique on disk."""

from pathlib import Path

import pytest

from burnish import catalog
from tests import conformance

STEPS = [n for n in catalog.names() if callable(catalog.find(n)) and "__call__" in vars(catalog.find(n))]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "promise",
    [
        conformance.works_without_arguments,
        conformance.is_frozen_and_compares_by_value,
        conformance.settings_survive_json,
        conformance.unknown_settings_are_refused_with_the_nearest_name,
        conformance.names_its_paper,
        conformance.same_seed_gives_the_same_result_in_another_process,
        conformance.leaves_its_input_alone,
        conformance.changes_only_its_stages_fields,
        conformance.importing_it_has_no_side_effect,
        conformance.does_something,
    ],
    ids=lambda f: f.__name__,
)
def test_promise(name: str, promise) -> None:
    promise(name)


@pytest.mark.parametrize("name", STEPS)
def test_saves_and_reloads_to_identical_outputs(name: str, tmp_path: Path) -> None:
    conformance.saves_and_reloads_to_identical_outputs(name, tmp_path)


def test_the_steps_are_found() -> None:
    assert {"tune/finetune", "compress/int8", "compress/student", "compress/vocabulary"} <= set(STEPS)
