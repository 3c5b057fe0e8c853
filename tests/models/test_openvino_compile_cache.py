"""Compiled graphs are kept for the next start: whole, the user's own, only so many, and never missed."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.openvino import compile_cache
from models.openvino.compile_cache import keep, name_of, read
from models.openvino.runtime import compiled, openvino


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


def test_what_is_someone_elses_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("a", b"graph")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1, raising=False)
    assert read("a") is None


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
