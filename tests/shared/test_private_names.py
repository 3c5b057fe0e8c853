"""Names of aiortc and aioice that the next version may not have: each is asked for before it is used."""

import ast
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aioice
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import InboundStream, RTCSctpTransport

from shared.errors import KeycastError
from shared.protocol.arrivals import SequenceTracker
from shared.transport import aiortc_patches, compact_sctp, consent, relay, sctp_limits, voice
from shared.transport.datachannel import Link
from shared.transport.servers import ice_options

TRANSPORT = Path(sctp_limits.__file__).parent
# Asked for where it is used, with an error of its own.
TOLERATED = {"_ssl"}


def peer() -> Any:
    connection = RTCPeerConnection()
    connection.createDataChannel("kp", negotiated=True, id=0)
    return connection


def take_away(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(owner if name in vars(owner) else type(owner), name)


def sctp(there: Any) -> Any:
    return there.sctp


def dtls(there: Any) -> Any:
    return there.sctp.transport


def certificate(there: Any) -> Any:
    return getattr(there.sctp.transport, aiortc_patches.CERTIFICATE)


def ice(there: Any) -> Any:
    return there.sctp.transport.transport


def connection(there: Any) -> Any:
    return there.sctp.transport.transport._connection


def guarded(there: Any) -> None:
    sctp_limits.limit_sctp(there, {0}, lambda _: None, SequenceTracker(), aiortc_patches.Traffic.of({0}))


def counted(there: Any) -> None:
    aiortc_patches.traffic_of(there, {0})


def with_voice(there: Any) -> None:
    voice.VoicePath(there, lambda _: None, lambda _: None)


Part = Callable[[Any], Any]


def space_out_consent(there: RTCPeerConnection) -> None:
    consent.space_out_consent(there, lambda: (0, 0))


NEEDED: list[tuple[Part, Part, str, str]] = [
    *((guarded, sctp, "aiortc", name) for name in sctp_limits._NAMES),
    *((guarded, dtls, "aiortc", name) for name in (aiortc_patches.CERTIFICATE, "_send_data")),
    (guarded, certificate, "aiortc", aiortc_patches.CONTEXT),
    *(
        (compact_sctp.make_compact, sctp, "aiortc", name)
        for name in (*compact_sctp._METHODS, *compact_sctp._FIELDS)
    ),
    (compact_sctp.make_compact, dtls, "aiortc", aiortc_patches.CERTIFICATE),
    (compact_sctp.make_compact, certificate, "aiortc", aiortc_patches.CONTEXT),
    *((space_out_consent, connection, "aioice", name) for name in consent._NAMES),
    *((with_voice, dtls, "aiortc", name) for name in voice._NAMES),
    (counted, ice, "aiortc", "_connection"),
    *((counted, connection, "aioice", name) for name in aiortc_patches._FIELDS),
]
METHODS = [f"{owner}.{name}" for owner, names in aiortc_patches._METHODS.items() for name in names]
SENTENCE = (
    r"^The installed {} [\d.]+ has no {}, which keycast relies on; "
    r"install aiortc 1\.16\.0 and aioice 0\.13\.0, with which it is tested\.$"
)


@pytest.mark.parametrize(
    ("put_in_place", "part", "package", "name"),
    [pytest.param(*one, id=f"{one[0].__name__}-{one[1].__name__}-{one[3]}") for one in NEEDED],
)
async def test_a_name_of_a_connection_that_is_gone_is_one_sentence(
    put_in_place: Part, part: Part, package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = peer()
    take_away(part(there), name, monkeypatch)
    with pytest.raises(KeycastError, match=SENTENCE.format(package, name)):
        put_in_place(there)


async def test_so_is_that_of_a_message_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    there = peer()
    monkeypatch.setattr(sctp_limits, "InboundStream", object)
    with pytest.raises(KeycastError, match=SENTENCE.format("aiortc", "reassembly")):
        guarded(there)
    assert InboundStream().reassembly == []


@pytest.mark.parametrize("method", METHODS)
def test_so_is_a_method_of_aioice(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(f"aioice.ice.{method}")
    with pytest.raises(KeycastError, match=SENTENCE.format("aioice", method.partition(".")[2])):
        aiortc_patches.install()


@pytest.mark.parametrize("name", ["StunProtocol", "Connection", "get_host_addresses"])
def test_so_is_what_aioice_keeps_them_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aioice.ice, name)
    with pytest.raises(KeycastError, match=SENTENCE.format("aioice", r"\w+")):
        aiortc_patches.install()


def test_so_is_the_address_of_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    made = aioice.Candidate.__init__

    def without_host(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        del self._network_host

    monkeypatch.setattr(aioice.Candidate, "__init__", without_host)
    with pytest.raises(KeycastError, match=SENTENCE.format("aioice", "_network_host")):
        aiortc_patches.install()


def test_so_is_the_way_to_ask_a_turn_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aioice.ice, "relayed_candidate")
    with (
        pytest.raises(KeycastError, match=SENTENCE.format("aioice", "relayed_candidate")),
        relay.gathering(ice_options(["turn:192.0.2.1"], "user", "password")),
    ):
        pass


async def test_so_are_the_certificates_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    there = peer()
    monkeypatch.delattr(dtls(there), "_ssl")
    with pytest.raises(KeycastError, match=SENTENCE.format("aiortc", "certificate of a connection")):
        aiortc_patches.fingerprints(there)


async def test_a_link_is_not_made_without_its_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RTCSctpTransport, "_mark_received")
    with pytest.raises(KeycastError, match=SENTENCE.format("aiortc", "_mark_received")):
        Link()


def private(module: Path) -> set[str]:
    """Return the private names that `module` uses of what is not its own class."""
    return {
        node.attr
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }


def test_no_private_name_is_used_that_is_not_asked_for() -> None:
    used = functools.reduce(set.union, map(private, TRANSPORT.glob("*.py")))
    asked = {name for *_, name in NEEDED}
    assert len(used) > 25
    assert used - asked == TOLERATED


def test_the_versions_named_are_those_of_the_constraints() -> None:
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text().split()
    assert all(f"{package}=={known}" in constraints for package, known in aiortc_patches.WORKING.items())
