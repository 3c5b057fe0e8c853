"""Compiled graphs are kept for the next start: whole, the user's own, only so many, and never missed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.openvino import compile_cache
from models.openvino.compile_cache import keep, name_of, read
from models.openvino.runtime import compiled, openvino

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other owners and modes")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled graphs are kept."""
    monkeypatch.setattr(compile_cache.platformdirs, "user_cache_path", lambda _name: tmp_path)
    return tmp_path / "graphs"


def test_what_is_kept_comes_back(folder: Path) -> None:
    assert read("a") is None
    keep("a", b"first")
    keep("a", b"second")
    assert read("a") == b"second"
    assert [path.name for path in folder.iterdir()] == ["a.graph"]
    assert folder.stat().st_mode & 0o077 == 0


def test_a_careless_umask_changes_nothing(folder: Path) -> None:
    before = os.umask(0)
    try:
        keep("a", b"graph")
    finally:
        os.umask(before)
    assert read("a") == b"graph"
    assert (folder / "a.graph").stat().st_mode & 0o077 == 0


def test_names_tell_apart_what_they_are_made_of() -> None:
    assert len({name_of("a", "b"), name_of("b", "a"), name_of("ab"), name_of("a", "b", "")}) == 4


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b[:9] + b"!" + b[10:], lambda _: b"", lambda _: bytes(31)]
)
def test_what_is_not_as_it_was_written_is_not_read(folder: Path, change: Callable[[bytes], bytes]) -> None:
    keep("a", b"what was compiled")
    path = folder / "a.graph"
    path.write_bytes(change(path.read_bytes()))
    assert read("a") is None


def test_what_is_kept_under_another_name_is_not_read(folder: Path) -> None:
    keep("a", b"graph")
    (folder / "a.graph").rename(folder / "b.graph")
    assert read("b") is None


def test_what_is_someone_elses_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("a", b"graph")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert read("a") is None


@pytest.mark.parametrize("shared", ["graphs", "graphs/a.graph"])
def test_what_others_may_write_is_not_read(tmp_path: Path, shared: str) -> None:
    keep("a", b"graph")
    (tmp_path / shared).chmod(0o777)
    assert read("a") is None


def test_what_is_no_file_is_neither_followed_nor_waited_for(folder: Path, tmp_path: Path) -> None:
    keep("a", b"graph")
    (folder / "a.graph").rename(tmp_path / "elsewhere")
    (folder / "a.graph").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "b.graph", 0o600)
    assert read("a") is read("b") is None


def test_what_cannot_be_marked_as_used_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is mounted to be read."""
    keep("a", b"graph")

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "utime", refuse)
    assert read("a") == b"graph"


def test_what_a_killed_process_left_is_taken_away(folder: Path) -> None:
    for name, age in (("old", 7200), ("young", 60)):
        (folder / f".compiling-{name}").mkdir(parents=True, exist_ok=True)
        (folder / f".compiling-{name}" / "graph").write_bytes(b"half")
        os.utime(folder / f".compiling-{name}", (time.time() - age,) * 2)
    keep("a", b"graph")
    assert {path.name for path in folder.iterdir()} == {"a.graph", ".compiling-young"}


def test_only_those_used_last_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache, "KEPT", 2)
    for age, name in enumerate("ab"):
        keep(name, name.encode())
        os.utime(folder / f"{name}.graph", (age, age))
    assert read("a") == b"a"  # and is the younger one by that
    keep("c", b"c")
    assert {path.stem for path in folder.iterdir()} == {"a", "c"}


def test_without_a_place_nothing_is_kept_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "graphs").write_text("a file")
    keep("a", b"graph")
    assert read("a") is None
    monkeypatch.setattr(compile_cache.platformdirs, "user_cache_path", lambda _name: Path("nowhere"))
    keep("a", b"graph")
    assert read("a") is None
    assert not Path("nowhere").exists()


def model(factor: float) -> Any:
    ops = openvino().opset13
    given = ops.parameter([3], np.float32, "x")
    return openvino().Model([ops.multiply(given, np.float32(factor))], [given], "toy")


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine")
def test_a_graph_is_compiled_once(folder: Path) -> None:
    one = np.ones(3, np.float32)

    def product(factor: float, *arguments: Any) -> float:
        return float(compiled(model(factor), *arguments).infer([one])[0][0])

    assert product(2, "float32", 1, None) == 2
    assert not folder.exists()
    assert product(2, "float32", 1, "two") == 2
    (path,) = folder.iterdir()
    # Of another graph under the same key nothing is seen: what was kept is what is taken.
    assert product(3, "float32", 1, "two") == 2
    # Another key, number of threads or precision is another thing.
    assert product(3, "float32", 1, "three") == 3
    assert product(3, "float32", 2, "two") == 3
    # What OpenVINO does not take, whatever the reason, is compiled anew, and kept.
    keep(path.stem, b"no graph")
    assert product(4, "float32", 1, "two") == 4
    assert product(5, "float32", 1, "two") == 4


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine")
def test_what_cannot_be_kept_is_used_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot be exported")

    monkeypatch.setattr("openvino.CompiledModel.export_model", refuse)
    assert compiled(model(2), "float32", 1, "two").infer([np.ones(3, np.float32)])[0][0] == 2
    assert not folder.exists()
