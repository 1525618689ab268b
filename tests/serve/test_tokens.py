"""The server's token ids are transformers' own, whatever the text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.serve import tokens
from burnish.serve.tokens import Encoder, Unreadable
from tests.tiny import tiny_tokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MOST = 16
TEXTS = ["", "a good film", "Good\tfilm\x00was  bad!", "naïve ﬁlm 电影 😀", "the [SEP] film", "film " * 40, "x" * 300]


def byte_level():
    """A tokenizer as RoBERTa's: byte-level pieces, <s> a </s></s> b </s>, one segment."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = {p: i for i, p in enumerate([*names, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=pieces, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


@pytest.fixture(scope="module", params=["wordpiece", "byte level", "cut left"])
def both(request, tmp_path_factory):
    """A transformers tokenizer and our encoder of what it saved."""
    theirs = byte_level() if request.param == "byte level" else tiny_tokenizer()
    if request.param == "cut left":
        theirs.truncation_side = "left"
    folder = tmp_path_factory.mktemp("tokenizer")
    theirs.save_pretrained(folder)
    inputs = [n for n in INPUTS if n in theirs.model_input_names]
    return theirs, Encoder(folder, inputs=inputs, max_length=MOST, cut_side=theirs.truncation_side)


def same(theirs, ours, texts):
    found = ours.encode(texts, truncate=True)
    for text, row, length, cut in zip(texts, found.rows, found.lengths, found.truncated, strict=True):
        # As lists, which is how rows are encoded for training: with two plain texts, an empty second one is dropped.
        first, second = ([text], None) if isinstance(text, str) else ([text[0]], [text[1]])
        expected = theirs(first, second, truncation=True, max_length=MOST)
        assert {name: ids.tolist() for name, ids in row.items()} == {name: list(expected[name][0]) for name in row}
        whole = len(theirs(first, second)["input_ids"][0])
        assert (length, cut) == (whole, whole > MOST)
        lone = ours.encode([text], truncate=True)
        assert lone.rows[0]["input_ids"].tolist() == row["input_ids"].tolist()


def test_ids_masks_and_segments_are_those_of_transformers(both):
    same(*both, TEXTS)


def test_pairs_too_and_the_longer_text_is_cut_first(both):
    same(*both, [(a, b) for a in TEXTS for b in TEXTS])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60).filter(lambda t: not any(0xD800 <= ord(c) < 0xE000 for c in t)))
def test_any_text_gives_the_same_ids(both, text):
    same(*both, [text, (text, "a film")])


def test_without_truncation_a_long_row_stays_long_and_its_length_says_so(both):
    found = both[1].encode(["film " * 40], truncate=False)
    assert found.lengths[0] > MOST
    assert found.truncated == [False]
    assert len(found.rows[0]["input_ids"]) == found.lengths[0]


def test_rows_are_int64_and_not_padded(both):
    rows = both[1].encode(["a", "a good film was a story"], truncate=True).rows
    assert len(rows[0]["input_ids"]) < len(rows[1]["input_ids"])
    assert {ids.dtype for row in rows for ids in row.values()} == {np.dtype(np.int64)}


def test_a_lone_surrogate_is_refused_as_bad_data(both):
    with pytest.raises(Unreadable, match="tokenised"):
        both[1].encode(["a \ud800 b"], truncate=True)
    assert issubclass(Unreadable, DataError)


def test_a_rust_panic_does_not_get_past(both, monkeypatch):
    class PanicException(BaseException):
        """As pyo3's, which no `except Exception` catches."""

    class Panics:
        def encode(self, text):
            raise PanicException("regex gave up")

        encode_batch_fast = encode

    monkeypatch.setattr(both[1], "_whole", Panics())
    with pytest.raises(Unreadable):
        both[1].encode(["a"], truncate=True)
    assert both[1].slowest_probe() == float("inf")


def test_a_pattern_that_backtracks_shows_in_the_probe(tmp_path):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    hostile = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    hostile.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    hostile.save(str(tmp_path / "tokenizer.json"))
    assert Encoder(tmp_path, inputs=INPUTS, max_length=MOST).slowest_probe() > tokens.SLOW


def test_a_sound_tokenizer_passes_the_probe(both):
    assert min(both[1].slowest_probe() for _ in range(5)) < tokens.SLOW


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": 3}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json is damaged"):
        Encoder(tmp_path, inputs=INPUTS, max_length=MOST)
