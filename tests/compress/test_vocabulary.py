import json
from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from burnish.compress.int8 import Int8
from burnish.compress.vocabulary import Vocabulary, kept_ids, trimmed
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.tiny import tiny_work

TEXTS = ["the battery died after two days", "a lovely phone with a bright screen", "dull plot, poor acting"] * 5


def trained(kind: str) -> Tokenizer:
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "BPE":
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    elif kind == "Unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=specials, unk_token="<unk>")
    else:
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials)
    made.train_from_iterator([*TEXTS, "something quite different altogether, xylophones"] * 3, trainer)
    made.post_processor = processors.RobertaProcessing(
        ("</s>", made.token_to_id("</s>")), ("<s>", made.token_to_id("<s>"))
    )
    return made


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])
def test_texts_that_were_seen_are_cut_into_the_same_pieces(kind: str) -> None:
    whole = trained(kind)
    form = json.loads(whole.to_str())
    used = {i for text in TEXTS for i in whole.encode(text).ids}
    kept = kept_ids(form, used, spare=0)
    small = Tokenizer.from_str(json.dumps(trimmed(form, kept)))
    assert small.get_vocab_size() < whole.get_vocab_size()
    for text in TEXTS[:3]:
        assert small.encode(text).tokens == whole.encode(text).tokens
        assert [kept[i] for i in small.encode(text).ids] == whole.encode(text).ids


def test_no_seen_row_changes_its_answer() -> None:
    work = tiny_work()
    made = Vocabulary(spare=0)(work, Random(0))
    assert made.notes["tokens"] < made.notes["tokens_before"]
    before = outputs_of_rows(work.model, work.tokenizer, work.train, 64)
    assert np.array_equal(before, outputs_of_rows(made.model, made.tokenizer, work.train, 64))


def test_unknown_words_can_still_be_spelled() -> None:
    made = Vocabulary(spare=0)(tiny_work(), Random(0))
    ids = made.tokenizer("zebra quux 42")["input_ids"]
    assert made.tokenizer.unk_token_id not in ids
    assert max(ids) < made.model.config.vocab_size


def test_after_int8_it_says_which_goes_first() -> None:
    made = Int8(smallest=16)(tiny_work(), Random(0))
    with pytest.raises(UsageError, match="before compress/int8"):
        Vocabulary()(made, Random(0))
