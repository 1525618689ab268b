"""Where the model errs, and what the data section says."""

import json
from pathlib import Path

import numpy as np
import pytest

from burnish.report import findings
from burnish.report.files import Files
from burnish.report.layout import Figure, Findings, Sentences, Strip, Table, scale
from burnish.report.mistakes import Mistakes, residuals
from tests.report.conftest import Build


def of(run: Path) -> Mistakes:
    found = Mistakes.of(Files(run))
    assert found is not None
    return found


def test_the_matrix_counts_every_test_row_once(run_of: Build) -> None:
    heat = of(run_of()).heat()
    assert heat is not None
    assert sum(map(sum, heat.counts)) == 200
    assert all(sum(row) == pytest.approx(1) for row in heat.shares)


def test_the_worst_rows_are_wrong_and_in_order(run_of: Build) -> None:
    worst = of(run_of()).worst()
    assert worst
    assert all(not one.said.startswith(one.true) for one in worst)
    assert all(one.before for one in worst)


def test_label_scores_agree_with_scikit_learn(run_of: Build) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    mine = of(run_of())
    table = mine.labels()
    assert table is not None
    answers = mine.found.outputs.argmax(1)
    expected = precision_recall_fscore_support(mine.found.targets, answers, labels=[0, 1, 2])
    for n, row in enumerate(table.rows):
        shown = [float(str(cell).partition("\u00a0")[0]) for cell in row[1:]]
        assert shown[0] == expected[3][n]
        assert shown[1:] == pytest.approx([100 * expected[0][n], 100 * expected[1][n], expected[2][n]], abs=0.06)


def test_residuals_cover_every_row_in_groups_of_equal_count() -> None:
    true = np.linspace(0, 10, 100)
    groups = residuals(true + 0.5, true)
    assert [count for _, _, count, _, _ in groups] == [20] * 5
    assert all(error == pytest.approx(0.5) == size for *_, error, size in groups)


def test_calibration_says_in_words_what_the_dots_show(run_of: Build) -> None:
    figure = of(run_of()).calibration()
    assert figure is not None
    assert "too modest" in figure.caption
    assert isinstance(figure.table, Table)


def test_strips_share_one_scale() -> None:
    first, none, last = scale([(0.1, 0.2, 0.3), None, (0.3, 0.4, 0.9)])
    assert none == ""
    assert isinstance(first, Strip)
    assert isinstance(last, Strip)
    assert (first.low, last.high) == (4, 96)
    assert first.high == last.low


def test_findings_come_first_with_their_reason_and_remedy(run_of: Build) -> None:
    parts = findings.data(Files(run_of(hostile=True)))
    assert isinstance(parts[0], Findings)
    assert any(one.level == "warn" and one.why and one.hint for one in parts[0].items)
    assert any(one.examples for one in parts[0].items)
    assert any(isinstance(part, Figure) for part in parts)


def test_clean_data_is_called_clean(own_run: Path) -> None:
    check = json.loads((own_run / "check.json").read_text())
    (own_run / "check.json").write_text(json.dumps({**check, "findings": []}))
    assert isinstance(findings.data(Files(own_run))[0], Sentences)


def test_a_histogram_in_tokens_is_preferred(own_run: Path) -> None:
    check = json.loads((own_run / "check.json").read_text())
    check["lengths"]["tokens"]["histogram"] = {"edges": [0, 50, 100], "counts": [10, 2]}
    (own_run / "check.json").write_text(json.dumps(check))
    figure = next(part for part in findings.data(Files(own_run)) if isinstance(part, Figure))
    assert ">tokens</text>" in figure.charts[0]
