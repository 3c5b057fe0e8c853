"""Video files as people have them: damaged, turned, anamorphic, interlaced, of any clock and colour."""

from __future__ import annotations

import gc
import io
import itertools
import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.video import tone
from shared.media.video.files import VideoFile
from shared.media.video.timeline import Timeline

BARS = ((230, 40, 40), (40, 200, 60), (40, 60, 220), (220, 220, 40))


def corners(width: int = 96, height: int = 64) -> Pictures:
    """Return a picture whose quarters are red, green (above), blue and yellow (below)."""
    picture = np.zeros((height, width, 3), np.uint8)
    half = slice(None, height // 2), slice(height // 2, None)
    left, right = slice(None, width // 2), slice(width // 2, None)
    for colour, (rows, columns) in zip(BARS, itertools.product(half, (left, right)), strict=True):
        picture[rows, columns] = colour
    return picture


def numbered(count: int, width: int = 64, height: int = 48) -> list[Pictures]:
    """Return grey pictures: 10, 14, 18, ..."""
    return [np.full((height, width, 3), 10 + 4 * n, np.uint8) for n in range(count)]


def write(
    path: Path | io.BytesIO,
    pictures: Sequence[Pictures],
    *,
    codec: str = "libx264",
    rate: Fraction | int = 30,
    times: Sequence[int] | None = None,
    start: int = 0,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], object] = id,
    form: str | None = None,
) -> None:
    """Write `pictures`, `times` in frames; `prepare` gets the stream before the first."""
    with av.open(path if isinstance(path, io.BytesIO) else str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = 1 / Fraction(rate)
        prepare(stream)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = start + (index if times is None else times[index])
            frame.time_base = 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read(path: Path) -> tuple[list[float], list[Pictures], VideoFile]:
    """Return the times and pictures of all frames, and the file, closed."""
    video = VideoFile(path)
    frames = []
    while (frame := video.read()) is not None:
        frames.append((frame.seconds, frame.picture()))
    video.close()
    return [seconds for seconds, _ in frames], [picture for _, picture in frames], video


def quarters(picture: Pictures) -> list[int]:
    """Return which of BARS stands above left, above right, below left, below right."""
    height, width = picture.shape[:2]
    places = itertools.product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4))
    found = [np.abs(np.array(BARS, int) - picture[place]).sum(1) for place in places]
    assert max(distances.min() for distances in found) < 60
    return [int(distances.argmin()) for distances in found]


def test_damage_is_left_out_counted_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
    write(path, [*noise], options={"g": "10", "bf": "0"})
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in (13, 14, 33):
        start, size = packets[number]
        data[start + 4 : start + size] = bytes([0xFF]) * (size - 4)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        times, _, video = read(path)
    assert times[-1] == pytest.approx(59 / 30)
    assert video.end == pytest.approx(2.0)
    assert video.damaged >= 3
    assert len(times) >= 45
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {video.damaged} damaged pieces skipped; the picture froze meanwhile."
    ]


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(64, 45)])
def test_pixels_become_square(tmp_path: Path, aspect: Fraction) -> None:
    def stretched(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    write(tmp_path / "a.mkv", [corners()], prepare=stretched)
    (picture,) = read(tmp_path / "a.mkv")[1]
    assert picture.shape == (64, round(96 * aspect), 3)
    assert quarters(picture) == [0, 1, 2, 3]


# Where a player puts the quarters when it is told to turn clockwise, and to mirror before that.
@pytest.mark.parametrize(("turn", "mirror", "seen"), [
    (0, False, [0, 1, 2, 3]), (90, False, [2, 0, 3, 1]), (180, False, [3, 2, 1, 0]),
    (270, False, [1, 3, 0, 2]), (0, True, [1, 0, 3, 2]), (90, True, [3, 1, 2, 0]),
    (180, True, [2, 3, 0, 1]), (270, True, [0, 2, 1, 3]),
])  # fmt: skip
def test_turned_and_mirrored_pictures_stand_upright(
    tmp_path: Path, turn: int, mirror: bool, seen: list[int]
) -> None:
    path = tmp_path / "a.mp4"
    write(path, [corners()])
    data, one = bytearray(path.read_bytes()), 1 << 16
    cos, sin = (one * part for part in {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn])
    x = -1 if mirror else 1
    matrix = np.array([x * cos, x * sin, 0, -sin, cos, 0, 0, 0, 1 << 30], ">i4")
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = matrix.tobytes()
    path.write_bytes(data)
    (picture,) = read(path)[1]
    assert picture.shape[:2] == ((64, 96) if turn % 180 == 0 else (96, 64))
    assert quarters(picture) == seen


def test_sizes_may_change_midway_and_be_odd(tmp_path: Path) -> None:
    parts = []
    for start, size in ((0, (96, 64)), (5, (64, 128))):
        part = io.BytesIO()
        write(part, [corners(*size)] * 5, form="mpegts", start=start, options={"bf": "0"})
        parts.append(part.getvalue())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    times, pictures, _ = read(tmp_path / "a.ts")
    assert [picture.shape for picture in pictures] == [(64, 96, 3)] * 5 + [(128, 64, 3)] * 5
    assert all(quarters(picture) == [0, 1, 2, 3] for picture in pictures)
    assert all(b > a for a, b in itertools.pairwise(times))
    write(tmp_path / "odd.mkv", [corners(133, 201)], codec="ffv1", pix_fmt="bgr0")
    assert read(tmp_path / "odd.mkv")[1][0].shape == (201, 133, 3)


def greys(pictures: Sequence[Pictures]) -> list[int]:
    return [round((float(picture.mean()) - 10) / 4) for picture in pictures]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), 25, Fraction(30000, 1001), 60, 120])
