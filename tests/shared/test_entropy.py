import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec.entropy import MASS, CdfTables, Reader, Writer
from shared.errors import PeerError


def cdf_tables(rows: int = 3, width: int = 4) -> CdfTables:
    """Tables whose spread doubles from row to row."""
    values = np.arange(-width, width + 1)
    weights = np.exp(-np.abs(values)[None] / 2.0 ** np.arange(rows)[:, None])
    counts = np.floor(weights / weights.sum(1, keepdims=True) * (MASS - 1000)).astype(np.int64) + 1
    escape = MASS - counts.sum(1, keepdims=True)
    return CdfTables(np.concatenate([counts, escape], axis=1).astype(np.uint16))


CDF_TABLES = cdf_tables()
# The far ends take the longest escapes there are.
numbers = st.lists(
    st.tuples(st.integers(-20, 20) | st.integers(-(2**25), 2**25), st.integers(-2, 5)),
    min_size=1,
    max_size=40,
)


@pytest.mark.slow
@given(numbers, st.integers(0, 15))
def test_numbers_go_there_and_back_whatever_their_size(pairs: list[tuple[int, int]], first: int) -> None:
    values, scales = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    writer = Writer()
    writer.uniform(first, 16)
    writer.numbers(values, scales, CDF_TABLES)
    reader = Reader(writer.bytes())
    assert reader.uniform(16) == first
    np.testing.assert_array_equal(reader.numbers(scales, CDF_TABLES), values)
    reader.finish()


def test_the_cost_is_what_is_written() -> None:
    generator = np.random.default_rng(0)
    values = np.rint(generator.laplace(0, 2, 4000)).astype(np.int64)
    scales = generator.integers(0, 3, 4000)
    writer = Writer()
    writer.numbers(values, scales, CDF_TABLES)
    assert len(writer.bytes()) * 8 == pytest.approx(CDF_TABLES.cost(values, scales).sum(), rel=0.01)


def test_the_bytes_are_the_same_everywhere() -> None:
    writer = Writer()
    writer.uniform(5, 16)
    writer.numbers(np.array([0, 1, -1, 3, -900, 0], np.int64), np.array([0, 0, 1, 2, 2, 2]), CDF_TABLES)
    assert writer.bytes().hex() == "9e485b5865621d"


def test_nothing_is_written_as_nothing() -> None:
    assert Writer().bytes() == b""
    Reader(b"").finish()


@pytest.mark.parametrize("data", [b"\0", b"abc\0", bytes(4), bytes(9)])
def test_bytes_that_no_writer_leaves_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="empty byte"):
        Reader(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        reader = Reader(data)
        read = reader.numbers(np.zeros(30, np.int64), CDF_TABLES)
        assert np.abs(read).max() <= 2**26 + CDF_TABLES.width
        reader.finish()


def test_a_number_past_every_escape_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="too far out"):
        Writer().numbers(np.array([2**27], np.int64), np.zeros(1, np.int64), CDF_TABLES)


@pytest.mark.parametrize(
    "counts",
    [
        np.full((2, 4), MASS // 4, np.int64),
        np.full((2, 5), MASS // 5, np.uint16),
        np.full((2, 4), MASS // 8, np.uint16),
        np.array([[0, MASS // 2, MASS // 4, MASS // 4]], np.uint16),
        np.zeros((0, 4), np.uint16),
        np.full(4, MASS // 4, np.uint16),
    ],
)
def test_tables_that_are_none_are_refused(counts: np.ndarray) -> None:
    with pytest.raises(ValueError, match="table"):
        CdfTables(counts)
