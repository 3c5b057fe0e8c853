import pytest

from shared.errors import RequestError
from shared.transport import pairing


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


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(RequestError, match="can be guessed"):
        pairing.check_strong("hunter2")
    pairing.check_strong("correct-horse")
    pairing.check_strong(pairing.new_token())
