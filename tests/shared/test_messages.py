import contextlib
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lite.layout import DIMENSIONS, LAYOUT
from shared.constants import MAX_CTL_MESSAGE, PROTOCOL, CallTerms
from shared.errors import PeerError
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, Message, Ready, SourceChunk, Start, Status, Still, Want
from shared.protocol.reports import Brief, Report

TERMS = CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS)
counts = st.integers(0, 2**53)
maps = st.one_of(
    st.builds(
        Hello,
        st.just(TERMS),
        st.booleans(),
        st.text("abc-", max_size=64),
        st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
    ),
    st.just(Still()),
    st.builds(Status, st.booleans(), st.booleans()),
    st.builds(Start, st.integers(0, 2**32 - 1)),
    st.builds(
        lambda picture, slot, offset, data, alone: SourceChunk(picture, slot, 200_000, offset, data, alone),
        counts,
        st.integers(0, 7),
        st.integers(0, 190_000),
        st.binary(min_size=1, max_size=1024),
        st.booleans(),
    ),
    st.builds(Ready, counts),
    st.builds(Want, st.integers(0, 7)),
    st.builds(Bye, st.text("abc .", max_size=200), st.booleans()),
)
long, short = st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)
reports = st.builds(Report, long, long, short, short, long, long, long)
messages = maps | reports | reports.map(Brief.of)
pieces = st.builds(
    SourceChunk, long, st.integers(0, 7), st.just(200_000), st.integers(0, 190_000),
    st.binary(min_size=1, max_size=1024), st.booleans(),
)  # fmt: skip


@given(messages)
def test_messages_go_there_and_back(message: Message) -> None:
    assert parse_message(pack_message(message)) == message


@given(pieces)
def test_a_piece_of_a_picture_costs_14_bytes_where_that_is_read(piece: SourceChunk) -> None:
    packed = pack_message(piece, short=True)
    assert len(packed) == 14 + len(piece.data)
    assert parse_message(packed) == piece


def test_a_short_piece_that_cannot_be_is_refused() -> None:
    whole = pack_message(SourceChunk(1, 1, 3, 0, b"abc"), short=True)
    past_end, slot_8, huge = whole[:13] + b"\1" + whole[13:], bytearray(whole), bytearray(whole)
    slot_8[5], huge[9] = 8, 1
    for broken in (
        whole[:14],
        whole[:9],
        whole + b"d",
        past_end,
        bytes(slot_8),
        bytes(huge),
        whole + bytes(1025),
    ):
        with pytest.raises(PeerError):
            parse_message(broken)


@given(reports, st.integers(-30_000, 30_000), st.integers(-8_000_000, 8_000_000))
def test_a_short_report_says_the_same_after_any_of_the_last_minutes(
    report: Report, counted: int, frames: int
) -> None:
    last = replace(
        report,
        packets=max(0, report.packets + counted),
        highest=max(0, report.highest + frames),
        frames_held=max(0, report.frames_held - counted),
        delay_ms=1,
    )
    packed = pack_message(Brief.of(report))
    assert len(packed) == 15
    brief = parse_message(packed)
    assert isinstance(brief, Brief)
    assert brief.after(last) == replace(report, jitter_ms=min(report.jitter_ms, 255))


def test_the_bytes_of_a_message() -> None:
    packed = pack_message(Bye("done", ok=True))
    assert packed == b"\x83\xa4type\xa3bye\xa6reason\xa4done\xa2ok\xc3"
    assert parse_message(packed) == Bye("done", ok=True)


def test_only_a_picture_that_is_alone_says_so() -> None:
    """Older readers of this protocol refuse what they do not know."""
    together, alone = (pack_message(SourceChunk(1, 1, 3, 0, b"abc", alone)) for alone in (False, True))
    assert b"alone" not in together
    assert b"alone" in alone


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        parsed = parse_message(data)
        assert parse_message(pack_message(parsed)) == parsed


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@pytest.mark.slow
@given(message=maps, data=st.data())
def test_a_message_with_one_field_replaced_parses_or_is_refused(
    message: Message, data: st.DataObject
) -> None:
    body = msgpack.unpackb(pack_message(message))
    name = data.draw(st.sampled_from(sorted(body)))
    with contextlib.suppress(PeerError):
        parsed = parse_message(msgpack.packb(body | {name: data.draw(values)}))
        # What is let in is as sound as what we would send ourselves.
        assert parse_message(pack_message(parsed)) == parsed


def whole(**changes: object) -> bytes:
    body = {"type": "picture", "picture": 0, "slot": 0, "total": 10, "offset": 0, "data": b"x"}
    return bytes(msgpack.packb(body | changes))


