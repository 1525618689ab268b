"""Tags, by property: what spans say in any scheme is read back, and what breaks a scheme is read as conlleval does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data.tags import entities, joined, parsed, scheme_of, spans_of

SCHEMES = ("BIO", "IOB1", "BIOES", "BILOU", "BMES", "BMEWO")
LETTERS = {  # begin, inside, end, alone
    "BIO": "BIIB",
    "IOB1": "IIII",
    "BIOES": "BIES",
    "BILOU": "BILU",
    "BMES": "BMES",
    "BMEWO": "BMEW",
}
TYPES = st.sampled_from(["person", "creative-work", "ORG", "B-x"])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, str]]]:
    """(number of tokens, entities that do not overlap)."""
    found, at = [], 0
    for gap, length, label in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), TYPES), max_size=5)):
        found.append((at + gap, at + gap + length, label))
        at += gap + length
    return at + draw(st.integers(0, 2)), found


def written(length: int, found: list[tuple[int, int, str]], scheme: str) -> list[str]:
    """Tags as an annotation tool would write them."""
    begin, inside, end, alone = LETTERS[scheme]
    tags = ["O"] * length
    for first, after, label in found:
        tags[first:after] = [f"{inside}-{label}"] * (after - first)
        tags[first], tags[after - 1] = f"{begin}-{label}", f"{end}-{label}"
        if after - first == 1:
            tags[first] = f"{alone}-{label}"
        touches = any(other[1] == first and other[2] == label for other in found)
        if scheme == "IOB1" and touches:
            tags[first] = f"B-{label}"
    return tags


@given(sentences(), st.sampled_from(SCHEMES))
def test_every_scheme_gives_back_the_entities(sentence: tuple[int, list[tuple[int, int, str]]], scheme: str) -> None:
    length, found = sentence
    tags = written(length, found, scheme)
    assert entities(tags, scheme_of([tags])) == (found, [])


@pytest.mark.parametrize(
    ("scheme", "name"),
    [("BIO", "BIO"), ("IOB1", "IOB1"), ("BIOES", "BIOES"), ("BILOU", "BILOU"), ("BMES", "BIOES"), ("BMEWO", "BIOES")],
)
def test_schemes_are_told_apart(scheme: str, name: str) -> None:
    found = [(0, 2, "x"), (2, 3, "x"), (4, 7, "y"), (8, 9, "x")]
    assert scheme_of([written(10, found, scheme)]) == name


def reference(tags: list[str]) -> list[tuple[int, int, str]]:
    """The entities as the rules of conlleval and seqeval have them: one tag at a time, by what ends and what begins."""
    pairs = [("O", "") if tag == "O" else (tag[0], tag[2:]) for tag in tags]
    before, found, start = ("O", ""), [], 0
    for i, (letter, label) in enumerate([*pairs, ("O", "")]):
        ends = before[0] != "O" and (before[0] in "ES" or letter in "BSO" or before[1] != label)
        begins = letter != "O" and (letter in "BS" or before[0] in "ESO" or before[1] != label)
        if ends:
            found.append((start, i, before[1]))
        if begins:
            start = i
        before = (letter, label)
    return found


@given(st.lists(st.sampled_from(["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "E-y", "S-y"]), max_size=12))
def test_broken_tags_are_read_as_seqeval_reads_them(tags: list[str]) -> None:
    assert entities(tags, "BIOES")[0] == reference(tags)


@pytest.mark.parametrize(
    ("tags", "scheme", "found", "breaks"),
    [
        ("O I-x I-x O", "BIO", [(1, 3, "x")], [1]),
        ("B-x I-y", "BIO", [(0, 1, "x"), (1, 2, "y")], [1]),
        ("B-x I-x B-x", "BIO", [(0, 2, "x"), (2, 3, "x")], []),
        ("O I-x I-x O", "IOB1", [(1, 3, "x")], []),
        ("B-x O E-x", "BIOES", [(0, 1, "x"), (2, 3, "x")], [1, 2]),
        ("B-x I-x", "BIOES", [(0, 2, "x")], [1]),
        ("S-x E-x", "BIOES", [(0, 1, "x"), (1, 2, "x")], [1]),
        ("B I O", "BIO", [(0, 2, "span")], []),
    ],
)
def test_breaks_are_counted_where_they_are(
    tags: str, scheme: str, found: list[tuple[int, int, str]], breaks: list[int]
) -> None:
    assert entities(tags.split(), scheme) == (found, breaks)


@pytest.mark.parametrize("tag", ["PER", "", "o", "X-PER", "I-", "B PER", "3", "-"])
def test_garbage_is_no_tag(tag: str) -> None:
    assert parsed(tag) is None


TOKENS = st.lists(
    st.sampled_from(["Ada", "in", "北", "京", "。", "“", "”", "…", "", " ", "a b", "😀", "é", "１", "서울"]), max_size=9
)


@given(TOKENS)
def test_each_token_stands_where_it_is_said_to(tokens: list[str]) -> None:
    text, where = joined(tokens)
    assert [text[start:end] for start, end in where] == [token.strip() for token in tokens]
    assert text == text.strip()
    assert "  " not in text


@given(sentences(), st.data())
def test_spans_cover_the_tokens_of_their_entity(
    sentence: tuple[int, list[tuple[int, int, str]]], data: st.DataObject
) -> None:
    length, found = sentence
    words = st.sampled_from(["Ada", "北", "京", "a b", "😀"])
    tokens = data.draw(st.lists(words, min_size=length, max_size=length))
    text, spans, _ = spans_of(tokens, written(length, found, "BIO"), "BIO")
    assert [(joined(tokens[a:b])[0], label) for a, b, label in found] == [
        (text[s.start : s.end], s.label) for s in spans
    ]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["in", "北", "京", "Ada"], "in 北京 Ada"),
        (["他", "说", "：", "“", "好", "”", "。"], "他说：“好”。"),
        (["she", "said", "“", "yes", "”"], "she said “ yes ”"),
        (["well", "…", "”"], "well … ”"),
        (["好", "…", "”"], "好…”"),
        (["서울", "에서"], "서울 에서"),
        (["とても", "良い", "3", "回"], "とても良い 3 回"),
        (["😀", "😀"], "😀 😀"),
    ],
)
def test_only_chinese_and_japanese_stand_without_blanks(tokens: list[str], text: str) -> None:
    assert joined(tokens)[0] == text
