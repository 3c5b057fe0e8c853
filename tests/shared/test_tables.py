import dataclasses
from pathlib import Path

import constriction
import numpy as np
import pytest

from shared.codec import entropy
from shared.codec.tables import CodecTables
from shared.constants import CallTerms
from shared.errors import RequestError

SHIPPED = Path(__file__).parents[2] / "models" / "weights" / "lite" / "codec.safetensors"


@pytest.fixture(scope="module")
def tables() -> CodecTables:
    return CodecTables.load(SHIPPED)


def test_tables_go_into_a_file_and_back(tables: CodecTables, tmp_path: Path) -> None:
    tables.save(tmp_path / "codec.safetensors")
    again = CodecTables.load(tmp_path / "codec.safetensors")
    assert (again.hash, again.tracks_of) == (tables.hash, tables.tracks_of)
    np.testing.assert_array_equal(again.sensitivity, tables.sensitivity)


def test_the_hash_is_of_all_that_decoding_rests_on_and_no_more(tables: CodecTables) -> None:
    for name in ("first", "change"):
        changed = getattr(tables, name).copy()
        changed[7] += 1
        assert dataclasses.replace(tables, **{name: changed}).hash != tables.hash
    swapped = tables.levels.copy()
    swapped[0] = swapped[0][::-1]
    assert dataclasses.replace(tables, levels=swapped).hash != tables.hash
    assert dataclasses.replace(tables, sensitivity=2 * tables.sensitivity).hash == tables.hash


def test_the_hash_is_also_of_what_the_entropy_coder_makes_of_them(
    tables: CodecTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """constriction's other way to turn counts into probabilities stands for another version of it."""
    before = CallTerms("lite", "f", 10, 60, "coded", tables.hash)
    monkeypatch.setattr(entropy, "_MODEL", constriction.stream.model.Categorical(perfect=True))
    other = CallTerms("lite", "f", 10, 60, "coded", dataclasses.replace(tables).hash)
    assert "install the same versions of keycast and of constriction" in str(before.difference(other))


def test_an_error_of_the_keypoints_counts_as_it_does_in_the_picture(tables: CodecTables) -> None:
    np.testing.assert_allclose(tables.sensitivity, tables.sensitivity.T, rtol=1e-4, atol=1e-6)
    assert np.linalg.eigvalsh(tables.sensitivity.astype(np.float64)).min() > -1e-6
    step = tables.lattice.matrix.astype(np.float64) / 2.0**24
    seen = np.sqrt(np.diag(step.T @ tables.sensitivity @ step))
    # One step of any of the 60 is as large in the picture as of any other, or smaller where none would show.
    assert seen.max() < 1.01 * 2.0**-10
    assert np.median(seen) > 0.8 * 2.0**-10


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other", "large"])
def test_a_file_that_is_none_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    data = SHIPPED.read_bytes()
    if damage != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "cut": data[: len(data) // 2],
                "other": (SHIPPED.parent / "model.safetensors").read_bytes()[:5000],
                "large": data + bytes(1 << 21),
            }[damage]
        )
    with pytest.raises(RequestError, match="cannot be used"):
        CodecTables.load(path)


def test_tables_of_wrong_sizes_are_refused(tables: CodecTables) -> None:
    for changed in (
        {"first": tables.first[:59]},
        {"change": tables.change.astype(np.int32)},
        {"levels": tables.levels[1:]},
        {"levels": tables.levels // 2},
        {"sensitivity": np.full((60, 60), np.nan, np.float32)},
    ):
        with pytest.raises(ValueError, match=r"first|change|levels|sensitivity"):
            dataclasses.replace(tables, **changed)
