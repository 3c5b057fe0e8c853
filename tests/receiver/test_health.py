"""The health check against servers on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from receiver.health import main


@contextmanager
def serving(status: int, body: bytes = b"", location: str = "") -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything alike; its URL, and what it was asked, with which token."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYCAST_TOKEN", "correct-horse")


def test_it_prints_what_the_receiver_says(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(200, b'{"state": "listening"}') as (url, asked):
        assert main(["--connect", url]) == 0
    assert capsys.readouterr().out == "listening\n"
    assert asked == ["/stats Bearer correct-horse"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_goes_nowhere_else(status: int) -> None:
    with serving(200, b'{"state": "listening"}') as (other, asked):
        with serving(status, location=f"{other}/stats") as (url, _):
            assert main(["--connect", url]) == 1
        assert asked == []
