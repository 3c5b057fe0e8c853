"""STUN and TURN servers are read from what a person types; nonsense is told in one sentence."""

from pathlib import Path

import pytest

from receiver.__main__ import main as receiver_main
from sender.__main__ import main as sender_main
from sender.__main__ import parser
from shared.errors import RequestError
from shared.transport.servers import DIRECT, IceOptions, IceServer, chosen_ice, ice_options


def turn(host: str, port: int, transport: str = "udp", scheme: str = "turn") -> IceServer:
    return IceServer(scheme, host, port, transport, "me", "secret")


@pytest.mark.parametrize(
    ("url", "server", "shown"),
    [
        ("turn:relay.example.org", turn("relay.example.org", 3478), "turn:relay.example.org:3478"),
        ("turn:192.0.2.1:99?transport=udp", turn("192.0.2.1", 99), "turn:192.0.2.1:99"),
        ("turn:a:99?transport=tcp", turn("a", 99, "tcp"), "turn:a:99?transport=tcp"),
        ("turns:a", turn("a", 5349, "tcp", "turns"), "turns:a:5349"),
        ("turns:a:443?transport=tcp", turn("a", 443, "tcp", "turns"), "turns:a:443"),
    ],
)
def test_turn_servers(url: str, server: IceServer, shown: str) -> None:
    assert ice_options([url], "me", "secret") == IceOptions(turn=(server,))
    assert server.url == shown
    assert ice_options([shown], "me", "secret").turn == (server,)


def test_nothing_is_asked_by_default() -> None:
    assert chosen_ice(parser().parse_args(["--source", "demo"])) == DIRECT == IceOptions()


def test_servers_of_both_kinds_in_order_of_choice() -> None:
    urls = ["turn:b", "stun:s:7", "turn:a?transport=tcp"]
    found = ice_options(urls, "me", "secret", relay_only=True)
    assert found.stun == IceServer("stun", "s", 7)
    assert [server.host for server in found.turn] == ["b", "a"]
    assert found.relay_only


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        (["turn"], "not a STUN or TURN server"),
        (["turn:"], "not a STUN or TURN server"),
        (["http://a"], "not a STUN or TURN server"),
        (["turn://a"], "not a STUN or TURN server"),
        (["turn:a:0"], "not a STUN or TURN server"),
        (["turn:a:65536"], "not a STUN or TURN server"),
        (["turn:a:x"], "not a STUN or TURN server"),
        (["turn:a\n"], "not a STUN or TURN server"),
        (["turn:me@a"], "not a STUN or TURN server"),
        (["turn:[::1]:3478"], "an IPv4 address"),
        (["turn:a?transport=sctp"], "not a STUN or TURN server"),
        (["stun:a?transport=tcp"], "leave out"),
        (["turns:a?transport=udp"], "TLS runs over TCP"),
        (["stun:a", "stun:b"], "give only one"),
    ],
)
def test_nonsense_is_told(urls: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ice_options(urls, "me", "secret")


def test_a_turn_server_wants_credentials_and_a_relay_a_turn_server() -> None:
    for user, password in ((None, "secret"), ("me", None), (None, None)):
        with pytest.raises(RequestError, match="needs a user name and a password"):
            ice_options(["turn:a"], user, password)
    with pytest.raises(RequestError, match="needs a relay"):
        ice_options(["stun:a"], relay_only=True)


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    monkeypatch.setenv("KEYCAST_TURN_USER", "them")
    monkeypatch.setenv("KEYCAST_TURN_PASSWORD_FILE", str(file))
    words = ["--source", "demo", "--ice-server", "turn:a"]
    (found,) = chosen_ice(parser().parse_args(words)).turn
    assert (found.username, found.credential) == ("them", "from a file")
    given = parser().parse_args([*words, "--turn-user", "me", "--turn-password", "secret"])
    assert chosen_ice(given).turn == (turn("a", 3478),)


@pytest.mark.parametrize("module", ["sender", "receiver"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ice-server", "relay.example.org"], "not a STUN or TURN server"),
        (["--ice-server", "turn:a"], "--turn-user"),
        (["--relay-only"], "--ice-server turn:HOST:PORT"),
    ],
)
def test_the_commands_say_it_and_exit_2(
    capfd: pytest.CaptureFixture[str], module: str, words: list[str], message: str
) -> None:
    code = (
        receiver_main(["--view", "none", *words])
        if module == "receiver"
        else sender_main(["--source", "demo", *words])
    )
    error = capfd.readouterr().err
    assert code == 2
    assert message in error
    assert (error.startswith("error: "), error.count("\n")) == (True, 1)
