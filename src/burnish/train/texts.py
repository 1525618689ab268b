"""The texts that encoded rows were made of, for a tweak that asks what a token means or makes new texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.core import Rows
from burnish.train.batches import Encoded, encode

__all__ = ["Texts"]


@dataclass(frozen=True)
class Texts:
    tokenizer: Any
    rows: Rows  # in the order of the encoded ones; where rows are cut into windows, fewer than those
    max_length: int

    def encode(self, rows: Rows) -> Encoded:
        """Token ids of `rows`, cut as the training rows were."""
        return encode(self.tokenizer, rows, self.max_length)

    def of(self, which: Sequence[int]) -> "Texts":
        """Those of some of the encoded rows; windows cannot be told apart here, so all of theirs."""
        return replace(self, rows=[self.rows[i] for i in which]) if max(which) < len(self.rows) else self

    @property
    def special(self) -> tuple[int, ...]:
        """Ids of tokens that stand for no text: padding, borders, the mask. An unknown word is text."""
        tokenizer = self.tokenizer
        borders = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
        unknown = {tokenizer.unk_token_id} - borders  # GPT-2 has one token for all of them
        return tuple(sorted(set(tokenizer.all_special_ids) - unknown))
