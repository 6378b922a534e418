"""Dot products of all pairs, block by block, against plain matrix products."""

from __future__ import annotations

import numpy as np
import pytest

from zfnb.errors import BadInput
from zfnb.gram import gram, unit_length


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("block", [4, 7, 100])
def test_gram_is_all_dot_products(dtype, block):
    x = np.random.default_rng(0).normal(size=(23, 31)).astype(dtype)
    wanted = x.astype(np.float64) @ x.astype(np.float64).T
    np.testing.assert_allclose(gram(x, normalise=False, block=block), wanted, atol=1e-4)
    length = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(gram(x, block=block), wanted / np.outer(length, length), atol=1e-5)


def test_gram_of_some_rows_of_a_mapped_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(23, 31)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped, items = np.load(tmp_path / "x.npy", mmap_mode="r"), [20, 3, 4, 5, 11]
    np.testing.assert_allclose(gram(mapped, items, block=2), gram(x[items]), atol=1e-6)


@pytest.mark.parametrize(
    "items", [[0, 2, 1, 3], [0, 0, 2], [2, 2, 3, 5], [-2, -1], [-1], [4, 5, 6]]
)
def test_gram_of_rows_in_any_order(items):
    """The last is as far from the first as in a row of neighbours, but they are none."""
    x = np.random.default_rng(0).normal(size=(7, 5))
    wanted = x[items] @ x[items].T
    np.testing.assert_allclose(gram(x, items, normalise=False), wanted, atol=1e-5)


def test_gram_refuses():
    with pytest.raises(BadInput, match="at least one row"):
        gram(np.zeros((0, 3)))
    with pytest.raises(BadInput, match="matrix"):
        gram(np.zeros(3))
    with pytest.raises(BadInput, match="not finite"):
        gram(np.array([[1.0, np.nan], [1, 2]]))


def test_a_vector_of_zeros_stays_one():
    products = unit_length(np.array([[4.0, 0, 2], [0, 0, 0], [2, 0, 9]]))
    np.testing.assert_allclose(products, [[1, 0, 1 / 3], [0, 0, 0], [1 / 3, 0, 1]])
