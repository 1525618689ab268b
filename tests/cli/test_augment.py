"""`burnish augment`: what it writes, what it says, what a person may refuse, and what it refuses itself."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import burnish
from burnish import api
from burnish.cli import main
from burnish.data.family import OWN
from tests.tiny import tiny_rows

AEDA = ["--with", "augment/aeda:alpha=0.5"]


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "reviews.csv", [(row.text, str(row.target)) for row in tiny_rows(100)])


def test_originals_and_new_rows_are_written(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "more.csv"
    assert main(["augment", str(data), *AEDA, "--ratio", "0.5", "--out", str(out), "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == ""
    assert found["written"] == [str(out)]
    written = rows_in(out)
    new = [row for row in written if row[OWN[0]]]
    assert len(written) == found["rows"]
    assert len(new) == found["new"] == round(0.5 * found["originals"]) == found["steps"][0]["asked"]
    assert {row[OWN[1]] for row in new} == {"augment/aeda"}
    assert found["originals"] + sum(found["held_out"].values()) == 100
    assert not {row["text"] for row in new} & {row["text"] for row in rows_in(data)}
    assert all("{+" in sample for sample in found["steps"][0]["samples"])


def test_the_same_command_gives_the_same_file_and_fit_takes_it(data: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.csv" for name in "ab"]
    for path in files:
        assert main(["augment", str(data), *AEDA, "--out", str(path), "--quiet"]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    from burnish.plan.ground import load_rows

    found = load_rows(api.open_request(str(files[0]), model=""))
    assert any(row.parent for row in found.splits.train)
    assert not any(row.parent for row in (*found.splits.valid, *found.splits.test))


def test_test_rows_are_never_made(data: Path, tmp_path: Path) -> None:
    """The test file holds what the technique would otherwise make."""
    out = tmp_path / "more.csv"
    found = burnish.augmented(str(data), steps=["augment/aeda:ratio=1"], out=out)
    made = [(row["text"], row["label"]) for row in rows_in(out) if row[OWN[0]]]
    test = write(tmp_path / "test.csv", made[:20])
    again = burnish.augmented(str(data), steps=["augment/aeda:ratio=1"], test=str(test), out=tmp_path / "b.csv")
    assert found["held_out"]["test"] > 0
    assert again["held_out"]["test"] == 20
    assert not {text for text, _ in made[:20]} & {row["text"] for row in rows_in(tmp_path / "b.csv")}


def test_too_many_rows_are_allowed_and_said(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "more.csv"
    assert main(["augment", str(data), *AEDA, "--ratio", "1.0", "--out", str(out), "--quiet"]) == 0
    assert "more than half" not in capsys.readouterr().out
    assert main(["augment", str(data), *AEDA, "--ratio", "1.5", "--out", str(out), "--force", "--quiet"]) == 0
    assert "60.1% of the training rows are made" in capsys.readouterr().out


def test_a_ratio_that_cannot_be_met_is_told_by_reason(tmp_path: Path, capsys) -> None:
    data = write(tmp_path / "short.csv", [(f"go go go go go go {chr(97 + i)}x", "ab"[i % 2]) for i in range(26)])
    out = tmp_path / "more.csv"
    assert main(["augment", str(data), "--with", "augment/random_swap", "--ratio", "20", "--out", str(out)]) == 0
    assert re.search(r"fewer than asked, by tries: .*already there \d+", capsys.readouterr().out)


def test_a_dry_run_writes_nothing_and_shows_what_would_come(data: Path, tmp_path: Path, capsys) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["augment", str(data), *AEDA, "--ratio", "2", "--dry-run", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"augment/aeda +\d+ rows, in about", said)
    assert "{+" in said
    assert "more than half" in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--with", "augment/aed", "--out", "m.csv"], 2, "did you mean 'augment/aeda'"),
        (["--with", "tune/finetune", "--out", "m.csv"], 2, "makes no rows"),
        (["--out", "m.csv"], 2, "no technique"),
        (["--with", "augment/aeda:filters=usual,lable:tau=0.6", "--out", "m.csv"], 2, "did you mean 'label'"),
        ([*AEDA], 2, "no file to write to"),
        ([*AEDA, "--out", "reviews.csv"], 2, "is there already"),
        ([*AEDA, "--out", "m.xlsx"], 2, ".jsonl"),
        ([*AEDA, "--out", "nowhere/m.csv"], 2, "no folder nowhere"),
        ([*AEDA, "--ratio", "0", "--out", "m.csv"], 2, "ratio 0"),
        ([*AEDA, "--ratio", "1000", "--out", "m.csv"], 2, "ratio 1000"),
        ([*AEDA, "--model", "./nothing", "--out", "m.csv"], 2, "nothing"),
        ([*AEDA, "--answers", "nothing.csv", "--out", "m.csv"], 5, "nothing.csv is not there"),
        ([*AEDA, "--test", "nothing.csv", "--out", "m.csv"], 5, "nothing.csv is not there"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, code, says, data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["augment", str(data), *arguments]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "m.csv").exists()


def test_texts_without_words_are_bad_data(tmp_path: Path, capsys) -> None:
    data = write(tmp_path / "marks.csv", [("." * (i + 1), "ab"[i % 2]) for i in range(30)])
    out = tmp_path / "more.csv"
    command = ["augment", str(data), "--with", "augment/random_swap", "--text", "text", "--target", "label"]
    assert main([*command, "--out", str(out)]) == 5
    assert "could change none" in capsys.readouterr().err
    assert not out.exists()


# -- looked at by a person -------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def reviewed(data: Path, tmp_path: Path):
    """The command, and what its --review wrote."""
    out = tmp_path / "more.csv"
    command = ["augment", str(data), *AEDA, "--with", "augment/random_swap", "--ratio", "0.5", "--out", str(out)]
    assert main([*command, "--review", "20", "--quiet"]) == 0
    return command, out, tmp_path / "more.review.html", tmp_path / "more.answers.csv"


def test_a_review_is_a_page_and_a_file_and_no_rows(reviewed, data: Path) -> None:
    _, out, page, answers = reviewed
    assert not out.exists()
    lines = rows_in(answers)
    assert len(lines) == 20
    assert {line["answer"] for line in lines} == {""}
    assert [line["technique"] for line in lines].count("augment/aeda") == 10
    text = page.read_text("utf-8")
    read = Page(text)
    assert [a["data-id"] for tag, a in read.tags if tag == "article"] == [line["id"] for line in lines]
    assert not any("src" in attributes or "href" in attributes for _, attributes in read.tags)
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "default-src 'none'" in text
    assert "<ins>" in text


def test_the_browser_runs_the_one_script_and_no_other(reviewed) -> None:
    import base64
    import hashlib

    text = reviewed[2].read_text("utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_texts_of_the_data_are_escaped(tmp_path: Path) -> None:
    rows = [(f'<script>alert({i})</script> & "more" words here', "ab"[i % 2]) for i in range(40)]
    data = write(tmp_path / "rows.csv", rows)
    out = tmp_path / "more.csv"
    found = burnish.augmented(str(data), steps=["augment/aeda"], out=out, review=5)
    text = Path(found["written"][0]).read_text("utf-8")
    assert text.count("<script") == 1
    assert "&lt;" in text


def answer(path: Path, said: list[str]) -> None:
    lines = rows_in(path)
    for line, word in zip(lines, said, strict=False):
        line["answer"] = word
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines[::-1])


def test_rejected_rows_are_left_out_and_poor_techniques_named(reviewed, capsys) -> None:
    command, out, _, answers = reviewed
    lines = rows_in(answers)
    swaps = [line["technique"].endswith("swap") for line in lines]
    answer(answers, ["reject" if swap else "Accept" for swap in swaps])
    assert main([*command, "--answers", str(answers), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["review"]["poor"] == ["augment/random_swap"]
    assert found["review"]["techniques"]["augment/aeda"]["rejected"] == 0
    texts = {row["text"] for row in rows_in(out)}
    assert len(texts) == found["rows"]
    swap = next(step for step in found["steps"] if step["technique"].endswith("swap"))
    assert swap["new"] == swap["asked"] - 10
    assert swap["short"] == {"refused by a person": 10}
    assert main([*command, "--answers", str(answers), "--force"]) == 0
    assert "leave augment/random_swap out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("answer", "verdict", 1), "no column 'answer'"),
        (lambda text: text.replace("augment/aeda,,", "augment/aeda,rejct,", 1), "did you mean 'reject'"),
        (lambda text: text.replace("data:", "data:9", 1), "not made now"),
    ],
)
def test_answers_that_do_not_fit_are_bad_data(change, says, reviewed, capsys) -> None:
    command, out, _, answers = reviewed
    answers.write_text(change(answers.read_text("utf-8")), "utf-8")
    assert main([*command, "--answers", str(answers)]) == 5
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_answers_to_other_rows_are_bad_data(reviewed, capsys) -> None:
    command, out, _, answers = reviewed
    assert main([*command, "--seed", "1", "--answers", str(answers)]) == 5
    assert "same data, --with, --ratio and --seed" in capsys.readouterr().err
    assert not out.exists()


def test_answers_may_be_json(reviewed) -> None:
    command, out, _, answers = reviewed
    lines = [{**line, "answer": "reject"} for line in rows_in(answers)]
    place = answers.with_suffix(".json")
    place.write_text(json.dumps(lines), "utf-8")
    assert main([*command, "--answers", str(place), "--quiet"]) == 0
    assert len(rows_in(out)) == 65 + 2 * round(0.5 * 65) - 20