@pytest.mark.parametrize(
    "data",
    [
        whole(offset=10),
        whole(offset=-1),
        whole(offset=True),
        whole(offset=0.0),
        whole(total=256 * 1024 + 1),
        whole(data=b""),
        whole(data="x"),
        whole(data=bytes(1025), total=5000),
        whole(type="unknown"),
        whole(type=b"picture"),
        whole(type=None),
        whole() + b"\x00",
        whole()[:-1],
        msgpack.packb([1, 2]),
        msgpack.packb({"type": "ready"}),
        msgpack.packb({"type": "report"}),
        msgpack.packb({"type": "hello", "terms": 5, "avatar": True}),
        pack_message(Hello(TERMS, secret=b"x" * 15)),
        pack_message(Hello(TERMS, secret=b"x" * 17)),
        pack_message(Hello(TERMS)).replace(b"\xc4\x00", b"\xa0"),
        msgpack.packb({"type": "still", "more": [1]}),
        msgpack.packb({"type": "status"}),
        msgpack.packb({"type": "status", "muted": True}),
        msgpack.packb({"type": "status", "muted": 1, "held": False}),
        msgpack.packb({"type": "status", "muted": False, "held": "no"}),
        msgpack.packb({**msgpack.unpackb(pack_message(Hello(TERMS))), "status": 1}),
        msgpack.packb({"type": "still"} | {str(n): n for n in range(16)}),
        msgpack.packb({"type": "hello", "terms": TERMS.to_map(), "avatar": 1}),
        msgpack.packb({"type": "bye", "reason": "x" * 201, "ok": True}),
        msgpack.packb({"type": "bye", "reason": "x", "ok": "yes"}),
        msgpack.packb({n: n for n in range(5)}),
        b"\x81" * 5000,
        b"\xc1",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
)
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_message(data)


@pytest.mark.parametrize(
    "message",
    [
        Hello(TERMS),
        SourceChunk(1, 1, 3, 0, b"abc"),
        Ready(1),
        Start(1),
        Want(1),
        Still(),
        Status(True),
        Bye("done"),
    ],
)
def test_fields_of_later_versions_are_left_out(message: Message) -> None:
    body = msgpack.unpackb(pack_message(message))
    assert parse_message(msgpack.packb(body | {"later": "field", "more": 1})) == message
    for name in body.keys() - {"voice"}:
        with pytest.raises(PeerError):
            parse_message(msgpack.packb({key: value for key, value in body.items() if key != name}))


def test_a_hello_of_another_protocol_is_told_so_whatever_else_is_new_in_it() -> None:
    """Another shape, more fields and fewer: only where the number stands stays the same."""
    terms = {"protocol": PROTOCOL + 1, "network": "lite-9"}
    for hello in ({"avatar": "yes", "wish": 7}, msgpack.unpackb(pack_message(Hello(TERMS)))):
        with pytest.raises(PeerError, match=f"protocol {PROTOCOL}.* protocol {PROTOCOL + 1};"):
            parse_message(msgpack.packb({**hello, "type": "hello", "terms": terms}))


def test_the_bytes_of_a_report() -> None:
    packed = pack_message(Report(1, 2, 3, 4, 5, 6, 7))
    assert packed[:1] == b"R"
    assert packed[1:].hex(" ", 4) == "01000000 02000000 03000400 05000000 06000000 07000000"
    assert len(packed) == 25


@pytest.mark.parametrize("data", [pack_message(Report())[:-1], pack_message(Report()) + b"\0", b"R"])
def test_a_report_of_another_size_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="report has"):
        parse_message(data)


@pytest.mark.parametrize("wrong", [{"packets": -1}, {"delay_ms": 2**16}, {"frames_held": 2**32}])
def test_a_report_out_of_range_is_not_packed(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of its range"):
        pack_message(Report(**wrong))


@pytest.mark.parametrize("slot", [-1, 8, 1.0, "1", None, True])
@pytest.mark.parametrize("message", [Want(1), SourceChunk(1, 1, 3, 0, b"abc")])
def test_there_are_eight_slots(message: Message, slot: object) -> None:
    body = msgpack.unpackb(pack_message(message))
    with pytest.raises(PeerError, match="slot is not a whole number from 0 to 7"):
        parse_message(msgpack.packb(body | {"slot": slot}))


def test_an_oversize_message_is_refused_before_it_is_read() -> None:
    with pytest.raises(PeerError, match="over the limit"):
        parse_message(bytes(MAX_CTL_MESSAGE + 1))


def test_what_is_too_large_is_not_packed() -> None:
    with pytest.raises(ValueError, match="picture message"):
        pack_message(SourceChunk(0, 0, 20_000, 0, bytes(20_000)))


def test_a_reason_is_kept_as_it_is_and_escaped_where_it_is_shown() -> None:
    assert parse_message(pack_message(Bye("a\x1b[2Jb\n"))) == Bye("a\x1b[2Jb\n")
