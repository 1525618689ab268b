"""Charts: the same bytes for the same numbers, nothing that runs, text that stays text."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from burnish.report import plots

DOTS = [
    plots.Dot(90.8, 94.5, 91.0, 97.0, "float", "reference"),
    plots.Dot(90.8, 94.4, 91.0, 97.0, "2"),
    plots.Dot(23.1, 94.0, 90.0, 96.0, "3", "chosen"),
    plots.Dot(17.8, 91.0, None, None, "4", "front"),
]
CHARTS = {
    "pareto": lambda: plots.against_quality(DOTS, title="a", x_label="MB", y_label="%", limit=30.0),
    "curves": lambda: plots.curves(
        [plots.Series("s", range(60), [1 / (k + 1) for k in range(60)], smooth=True, mark=30)],
        title="b", x_label="step", y_label="loss", zero=True,
    ),
    "reliability": lambda: plots.reliability([0.6, 0.9], [0.5, 0.95], [10, 90], [(0.3, 0.7), (0.9, 1.0)], title="c"),
    "lengths": lambda: plots.lengths([0, 10, 20], [5, 7], title="d", unit="tokens", limit=15.0),
    "scatter": lambda: plots.scatter([1.0, 2.0, 3.0], [1.1, 1.9, 3.2], title="e"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_whole_repeatable_and_tells_what_it_shows(name: str) -> None:
    svg = CHARTS[name]()
    assert svg == CHARTS[name]()
    root = ET.fromstring(svg)
    kinds = [child.tag.rpartition("}")[2] for child in root]
    assert kinds[:2] == ["title", "desc"]
    assert root.get("role") == "img"
    assert root.findall(".//{*}text"), "letters were drawn as paths"
    assert not root.findall(".//{*}style"), "a style inside an SVG reaches the whole page"
    assert "dc:date" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    for color in plots.NAMES:
        assert color not in svg, "a stand-in colour was left"


def test_two_charts_share_no_id() -> None:
    ids = [{e.get("id") for e in ET.fromstring(make()).iter() if e.get("id")} for make in CHARTS.values()]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_another_process_draws_the_same_bytes() -> None:
    code = "from tests.report.test_plots import CHARTS; import sys; sys.stdout.write(CHARTS['pareto']())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == CHARTS["pareto"]()


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$\\frac{", "你好 👍", "&amp;", "]]>", "'\"><svg onload=x>"]
)
def test_names_are_shown_as_they_are(name: str) -> None:
    """Formulas are not parsed, scripts are text, letters that DejaVu lacks do not stop the chart."""
    root = ET.fromstring(plots.against_quality([plots.Dot(1, 2, 1, 3, name)], title=name, x_label=name, y_label=name))
    texts = ["".join(e.itertext()) for e in root.iter()]
    assert name in texts
    assert not root.findall(".//{*}script")
    assert not any(key.startswith("on") for e in root.iter() for key in e.attrib)


def test_numbers_beside_dots_do_not_cover_one_another() -> None:
    """Two candidates of one size stand on one another; their numbers must not."""
    root = ET.fromstring(CHARTS["pareto"]())
    places = {t.text: (t.get("x"), t.get("y"), t.get("transform")) for t in root.iter() if t.text in ("float", "2")}
    assert len(places) == 2
    assert places["float"] != places["2"]


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    texts = [t.text for t in ET.fromstring(CHARTS["pareto"]()).findall(".//{*}text")]
    assert {"20", "50", "100"} <= set(texts)