@pytest.mark.parametrize("count", [1, 5])
def test_every_rate_and_length(tmp_path: Path, rate: Fraction | int, count: int) -> None:
    write(tmp_path / "a.mp4", numbered(count), rate=rate)
    times, pictures, video = read(tmp_path / "a.mp4")
    assert greys(pictures) == list(range(count))
    assert times == pytest.approx([n / float(rate) for n in range(count)], abs=1e-4)
    assert video.end == pytest.approx(count / float(rate), abs=1e-3)
    assert video.rate == rate


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.avi", "libx264", {"bf": "2"}),
    ("a.avi", "mpeg4", {"bf": "2"}),
    ("a.h264", "libx264", {"bf": "2"}),
    ("a.mpg", "mpeg2video", {"bf": "2"}),
    ("a.flv", "libx264", {"bf": "2"}),
    ("a.mov", "mjpeg", {}),
    ("a.webm", "libvpx", {}),
])  # fmt: skip
def test_every_format_keeps_order_and_pace(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write(tmp_path / name, numbered(20), codec=codec, options=options, pix_fmt=pix_fmt)
    times, pictures, _ = read(tmp_path / name)
    assert greys(pictures) == pytest.approx(list(range(20)), abs=1)
    assert times == pytest.approx([n / 30 for n in range(20)], abs=2e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_times_may_start_late(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, numbered(20), start=30 * 95_000, options={"bf": "2"})
    times, pictures, video = read(tmp_path / name)
    assert greys(pictures) == list(range(20))
    assert times == pytest.approx([n / 30 for n in range(20)], abs=2e-3)
    assert video.end == pytest.approx(20 / 30, abs=3e-3)


def test_a_clock_that_wraps_or_begins_anew_goes_on(tmp_path: Path) -> None:
    """33 bits at 90 kHz are 95,443.7 s; recordings that are joined begin anew."""
    write(tmp_path / "wrap.ts", numbered(40), start=30 * 95_443)
    first, second = io.BytesIO(), io.BytesIO()
    write(first, numbered(40)[:20], form="mpegts")
    write(second, numbered(40)[20:], form="mpegts", start=3000)
    (tmp_path / "jump.ts").write_bytes(first.getvalue() + second.getvalue())
    (tmp_path / "back.ts").write_bytes(second.getvalue() + first.getvalue())
    for name in ("wrap.ts", "jump.ts", "back.ts"):
        times, pictures, video = read(tmp_path / name)
        assert len(pictures) == 40
        assert times == pytest.approx([n / 30 for n in range(40)], abs=2e-3), name
        assert video.end == pytest.approx(40 / 30, abs=2e-3)


def test_an_edit_list_hides_what_it_hides(tmp_path: Path) -> None:
    write(tmp_path / "whole.mp4", numbered(30), options={"g": "30", "bf": "2"})
    with av.open(str(tmp_path / "whole.mp4")) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                # Ten frames before time 0: the muxer says so in an edit list.
                shift = round(10 / 30 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                cut.mux(packet)
    times, pictures, _ = read(tmp_path / "cut.mp4")
    assert greys(pictures) == list(range(10, 30))
    assert times == pytest.approx([n / 30 for n in range(20)], abs=1e-3)


def test_uneven_times_stand_as_they_are(tmp_path: Path) -> None:
    at = [0, 1, 2, 300, 301, 330]
    write(tmp_path / "a.mkv", numbered(6), times=at)
    assert read(tmp_path / "a.mkv")[0] == pytest.approx([n / 30 for n in at], abs=2e-3)


def test_a_timeline_makes_up_for_what_is_not_told() -> None:
    line = Timeline(0.1)
    assert [line.place(time) for time in (None, None, 5.0, 5.1, None)] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )
    assert line.place(5.25) == pytest.approx(0.45)
    assert line.place(5.2) == pytest.approx(0.45)
    assert line.place(100.0) == pytest.approx(95.2)
    assert line.place(3.0) == pytest.approx(95.3)
    jumping = Timeline(0.1, jumps=True)
    assert [jumping.place(time) for time in (0.0, 9.0, 50.0, 50.2)] == pytest.approx([0, 9.0, 9.1, 9.3])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
@pytest.mark.parametrize("deep", [False, True])
def test_colours_are_as_the_file_says(  # noqa: PLR0917
    tmp_path: Path, full: bool, matrix: int, red: float, blue: float, deep: bool
) -> None:
    """Coded by the definition of ITU-R BT.601, 709 and 2020, not by the library that decodes."""
    colour = np.array([200, 90, 50]) / 255
    luma = np.dot([red, 1 - red - blue, blue], colour)
    chroma = (colour[2] - luma) / (2 - 2 * blue), (colour[0] - luma) / (2 - 2 * red)
    low, span, wide = (0, 255, 255) if full else (16, 219, 224)
    codes = [low + span * luma, *(128 + wide * part for part in chroma)]
    scale, kind = (4, np.uint16) if deep else (1, np.uint8)
    frame = av.VideoFrame(64, 64, "yuv420p10le" if deep else "yuv420p")
    for plane, code in zip(frame.planes, codes, strict=True):
        size = plane.buffer_size // np.dtype(kind).itemsize
        plane.update(np.full(size, round(scale * code), kind).tobytes())
    frame.pts = 0
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = frame.format.name
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = frame.color_range = 2 if full else 1
        frame.colorspace = matrix
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (picture,) = read(tmp_path / "a.mkv")[1]
    assert picture[32, 32] == pytest.approx(255 * colour, abs=3.5)


def test_untold_colours_are_taken_as_players_do(tmp_path: Path) -> None:
    for name, size, matrix in (("sd.mkv", (64, 64), 5), ("hd.mkv", (64, 720), 1)):
        frame = av.VideoFrame(*size, "yuv420p")
        for plane, code in zip(frame.planes, (120, 90, 200), strict=True):
            plane.update(bytes([code]) * plane.buffer_size)
        told = frame.reformat(format="rgb24", src_colorspace=matrix, dst_color_range=2).to_ndarray()[9, 9]
        frame.pts = 0
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=30)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        assert read(tmp_path / name)[1][0][9, 9] == pytest.approx(told, abs=1)


def hdr(path: Path, codes: Sequence[float], transfer: int) -> None:
    """Write grey bars of these codes, 0 to 1, in BT.2020 at ten bits."""
    frame = av.VideoFrame(32 * len(codes), 32, "yuv420p10le")
    row = np.repeat([round(64 + 876 * code) for code in codes], 32).astype(np.uint16)
    row = np.pad(row, (0, frame.planes[0].line_size // 2 - len(row)))
    frame.planes[0].update(np.tile(row, 32).tobytes())
    for plane in frame.planes[1:]:
        plane.update(np.full(plane.buffer_size // 2, 512, np.uint16).tobytes())
    frame.pts = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p10le"
        for coded in (stream.codec_context, frame):
            coded.colorspace, coded.color_trc, coded.color_primaries, coded.color_range = 9, transfer, 9, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_pq_and_hlg_are_brought_to_an_ordinary_screen(tmp_path: Path) -> None:
    # PQ codes of 0, 1, 26, 100, 203, 1000 and 10000 nits (ITU-R BT.2100, BT.2408).
    hdr(tmp_path / "pq.mkv", (0, 0.150, 0.38, 0.508, 0.581, 0.752, 1.0), tone.PQ)
    pq = read(tmp_path / "pq.mkv")[1][0][16, 16::32]
    # HLG: black, the card of 26 nits, 75 % is the reference white, nominal peak.
    hdr(tmp_path / "hlg.mkv", (0, 0.38, 0.75, 1.0), tone.HLG)
    hlg = read(tmp_path / "hlg.mkv")[1][0][16, 16::32]
    for bars in (pq, hlg):
        assert (np.ptp(bars.astype(int), axis=1) <= 2).all(), "grey stays grey"
        assert (np.diff(bars[:, 0].astype(int)) >= -2).all()
    # What an ordinary video has for as much light, 255 (nits / 203)^(1 / 2.4), up to the knee.
    assert pq[:4, 0] == pytest.approx([0, 28, 108, 188], abs=8)
    assert 205 < pq[4, 0] < 235
    assert pq[5:, 0].min() >= 245
    assert 200 < hlg[2, 0] < 235
    assert hlg[3, 0] >= 245


def test_wide_colours_are_brought_to_ordinary_ones() -> None:
    codes = np.array([[0.5, 0.5, 0.5], [0.7, 0.3, 0.3]])
    grey, red = tone.mapped(codes, 14, tone.BT2020)
    assert grey == pytest.approx([0.5] * 3, abs=1e-3)
    assert red[0] > 0.7
    assert red[1] < 0.3


def test_interlaced_frames_are_made_whole(tmp_path: Path) -> None:
    """A bar that moves between the two fields of a frame leaves combs; made whole, rows agree again."""

    def scene(x: float) -> Pictures:
        picture = np.full((96, 128, 3), 30, np.uint8)
        picture[:, round(x) : round(x) + 32] = 220
        return picture

    pictures = []
    for n in range(12):
        first, second = scene(8 + 6 * n), scene(11 + 6 * n)
        first[1::2] = second[1::2]
        pictures.append(first)

    def fields(stream: Any) -> None:
        stream.codec_context.flags |= 0x40000 | 0x20000000

    write(tmp_path / "a.mpg", pictures, codec="mpeg2video", prepare=fields, options={"b": "4M", "top": "1"})
    times, shown, _ = read(tmp_path / "a.mpg")
    assert len(shown) == 12
    assert times == pytest.approx([n / 30 for n in range(12)], abs=2e-3)
    combs = [np.abs(np.diff(picture[20:-20, :, 1].astype(int), axis=0)).mean() for picture in shown[2:-2]]
    woven = np.abs(np.diff(pictures[5][20:-20, :, 1].astype(int), axis=0)).mean()
    assert max(combs) < woven / 4


def test_clear_pixels_are_white(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 4), (255, 0, 255, 0), np.uint8)
    pixels[8:24, 8:24] = (10, 120, 20, 255)
    frame = av.VideoFrame.from_ndarray(pixels, "rgba")
    frame.pts = 0
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=30)
        stream.width = stream.height = 32
        stream.pix_fmt = "rgba"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (picture,) = read(tmp_path / "a.mov")[1]
    assert picture[[2, 16], [2, 16]].tolist() == [[255, 255, 255], [10, 120, 20]]


@pytest.mark.slow
def test_frames_are_let_go_of_at_once(tmp_path: Path) -> None:
    """Twenty minutes of 4K would be 400 GB of them; waiting for a collection keeps hundreds."""
    write(tmp_path / "a.mp4", numbered(40))
    video = VideoFile(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        while (frame := video.read()) is not None:
            frame.picture()
        held = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    video.close()
    assert held <= 6


@pytest.mark.parametrize("name", ["a:b c.mp4", "видео 映像.mp4", "100%d.mp4", "-leading.mp4"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / "plain.mp4", numbered(3))
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    assert greys(read(tmp_path / name)[1]) == [0, 1, 2]


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(RequestError, match="only sound"):
        VideoFile(tmp_path / "a.m4a")
