"""Secrets come from variables, or from the files that they name."""

from pathlib import Path

import pytest

from shared.errors import RequestError
from shared.runtime.environment import from_environment


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEYCAST_X", "KEYCAST_X_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_variable_or_the_file_it_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert from_environment("KEYCAST_X") is None
    monkeypatch.setenv("KEYCAST_X", "")
    assert from_environment("KEYCAST_X") is None
    monkeypatch.setenv("KEYCAST_X", "secret")
    assert from_environment("KEYCAST_X") == "secret"
    monkeypatch.delenv("KEYCAST_X")
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setenv("KEYCAST_X_FILE", str(file))
    assert from_environment("KEYCAST_X") == "from a file"
    file.write_text("\n")
    assert from_environment("KEYCAST_X") is None


def test_what_cannot_be_meant_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing, odd = tmp_path / "missing", tmp_path / "odd"
    odd.write_bytes(b"\xff\xfe")
    for file, cause in ((missing, "No such file"), (tmp_path, "directory"), (odd, "not text")):
        monkeypatch.setenv("KEYCAST_X_FILE", str(file))
        with pytest.raises(RequestError, match=rf"Cannot read .*, which KEYCAST_X_FILE names: .*{cause}"):
            from_environment("KEYCAST_X")
    monkeypatch.setenv("KEYCAST_X", "secret")
    with pytest.raises(RequestError, match="Both KEYCAST_X and KEYCAST_X_FILE"):
        from_environment("KEYCAST_X")
