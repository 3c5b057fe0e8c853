import dataclasses
from pathlib import Path

import constriction
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

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
    for name in ("first", "course", "tilt", "change"):
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
    step = tables.quantizer.matrix.astype(np.float64) / 2.0**24
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


def test_tables_of_before_there_was_a_course_are_told_so(tmp_path: Path) -> None:
    arrays = load_file(SHIPPED)
    del arrays["course"]
    save_file(arrays, tmp_path / "codec.safetensors")
    with pytest.raises(RequestError, match=r"of another version: they have no 'course'; make them again"):
        CodecTables.load(tmp_path / "codec.safetensors")


def test_scales_are_those_of_slow_and_quick_coefficients(tables: CodecTables) -> None:
    one, six = tables.block_scales(1), tables.block_scales(6)
    np.testing.assert_array_equal(one, tables.first[None])
    assert six.shape == (6, 60)
    # The mean of six frames counts 6**0.5 times: 2 log2 6 is 5 quarters, whole.
    np.testing.assert_array_equal(six[0], tables.first + 5)
    # People move slowly: of nearly all numbers, slow waves are larger than quick ones.
    assert np.median(np.diff(six[1:], axis=0)) < 0
    assert np.median(six[1] - six[5]) >= 4


def test_tables_of_wrong_sizes_are_refused(tables: CodecTables) -> None:
    for changed in (
        {"first": tables.first[:59]},
        {"change": tables.change.astype(np.int32)},
        {"course": tables.course[None]},
        {"tilt": tables.tilt[1:]},
        {"levels": tables.levels[1:]},
        {"levels": tables.levels // 2},
        {"sensitivity": np.full((60, 60), np.nan, np.float32)},
    ):
        with pytest.raises(ValueError, match=r"first|course|tilt|change|levels|sensitivity"):
            dataclasses.replace(tables, **changed)
