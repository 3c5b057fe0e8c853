import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import RequestError
from shared.transport.token_file import Published, find

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is published without locks")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "keycast"


@contextmanager
def serving(*addresses: str, token: str = "secret") -> Iterator[Path]:
    published = Published.publish(9000, token, addresses or ("127.0.0.1",))
    try:
        yield published.path
    finally:
        published.withdraw()


def test_a_published_token_is_found_on_this_machine_only(runtime: Path) -> None:
    with serving() as path:
        assert path.parent == runtime
        assert (path.stat().st_mode & 0o777, runtime.stat().st_mode & 0o777) == (0o600, 0o700)
        assert find("http://127.0.0.1:9000") == ("secret", "http://127.0.0.1:9000")
        assert find("http://192.0.2.1:9000") is None
        assert find("http://127.0.0.1:9001") is None
    assert find("http://127.0.0.1:9000") is None
    assert list(runtime.iterdir()) == []
    with serving(token="newer"):
        assert find("http://127.0.0.1:9000") == ("newer", "http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("listening", "host", "called"),
    [
        (["127.0.0.1"], "localhost", "127.0.0.1"),
        (["::1"], "localhost", "[::1]"),
        (["0.0.0.0"], "localhost", "127.0.0.1"),
        (["0.0.0.0", "::"], "[::1]", "[::1]"),
        (["::1"], "[0:0::1]", "[0:0::1]"),
        (["0.0.0.0"], "127.8.9.1", "127.8.9.1"),
        (["127.0.0.1"], "[::1]", None),
        (["127.0.0.1"], "127.0.0.2", None),
        (["192.0.2.7"], "127.0.0.1", None),
        (["192.0.2.7"], "localhost", None),
        (["::"], "127.0.0.1", None),
        (["fe80::1%eth0", "127.0.0.1"], "127.0.0.1", "127.0.0.1"),
    ],
)
def test_it_is_for_the_addresses_where_its_receiver_listens(
    listening: list[str], host: str, called: str | None
) -> None:
    """The same port of the others may be anybody's."""
    with serving(*listening):
        assert find(f"http://{host}:9000") == (called and ("secret", f"http://{called}:9000"))


def test_over_https_the_certificate_says_who_it_is_and_for_which_name() -> None:
    with serving():
        assert find("https://localhost:9000") == ("secret", "https://localhost:9000")


def test_what_a_receiver_left_behind_is_not_used_and_replaced(runtime: Path) -> None:
    with serving() as path:
        left = path.read_bytes()
    path.write_bytes(left)
    path.chmod(0o600)
    assert find("http://127.0.0.1:9000") is None
    with serving(token="newer"):
        assert find("http://127.0.0.1:9000") == ("newer", "http://127.0.0.1:9000")
        assert list(runtime.iterdir()) == [path]


def test_a_second_receiver_leaves_the_first_ones_alone() -> None:
    with serving():
        with pytest.raises(RequestError, match="Another receiver"), serving("192.0.2.7", token="other"):
            pass
        assert find("http://127.0.0.1:9000") == ("secret", "http://127.0.0.1:9000")


def test_a_folder_open_to_others_is_not_trusted(runtime: Path) -> None:
    with serving():
        runtime.chmod(0o755)
        with pytest.raises(RequestError, match="open to other users"):
            find("http://127.0.0.1:9000")
        with pytest.raises(RequestError, match="open to other users"), serving():
            pass


def test_a_file_open_to_others_is_not_trusted() -> None:
    with serving() as path:
        path.chmod(0o644)
        with pytest.raises(RequestError, match="open to other users"):
            find("http://127.0.0.1:9000")


@pytest.mark.parametrize("content", [b"\xff", b"secret\nnonsense"])
def test_a_spoiled_file_gives_a_sentence(content: bytes) -> None:
    with serving() as path:
        path.write_bytes(content)
        with pytest.raises(RequestError, match="cannot be read"):
            find("http://127.0.0.1:9000")


def test_links_are_not_followed(runtime: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    runtime.symlink_to(target)
    with pytest.raises(RequestError, match="not a folder"), serving():
        pass
    runtime.unlink()
    (target / "file").write_text("x")
    with serving() as path:
        path.unlink()
        path.symlink_to(target / "file")
        with pytest.raises(RequestError, match="cannot be read"):
            find("http://127.0.0.1:9000")
    # It was not this receiver's any more, and is replaced by the next one's.
    with serving() as path:
        assert not path.is_symlink()
    assert (target / "file").read_text() == "x"


def test_without_a_runtime_folder_the_temporary_one_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving() as path:
        assert path.parent == tmp_path / f"keycast-{os.getuid()}"
        assert find("http://127.0.0.1:9000") == ("secret", "http://127.0.0.1:9000")


def test_a_runtime_folder_that_is_gone_gives_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/place")
    with pytest.raises(RequestError, match="cannot be written: No such file"), serving():
        pass
    assert find("http://127.0.0.1:9000") is None
