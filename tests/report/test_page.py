"""The page: whole, offline, repeatable, honest about what is missing, and deaf to what texts would like it to do."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.report.page import render, write
from tests.report.conftest import Build
from tests.report.hostile import HOSTILE, HOSTILE_LABELS

KINDS = ("text-classification", "multi-label-classification", "regression")
VOID = {"meta", "br", "link", "img", "line", "circle", "path", "use", "rect", "input", "hr"}


class Reader(html.parser.HTMLParser):
    """Collects elements, ids and texts; fails on tags that do not close."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(run: Path) -> str:
    """The page that was written with the run; that it is what rendering gives is a test of its own."""
    return (run / "report.html").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_well_formed_and_every_anchor_leads_somewhere(run_of: Build, kind: str) -> None:
    read = Reader(page_of(run_of(kind=kind)))
    ids = [attrs["id"] for _, attrs in read.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    for _, attrs in read.tags:
        href = attrs.get("href") or ""
        assert not href or href[1:] in ids, href
        for name in (attrs.get("aria-labelledby") or "").split():
            assert name in ids


@pytest.mark.parametrize("scene", [{"kind": k} for k in KINDS] + [{"hostile": True}, {"pair": True}], ids=str)
def test_nothing_is_loaded_and_nothing_runs(run_of: Build, scene: dict[str, object]) -> None:
    page = page_of(run_of(**scene))
    read = Reader(page)
    assert not {tag for tag, _ in read.tags} & {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
    for tag, attrs in read.tags:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        assert (attrs.get("src"), attrs.get("srcset"), attrs.get("action")) == (None, None, None)
    policies = [a["content"] for t, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_texts_of_the_data_are_shown_and_not_obeyed(run_of: Build) -> None:
    read = Reader(page_of(run_of(hostile=True)))
    text = read.text()
    assert [tag for tag, _ in read.tags].count("style") == 1
    assert [tag for tag, _ in read.tags].count("title") == 1 + [tag for tag, _ in read.tags].count("svg") - _strips(
        read
    )
    for label in HOSTILE_LABELS:
        assert re.sub(r"\s+", " ", label) in text
    worst = [one for one in HOSTILE if one[:20] in text]
    assert len(worst) >= 4, "too few hostile rows among the mistakes to prove anything"
    assert "x" * 700 not in text, "an endless word was not cut"


def _strips(read: Reader) -> int:
    return sum(tag == "svg" and attrs.get("aria-hidden") == "true" for tag, attrs in read.tags)


def test_templates_in_data_are_not_evaluated(run_of: Build, tmp_path: Path) -> None:
    run = _copy(run_of(hostile=True), tmp_path)
    result = json.loads((run / "result.json").read_text())
    result["warnings"] = ["{{7*7}} {% for x in range(9) %}a{% endfor %}<b onclick=x>"]
    (run / "result.json").write_text(json.dumps(result))
    read = Reader(render(run))
    assert result["warnings"][0] in read.text()


def _copy(run: Path, to: Path) -> Path:
    from tests.report.conftest import copy_run

    return copy_run(run, to / "reviews")


@pytest.mark.parametrize("kind", KINDS)
def test_rendering_again_gives_the_same_bytes(run_of: Build, kind: str) -> None:
    run = run_of(kind=kind)
    assert (run / "report.html").read_text("utf-8") == render(run)


def test_another_process_at_another_place_renders_the_same_bytes(own_run: Path) -> None:
    code = "import sys; from burnish.report.page import render, Path; sys.stdout.write(render(Path('.')))"
    env = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "PYTHONUTF8": "1", "LANG": "C"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=own_run, env=env, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.decode("utf-8") == render(own_run)


def test_the_report_imports_neither_torch_nor_a_technique(own_run: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from burnish.report import card, page, table, verify
page.render(Path({str(own_run)!r})); card.card(Path({str(own_run)!r}))
table.summary_lines(Path({str(own_run)!r})); verify.verify(Path({str(own_run)!r}))
heavy = {{"torch", "transformers", "onnxruntime", "onnx", "openvino", "sklearn"}} & set(sys.modules)
stages = ("augment", "tune", "compress", "serve", "train", "plan", "api")
own = [m for m in sys.modules if m.startswith("burnish.") and m.split(".")[1] in stages]
sys.exit(f"{{heavy}} {{own}}" if heavy or own else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# -- the content -----------------------------------------------------------------------------------------


def test_it_answers_in_order(run_of: Build) -> None:
    page = page_of(run_of())
    ids = re.findall(r'<section id="([a-z]+)"', page)
    assert ids == ["asked", "quality", "choice", "steps", "training", "mistakes", "worst", "calibration", "data",
                   "parity", "forecast", "machine", "serve", "provenance"]  # fmt: skip


def test_the_numbers_on_the_page_are_those_of_the_files(run_of: Build) -> None:
    run = run_of()
    text = Reader(page_of(run)).text().replace("\u00a0", " ")
    result = json.loads((run / "result.json").read_text())
    for facts in (result["reference"], result["chosen"], *result["baselines"]):
        assert f"{100 * facts['test']['value']:.1f} %" in text
    for candidate in result["candidates"]:
        assert candidate["why"] in text
    assert "600 to learn from, 200 to choose with, 200 kept for the end" in text
    assert "not one answer changed" in text
    assert "burnish serve runs/reviews" in text
    assert result["warnings"][0][1:] in text


def test_a_missed_limit_is_said_at_the_top(run_of: Build) -> None:
    page = page_of(run_of(max_size=1_000_000))
    assert '<p class="answer missed">No candidate meets every limit.' in page
    assert "over budget, nearest" in page
    assert "all limits are met" not in page


@pytest.mark.parametrize(("kind", "shown", "absent"), [
    ("text-classification", "Confusion matrix", "Answers against the truth"),
    ("multi-label-classification", "Each label on the test rows", "Confusion matrix"),
    ("regression", "Answers against the truth", "Calibration"),
])  # fmt: skip
def test_each_task_has_its_own_picture_of_errors(run_of: Build, kind: str, shown: str, absent: str) -> None:
    text = Reader(page_of(run_of(kind=kind))).text()
    assert shown in text
    assert absent not in text


def test_many_labels_are_listed_and_not_drawn(run_of: Build) -> None:
    text = Reader(page_of(run_of(labels=tuple(f"label {n:02}" for n in range(40))))).text()
    assert "Confusion matrix" not in text
    assert "40 labels are too many for a matrix" in text


def test_an_error_metric_is_shown_positive(run_of: Build) -> None:
    text = Reader(page_of(run_of(kind="regression", metric="rmse", max_drop=10.0))).text()
    assert "root mean squared error" in text
    assert "−0.4" not in text.partition("Quality against")[0].partition("Quality on")[2]


def test_a_pair_shows_both_texts(run_of: Build) -> None:
    page = page_of(run_of(pair=True))
    assert 'class="pair"' in page
    assert "first text" in page


@pytest.mark.parametrize("missing", [
    ("result.json",), ("result.json", "candidates.json", "artifact", "manifest.json"),
    ("result.json", "candidates.json", "artifact", "manifest.json", "records.jsonl", "predictions", "check.json"),
    ("check.json",), ("artifact",), ("predictions",), ("records.jsonl",), ("rows",), ("forecast.json",),
    ("request.json",),
])  # fmt: skip
def test_what_is_missing_is_left_out_and_not_faked(own_run: Path, missing: tuple[str, ...]) -> None:
    for name in missing:
        shutil.rmtree(own_run / name) if (own_run / name).is_dir() else (own_run / name).unlink()
    page = render(own_run)
    Reader(page)
    if "result.json" in missing:
        assert "This run is not finished" in page
        assert 'id="quality"' not in page
        assert "all limits are met" not in page
    if "check.json" in missing:
        assert 'id="data"' not in page
    if "predictions" in missing:
        assert 'id="worst"' not in page


def test_an_empty_folder_is_an_unfinished_run(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    page = render(tmp_path / "new")
    assert "This run is not finished" in page
    assert "<section" not in page


def test_write_puts_the_page_beside_the_files(own_run: Path) -> None:
    (own_run / "report.html").unlink()
    assert write(own_run) == own_run / "report.html"
    assert (own_run / "report.html").read_text("utf-8") == render(own_run)


def test_every_chart_has_its_numbers_in_a_table(run_of: Build) -> None:
    page = page_of(run_of())
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.S)
    drawn = [f for f in figures if 'class="plot"' in f]
    assert len(drawn) >= 5
    lonely = [f for f in drawn if "<table" not in f]
    assert len(lonely) == 1, "only the Pareto chart may have its table outside the figure"
    assert "numbers are those of the table of candidates" in re.sub(r"\s+", " ", lonely[0])


def test_colours_have_contrast_in_light_and_dark() -> None:
    """WCAG AA for text: 4.5 to 1 against the background of the same theme."""
    css = (Path(render.__code__.co_filename).parent / "templates" / "page.css").read_text()
    themes = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    assert len(themes) == 2
    for theme in themes:
        colors = dict(re.findall(r"--c-(\w+): (#[0-9a-f]{6})", theme))
        for name in ("ink", "muted", "chosen", "reference", "second", "met", "missed"):
            assert _contrast(colors[name], colors["back"]) >= 4.5, (name, colors[name])


def _contrast(a: str, b: str) -> float:
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
