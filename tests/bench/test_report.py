"""Tables line up, JSON stays valid, and files appear whole or not at all."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path

import pytest

from bench.harness.report import Report, check_output, describe, replacing
from shared.errors import KeycastError, RequestError

ROWS = [{"name": "lite", "fps": 31.25, "mae": math.nan}, {"name": "a|b", "fps": 1234.5678, "extra": True}]
REPORT = Report("test", ROWS, ("name", "fps", "mae"), describe("test", "cpu", seed=3, note="x"))


def test_the_table_is_aligned_markdown() -> None:
    assert REPORT.table().splitlines() == [
        "| name | fps     | mae |".replace("fps    ", "    fps"),
        "| ---- | ------: | --: |",
        "| lite |   31.25 |     |",
        "| a/b  | 1234.57 |     |",
    ]


def test_json_has_meta_and_all_columns_and_no_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    REPORT.publish(path)
    stored = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert stored["rows"] == [
        {"name": "lite", "fps": 31.25, "mae": None},
        {"name": "a|b", "fps": 1234.5678, "extra": True},
    ]
    assert stored["meta"]["command"] == "test"
    assert stored["meta"]["seed"] == 3
    assert stored["meta"]["note"] == "x"
    assert {"version", "device", "date"} <= set(stored["meta"])
    assert REPORT.table() in capsys.readouterr().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def fail_half_way(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_failed_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        fail_half_way(temporary)
    with pytest.raises(KeyboardInterrupt), replacing(path):
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_oserror_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(KeycastError, match="No space left on device") as caught,
        replacing(tmp_path / "a.txt"),
    ):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 1


def test_written_files_are_ordinary_files(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    (tmp_path / "b.txt").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")]
    assert modes[0] == modes[1]


def test_places_that_cannot_be_written_are_refused_before(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        check_output(tmp_path)
    with pytest.raises(RequestError, match="There is no folder"):
        check_output(tmp_path / "missing" / "a.json")
    check_output(tmp_path / "a.json")
