import os
from pathlib import Path

import pytest

from shared.errors import RequestError
from shared.transport import pairing


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "keycast"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0", ("0.0.0.0", 8470)),
        ("[::1]:9000", ("::1", 9000)),
        ("host.example:0", ("host.example", 0)),
    ],
)
def test_listen_addresses(text: str, address: tuple[str, int]) -> None:
    assert pairing.listen_address(text) == address


@pytest.mark.parametrize("text", ["a:b", "a:70000", "a:-1", "a/b", "user@a:1", "a:1?x", "[::1:9"])
def test_other_text_is_no_address(text: str) -> None:
    with pytest.raises(RequestError, match="address"):
        pairing.listen_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (None, "http://127.0.0.1:8470"),
        ("192.0.2.7", "http://192.0.2.7:8470"),
        ("192.0.2.7:9000", "http://192.0.2.7:9000"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
        ("https://calls.example.org:443", "https://calls.example.org:443"),
    ],
)
def test_call_urls(text: str | None, url: str) -> None:
    assert pairing.call_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "ftp://host", "http://", "http://a/b", "file:///etc/passwd", "a:b", "://a"]
)
def test_other_text_is_no_url(text: str) -> None:
    with pytest.raises(RequestError, match="address"):
        pairing.call_url(text)


def test_tokens_are_new_and_sound() -> None:
    tokens = {pairing.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(pairing.check_token(token) == token and len(token) == 18 for token in tokens)
    assert all(token.isalnum() for token in tokens)


@pytest.mark.parametrize("token", ["", "a b", "ä", "a\nb", "x" * 201])
def test_an_unsound_token_is_refused(token: str) -> None:
    with pytest.raises(RequestError, match="token"):
        pairing.check_token(token)


def test_a_published_token_is_found_on_this_machine_only(runtime: Path) -> None:
    path = pairing.publish(9000, "secret")
    assert path.parent == runtime
    assert (path.stat().st_mode & 0o777, runtime.stat().st_mode & 0o777) == (0o600, 0o700)
    for url in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"):
        assert pairing.local_token(url) == "secret"
    assert pairing.local_token("http://192.0.2.1:9000") is None
    assert pairing.local_token("http://127.0.0.1:9001") is None
    pairing.publish(9000, "newer")
    assert pairing.local_token("http://127.0.0.1:9000") == "newer"
    pairing.withdraw(9000)
    pairing.withdraw(9000)
    assert pairing.local_token("http://127.0.0.1:9000") is None


def test_a_folder_open_to_others_is_not_trusted(runtime: Path) -> None:
    pairing.publish(9000, "secret")
    runtime.chmod(0o755)
    with pytest.raises(RequestError, match="open to other users"):
        pairing.local_token("http://127.0.0.1:9000")
    with pytest.raises(RequestError, match="open to other users"):
        pairing.publish(9000, "secret")


def test_a_file_open_to_others_is_not_trusted() -> None:
    pairing.publish(9000, "secret").chmod(0o644)
    with pytest.raises(RequestError, match="open to other users"):
        pairing.local_token("http://127.0.0.1:9000")


def test_links_are_not_followed(runtime: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    runtime.symlink_to(target)
    with pytest.raises(RequestError, match="not a folder"):
        pairing.publish(9000, "secret")
    runtime.unlink()
    path = pairing.publish(9000, "secret")
    (target / "file").write_text("x")
    path.unlink()
    path.symlink_to(target / "file")
    with pytest.raises(RequestError, match="cannot be read"):
        pairing.local_token("http://127.0.0.1:9000")


def test_without_a_runtime_folder_the_temporary_one_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = pairing.publish(9000, "secret")
    assert path.parent == tmp_path / f"keycast-{os.getuid()}"
    assert pairing.local_token("http://127.0.0.1:9000") == "secret"


def test_a_runtime_folder_that_is_gone_gives_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/place")
    with pytest.raises(RequestError, match="cannot be written: No such file"):
        pairing.publish(9000, "secret")
    assert pairing.local_token("http://127.0.0.1:9000") is None


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(RequestError, match="can be guessed"):
        pairing.check_strong("hunter2")
    pairing.check_strong("correct-horse")
    pairing.check_strong(pairing.new_token())
