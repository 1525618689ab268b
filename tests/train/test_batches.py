import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.train.batches import batch_order, collate, exact_batches, padding_share

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


@given(lengths, st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_every_row_comes_exactly_once_and_the_order_is_a_pure_function(lengths_N, size, seed, epoch) -> None:
    batches = batch_order(lengths_N, size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths_N)))
    again = batch_order(lengths_N, size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_see_different_orders() -> None:
    lengths_N = np.random.default_rng(0).integers(5, 40, 500)
    first = np.concatenate(batch_order(lengths_N, 16, 0, 0))
    assert not np.array_equal(first, np.concatenate(batch_order(lengths_N, 16, 0, 1)))
    assert not np.array_equal(first, np.concatenate(batch_order(lengths_N, 16, 1, 0)))


def test_buckets_leave_little_padding_and_no_order_by_length() -> None:
    lengths_N = np.random.default_rng(0).integers(5, 60, 4000)
    batches = batch_order(lengths_N, 32, 0, 0)
    assert padding_share(lengths_N, batches) < 0.05
    widths = np.array([lengths_N[b].max() for b in batches], dtype=float)
    neighbours = np.corrcoef(widths[:-1], widths[1:])[0, 1]
    assert abs(neighbours) < 0.25  # sorted batches would give nearly 1


@given(lengths, st.integers(1, 16))
def test_exact_batches_hold_one_length_each(lengths_N, size) -> None:
    batches = exact_batches(lengths_N, size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths_N)))
    assert all(len(set(lengths_N[b])) == 1 and len(b) <= size for b in batches)


def test_collate_pads_on_the_right_and_masks() -> None:
    made = collate([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}], pad_id=9)
    assert torch.equal(made["input_ids"], torch.tensor([[5, 6, 7], [8, 9, 9]]))
    assert torch.equal(made["attention_mask"], torch.tensor([[1, 1, 1], [1, 0, 0]]))
