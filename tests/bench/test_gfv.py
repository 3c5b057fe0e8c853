"""Generative face video messages in H.264: bit by bit, there and back, from somebody else, and broken."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.__main__ import main
from bench.gfv import units
from bench.gfv.bits import MAX_VALUE, BitReader, BitstreamError, BitWriter
from bench.gfv.message import PAYLOAD_TYPE, Message, Numbers, parse_all
from bench.gfv.motion import restored, to_messages
from bench.gfv.stream import LAYOUTS, read_stream, write_stream
from bench.harness.media import write_mp4
from bench.harness.metrics import mae
from models.lite.layout import LAYOUT
from sender.demo import pose_at
from shared.errors import RequestError
from shared.keypoints import Floats, Group, KeypointLayout, Pictures
from shared.portrait.portrait import Portrait

FRAMES = 12
bits = st.integers(1, 16)


@pytest.fixture(scope="module")
def picture() -> Pictures:
    return Portrait().draw(pose_at(0.5))


@pytest.fixture(scope="module")
def keypoints() -> Floats:
    chance = np.random.default_rng(3)
    moves = chance.normal(0, 0.01, (FRAMES, 60)).cumsum(axis=0)
    return (chance.normal(0, 0.4, 60) + moves).astype(np.float32)


def from_digits(digits: str) -> bytes:
    """The bytes of ones and zeros, spaces left out; a one and zeros make the last one whole."""
    plain = digits.replace(" ", "")
    plain += "10000000"[: -len(plain) % 8]
    return int(plain, 2).to_bytes(len(plain) // 8, "big")


def test_a_base_is_what_the_syntax_says_bit_by_bit() -> None:
    message = Message(0, True, Numbers((1, -2), 9), Numbers((5, 0, -1, 8), 2))
    head = "1 1 1 0 0 0 1"  # id 0, count 0, base, no network, no colours, not uncertain, points
    points = "0 0001001 1 0 0100 0111"  # absolute, 9 bits, one, no z; 1 with sign +, 2 with sign -
    matrices = "1 010 1 000000 1"  # there are, 2 bits, one type, which is 0, as many as points
    elements = "010 01 0  1 00  1 01 1  011 00 0"  # 1.25; 0 without a sign; -0.25; 2
    assert message.pack() == from_digits(head + points + matrices + elements)


def test_a_change_is_what_the_syntax_says_bit_by_bit() -> None:
    message = Message(2, False, Numbers((1, 0), 9, True), Numbers((0, 6, -1, 0), 2, True))
    head = "1 011 0 0 1"  # id 0, count 2, nothing mixed in, not uncertain, points
    points = "1 0100 1"  # changes; how many and of how many bits, the base has said
    matrices = "1 1"  # there are, as changes
    elements = "1 1  010 011 0  1 010 1  1 1"  # 0; 1 and 2/4, both as Exp-Golomb codes; -1/4; 0
    assert message.pack() == from_digits(head + points + matrices + elements)


@given(st.lists(st.one_of(st.integers(0, MAX_VALUE), st.tuples(st.integers(0, 2**20), st.integers(21, 40)))))
def test_numbers_come_back(numbers: list[int | tuple[int, int]]) -> None:
    out = BitWriter()
    for number in numbers:
        if isinstance(number, int):
            out.ue(number)
        else:
            out.u(*number)
    reader = BitReader(out.bytes())
    assert [reader.ue() if isinstance(n, int) else (reader.u(n[1]), n[1]) for n in numbers] == numbers
    reader.finish()


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(ValueError, match="does not fit into 2 bits"):
        BitWriter().u(4, 2)
    for number in (MAX_VALUE + 1, -1):
        with pytest.raises(ValueError, match="no Exp-Golomb code"):
            BitWriter().ue(number)


ZEROS = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=60).map(bytes)


@given(ZEROS)
def test_nothing_in_a_unit_looks_like_a_start(data: bytes) -> None:
    guarded = units.guarded(data)
    assert not any(guarded[n : n + 3] in {b"\0\0\0", b"\0\0\1", b"\0\0\2"} for n in range(len(guarded)))
    assert units.plain(guarded) == data


@given(st.lists(st.one_of(ZEROS, st.integers(250, 260).map(bytes), st.just(bytes(510))), max_size=4))
def test_messages_come_back_from_their_unit(payloads: list[bytes]) -> None:
    unit = units.message_unit(PAYLOAD_TYPE, payloads)
    assert list(units.messages(unit, PAYLOAD_TYPE)) == payloads
    assert not list(units.messages(unit, PAYLOAD_TYPE + 1))
    assert units.split(units.joined([unit, b"\x65\x01", unit])) == [unit, b"\x65\x01", unit]
    assert units.kind(unit) == units.SEI


@st.composite
def streams(draw: st.DrawFn) -> list[Message]:
    """A base and what may follow it, changes or not."""
    count, point_bits, matrix_bits = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 32)),
        draw(st.integers(1, 32)),
    )
    steps = st.integers(-(2**20), 2**20)

    def numbers(size: int, precision: int, changes: bool) -> Numbers:
        values = draw(st.lists(steps, min_size=size, max_size=size))
        return Numbers(tuple(values), precision, changes)

    found = []
    for number in range(draw(st.integers(1, 4))):
        base = number == 0
        points = numbers(2 * count, point_bits, draw(st.booleans()))
        matrices = numbers(4 * count, matrix_bits, not base and draw(st.booleans()))
        place = 0 if base else draw(st.integers(0, 300))
        found.append(Message(place, base, points, matrices, face=draw(st.integers(0, 9)) if base else 0))
    return found


@given(streams())
def test_messages_come_back(stream: list[Message]) -> None:
    assert parse_all([message.pack() for message in stream]) == stream


@pytest.mark.slow
@given(bits, st.booleans(), st.integers(0, 2**32 - 1))
def test_no_number_is_off_by_over_half_a_step(precision: int, alone: bool, seed: int) -> None:
    chance = np.random.default_rng(seed)
    frames = chance.normal(0, 1, (5, 60)).astype(np.float32)
    payloads = [message.pack() for message in to_messages(frames, LAYOUT, precision, alone)]
    arrived = restored(parse_all(payloads))
    assert arrived.shape == frames.shape
    assert np.abs(arrived - frames).max() <= 2.0 ** -(precision + 1) + 1e-6


def test_points_without_matrices_come_back() -> None:
    layout = KeypointLayout.of_points(50)
    frames = np.linspace(-1, 1, 300, dtype=np.float32).reshape(3, 100)
    arrived = restored(parse_all([message.pack() for message in to_messages(frames, layout, 12)]))
    assert np.abs(arrived - frames).max() <= 2.0**-13


def test_keypoints_that_are_no_points_are_refused() -> None:
    layout = KeypointLayout((Group.points(3), Group.numbers(2)))
    with pytest.raises(RequestError, match="something else"):
        to_messages(np.zeros((1, 8), np.float32), layout, 9)


def test_a_base_of_somebody_else_is_read() -> None:
    # id 1, count 0, base, a network, mode 1, zeros to the byte: 010 1 1 1 010 0000000
    out = BitWriter()
    out.u(0b0101_1101_0000_0000, 16)
    for letter in b"tag\0https://there\0":
        out.u(letter, 8)
    out.flag(True)  # colours: one value of three, one threshold of two
    out.u(0b1, 1)
    out.u(144, 8)
    out.u(0b00, 2)
    out.u(0b0, 1)
    out.u(0b1, 1)
    out.ue(44)
    out.u(0b0_1_1, 3)  # sure, points, each from the one before
    out.ue(8)
    out.ue(1)
    out.flag(False)
    for value in (256, -128, 128, 0):
        out.ue(abs(value))
        if value:
            out.flag(value < 0)
    out.flag(False)
    assert np.allclose(restored(parse_all([out.bytes()])), [[0.5, -0.25, 0.75, -0.25]])


def test_with_a_picture_of_its_own_a_change_is_from_the_base() -> None:
    base = Message(0, True, Numbers((10, 20), 4), Numbers((16, 0, 0, 16), 4))
    next_one = Message(1, False, Numbers((1, 1), 4, True), Numbers((1, 0, 0, 0), 4, True))
    own = Message(0, False, Numbers((2, 2), 4, True), Numbers((0, 3, 0, 0), 4, True))
    frames = 16 * restored([base, next_one, own])
    assert frames.tolist() == [[10, 20, 16, 0, 0, 16], [11, 21, 17, 0, 0, 16], [12, 22, 16, 3, 0, 16]]


def edited(*fields: tuple[int, int]) -> bytes:
    """Value and width of each field."""
    out = BitWriter()
    for value, width in fields:
        out.u(value, width)
    return out.bytes()


START = (0b111_00_0, 6)  # id 0, count 0, base, no network, no colours, sure


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "ends within a number"),
        (b"\0\0\0\0\0", "over 32 bits"),
        (edited(START, (0, 1), (0, 8)), "no points"),
        (edited((0b1_010_1, 5), (0, 8)), "mix pictures"),
        (edited(START, (0b1_0_1_1_1, 5)), "points in space"),
        (edited(START, (0b1_0, 2), (33, 11), (0b1_0, 2)), "points of 33 bits"),
        (edited(START, (0b1_0_1, 3), (1000, 19), (0, 1)), "1000 points"),
        (edited(START, (0b1_0_1_1_0_1_1_1_1_1, 10), (1, 6), (1, 1)), "other matrices"),
        (edited(START, (0b1_0_1_1_0_1_1_1_1_1, 10), (0, 6), (0, 1)), "other matrices"),
        (edited(START, (0b1_0_1_1_0_1_1_1, 8), (33, 11), (1, 1)), "matrices of 33 bits"),
        (edited(START, (0b1_0_1_1_0_1_1_0, 8), (0, 9)), "goes on behind its end"),
        (edited((0b1_010_0_0_1_1_1, 9)), "told from is missing"),
        (edited((0b1_010_0_0_1_0_1_1_0_1_1_1_1, 15)), "have not been told"),
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        parse_all([payload])


def test_messages_that_do_not_fit_each_other_are_refused() -> None:
    base = Message(0, True, Numbers((10, 20), 4), None)
    for other, problem in (
        (Message(0, True, Numbers((1, 2), 4), None, face=1), "more than one face"),
        (Message(0, True, Numbers((1, 2, 3, 4), 4), None), "different numbers"),
        (Message(1, False, Numbers((1, 2, 3, 4), 4), None), "other points"),
        (Message(0, True, Numbers((2**30, 0), 1), None), "not plausible"),
    ):
        with pytest.raises(BitstreamError, match=problem):
            restored([base, other])


@given(st.data())
def test_whatever_comes_is_read_or_refused(data: st.DataObject) -> None:
    frames = np.linspace(-1, 1, 240, dtype=np.float32).reshape(4, 60)
    whole = units.message_unit(PAYLOAD_TYPE, [message.pack() for message in to_messages(frames, LAYOUT, 6)])
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(1, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(1, len(broken)))])
    try:
        found = list(units.messages(cut, PAYLOAD_TYPE))
        arrived = restored(parse_all(found)) if found else np.zeros((1, 1))
    except BitstreamError:
        return
    assert np.abs(arrived).max() <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_player_shows_the_picture_and_minds_no_message(
    layout: str, picture: Pictures, keypoints: Floats, tmp_path: Path
) -> None:
    written = write_stream(picture, keypoints, LAYOUT, layout, 9, 18)
    file = tmp_path / "out.h264"
    file.write_bytes(written.data)
    with av.open(str(file)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == (FRAMES if layout == "each" else 1)
    assert all(mae(picture, frame) < 0.01 for frame in shown)
    assert all(np.array_equal(shown[0], frame) for frame in shown)
    assert len(written.data) == written.picture_bytes + written.message_bytes + written.skipped_bytes
    kinds = [units.kind(unit) for unit in units.split(written.data)]
    assert kinds[:4] == [7, 8, units.SEI, units.IDR]  # parameter sets, messages, picture; no note of x264's
    assert kinds[4:] == ([units.SEI, units.SLICE] * (FRAMES - 1) if layout == "each" else [])
    # A picture in which all is skipped is a few bytes.
    assert written.skipped_bytes <= 20 * (FRAMES - 1) * (layout == "each")


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_went_in_comes_out_of_the_stream_and_of_a_file_it_was_put_into(
    layout: str, picture: Pictures, keypoints: Floats, tmp_path: Path
) -> None:
    bare, put_into = tmp_path / "out.h264", tmp_path / "out.mp4"
    bare.write_bytes(write_stream(picture, keypoints, LAYOUT, layout, 10, 18).data)
    with av.open(str(bare)) as source, av.open(str(put_into), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.pts = packet.dts = number * 40000
            packet.stream = stream
            target.mux(packet)
    for file in (bare, put_into):
        found = read_stream(file)
        assert np.abs(found.keypoints - keypoints).max() <= 2.0**-11 + 1e-6
        assert mae(found.picture, picture) < 0.01


@pytest.mark.slow
def test_the_command_writes_and_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, table = tmp_path / "out.h264", tmp_path / "out.json"
    words = ["export-gfv", "--seconds", "0.2", "--layout", "each", "--bits", "10"]
    assert main([*words, "--output", str(stream), "--json", str(table)]) == 0
    rows = json.loads(table.read_text())["rows"]
    assert "wrote 6 frames" in capsys.readouterr().out
    coded, raw, base, each = rows[:4]
    assert raw["bytes_per_second"] > 7200
    assert raw["picture_error"] == 0
    assert coded["bytes_per_second"] < base["bytes_per_second"] < each["bytes_per_second"]
    assert base["picture_error"] == each["picture_error"] < coded["picture_error"]
    # As many bits as make them no worse than our coded packets.
    assert {row["bits"] for row in rows[2:4]} == {10}
    assert all(row["picture_error"] <= coded["picture_error"] for row in rows[4:])

    points, shown = tmp_path / "points.npy", tmp_path / "shown.png"
    words = ["export-gfv", "--read", str(stream), "--output", str(points), "--picture", str(shown)]
    assert main(words) == 0
    assert np.load(points).shape == (6, 60)
    with Image.open(shown) as read:
        assert read.size == (256, 256)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seconds", "0"], "seconds"),
        (["--bits", "17"], "1 to 16 bits"),
        (["--crf", "52"], "0 (finest) to 51"),
        (["--output", "{folder}/out.mp4"], "end in .h264"),
        (["--output", "{folder}/missing/a.h264"], "There is no folder"),
        (["--picture", "{folder}/a.png"], "--read"),
        (["--read", "{folder}/none.h264"], "cannot be read as a video"),
        (["--read", "{folder}/noise.h264"], "noise.h264"),
        (["--read", "{folder}/plain.mp4"], "no generative face video messages"),
        (["--read", "{folder}/broken.h264"], "ends within a number"),
        (["--read", "{folder}/plain.mp4", "--json", "{folder}/a.json"], "--json"),
    ],
)
def test_wrong_requests_are_told(
    words: list[str], message: str, picture: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mp4(tmp_path / "plain.mp4", [picture] * 3)
    (tmp_path / "noise.h264").write_bytes(np.random.default_rng(0).bytes(5000))
    sound = write_stream(picture, np.zeros((2, 60), np.float32), LAYOUT, "base", 9, 30).data
    found = units.split(sound)
    broken = units.message_unit(PAYLOAD_TYPE, [b"\xe2"])
    (tmp_path / "broken.h264").write_bytes(units.joined([*found[:2], broken, *found[3:]]))
    words = [word.format(folder=tmp_path) for word in words]
    assert main(["export-gfv", "--output", str(tmp_path / "out.h264"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
