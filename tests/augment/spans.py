"""Rows with spans for tests: random ones, English and Chinese, and real ones from CoNLL files."""

from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from burnish.core import Row, Span, Work

# fmt: off
ENGLISH = [
    "the", "a", "in", "Paris", "New", "York", "went", "to", "see", "Anna's", "I'm", "don't", "e-mail", "#ParisAttacks",
    "@bob", "http://x.y/z", "42", "$3.50", "U.S.", ",", ".", "!", "??", "(", ")", "--", "Zürich", "naïve", "😀", "no",
    "never", "Bob", "IBM", "iPhone", "6", "state-of-the-art", "O'Neill", "well", "good", "bad", "and", "of",
]
CHINESE = [
    *"我们去了北京上海张三李四的公司在没不有一三十年人大会，。！（）《》", "２０", "iPhone", "CEO", "5%", " ", "GPT-4",
]
# fmt: on
LABELS = ("PER", "LOC", "ORG")


def random_row(rng: Random, name: str) -> Row:
    """A text of up to 14 words and 4 spans: most from word to word, some anywhere, some with spaces at the ends."""
    chinese = rng.random() < 0.5
    words = rng.choices(CHINESE if chinese else ENGLISH, k=rng.randint(1, 14))
    text = ("" if chinese else rng.choice((" ", " ", " ", "  "))).join(words)
    if rng.random() < 0.5:
        places = sorted(
            {0, len(text), *(i for i, c in enumerate(text) if c == " " or chinese), *range(0, len(text), 5)}
        )
    else:
        places = sorted({0, *(len(" ".join(words[:i])) for i in range(len(words)))})
    places = [p for p in places if p <= len(text)]
    cuts = sorted(rng.sample(places, min(len(places), 2 * rng.randint(0, 4))))
    found = [Span(a, b, rng.choice(LABELS)) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if text[a:b].strip()]
    return Row(name, text, None, tuple(s for s in found if any(c.isalnum() for c in text[s.start : s.end])))


def random_rows(seed: object, n: int) -> list[Row]:
    rng = Random(f"{seed}")
    return [random_row(rng, f"data:{i}") for i in range(n)]


def conll_rows(path: Path, between: str) -> list[Row]:
    """One row a sentence; `between` stands between its tokens."""
    rows = []
    for block in path.read_text("utf-8").replace("\n\t\n", "\n\n").split("\n\n"):
        text, spans = "", []
        for line in block.strip().splitlines():
            token, tag = line.split("\t")
            start = len(text) + (len(between) if text else 0)
            text += (between if text else "") + token
            if tag[0] == "B":
                spans.append(Span(start, len(text), tag[2:]))
            elif tag[0] == "I":
                spans[-1] = Span(spans[-1].start, len(text), tag[2:])
        rows.append(Row(f"data:{len(rows)}", text, None, tuple(spans)))
    return [row for row in rows if row.text]


def real_rows(shared: Path, name: str) -> list[Row]:
    path = shared / "data" / name / "train.conll"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return conll_rows(path, "" if name.startswith("zh") else " ")


def work_of(rows: list[Row], labels: tuple[str, ...] = ()) -> Work:
    return Work(None, None, SimpleNamespace(labels=labels), tuple(rows), ())  # type: ignore[arg-type]


def said(row: Row) -> list[str]:
    """What the spans of a row cover, in their order."""
    assert isinstance(row.target, tuple)
    return [row.text[s.start : s.end] for s in sorted(row.target, key=lambda s: s.start)]  # type: ignore[union-attr]


def labels(row: Row) -> list[str]:
    assert isinstance(row.target, tuple)
    return [s.label for s in sorted(row.target, key=lambda s: s.start)]  # type: ignore[union-attr]
