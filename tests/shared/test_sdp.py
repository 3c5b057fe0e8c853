import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError
from shared.transport.sdp import MAX_LINE, MAX_LINES, MAX_SDP_BYTES, checked

SDP = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
)
NUMERIC = "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n"
SIXTH = "a=candidate:1 1 udp 2130706431 2001:db8::1 5000 typ host\r\n"


def test_numeric_candidates_stay_and_names_go() -> None:
    named = "a=candidate:2 1 udp 2130706431 0b4c.local 5001 typ host\r\n"
    other = "a=candidate:3 1 udp 2130706431 internal.example.org 5001 typ host\r\n"
    broken = "a=candidate:\r\na=candidate:4 1 udp\r\n"
    assert checked(SDP + named + NUMERIC + other + broken + SIXTH) == SDP + NUMERIC + SIXTH


def test_line_ends_may_be_plain() -> None:
    assert checked(SDP.replace("\r\n", "\n")) == SDP


def test_candidates_are_bounded() -> None:
    many = "".join(NUMERIC.replace("5000", str(5000 + n)) for n in range(100))
    assert checked(SDP + many).count("a=candidate") == 32
    # Nor is the same one taken again and again.
    assert checked(SDP + NUMERIC * 100) == SDP + NUMERIC * 32


@pytest.mark.parametrize(
    "more",
    [
        "".join(f"a=ssrc:{n} cname:x\r\n" for n in range(MAX_LINES)),
        "a=x\r\n" * 12_000,
        f"a=ice-ufrag:{'x' * MAX_LINE}\r\n",
    ],
)
def test_few_and_short_lines_are_read(more: str) -> None:
    """aiortc looks each source up among all before it, and sends the user's name with each STUN message."""
    assert len(SDP + more) < MAX_SDP_BYTES
    with pytest.raises(PeerError, match="over 256 lines, or one of over 512"):
        checked(SDP + more)
    most = "a=ssrc:1 cname:x\r\n" * (MAX_LINES - SDP.count("\n") - 1) + f"a=ice-ufrag:{'x' * 256}\r\n"
    assert checked(SDP + most) == SDP + most


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "hello",
        "v=0\r\n",
        SDP.replace("v=0", "v=1"),
        SDP.replace("m=application", "m=video"),
        SDP.replace("webrtc-datachannel", "5000"),
        SDP + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    ],
)
def test_anything_but_one_data_channel_is_refused(sdp: str) -> None:
    with pytest.raises(PeerError, match="session description"):
        checked(sdp)


LINES = st.one_of(
    st.sampled_from(
        [*SDP.splitlines(), NUMERIC, SIXTH, "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=candidate:", ""]
    ),
    st.builds(
        "a=candidate:1 1 {} 1 {} {} typ host".format,
        st.text(max_size=5),
        st.text(max_size=20),
        st.text(max_size=6),
    ),
    st.text(max_size=40),
)
ENDS = st.sampled_from(["\r\n", "\n", "\r", "\x0b", "\u2028", "\x85", " "])


@given(st.lists(LINES, max_size=50), ENDS, st.booleans())
def test_whatever_comes_one_data_channel_and_few_numeric_candidates_are_left(
    lines: list[str], end: str, begun: bool
) -> None:
    with contextlib.suppress(PeerError):
        left = checked((SDP if begun else "") + end.join(lines)).splitlines()
        assert [line for line in left if line.startswith("m=")] == [SDP.splitlines()[4]]
        candidates = [line for line in left if line.startswith("a=candidate:")]
        assert len(candidates) <= 32
        assert all(ipaddress.ip_address(line.split()[4]) for line in candidates)
