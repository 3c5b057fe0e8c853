"""Pictures and videos that measurements leave behind for people to look at."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageDraw, ImageFont

from bench.harness.report import replacing
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures

GAP = 8
HEADER = 28
_BACK, _TEXT, _DIM = (24, 26, 30), (236, 238, 240), (150, 156, 164)
_FORECAST = (255, 168, 40)
# The built-in font in the size of a caption; Pillow draws it without any font file.
_FONT_SIZE = 15


def side_by_side(source: Pictures, received: Pictures, label: str = "", forecast: bool = False) -> Pictures:
    """Return `source` next to `received`, both (S, S, 3), under captions: (S + 28, 2 S + 8, 3), uint8 RGB.

    `label` stands in the header; `forecast` marks a received frame that was predicted, not sent.
    """
    size = len(source)
    canvas = Image.new("RGB", (2 * size + GAP, size + HEADER), _BACK)
    canvas.paste(Image.fromarray(source), (0, HEADER))
    canvas.paste(Image.fromarray(received), (size + GAP, HEADER))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT_SIZE)
    draw.text((8, HEADER / 2), "source", _TEXT, font, anchor="lm")
    draw.text((size - 6, HEADER / 2), label, _DIM, font, anchor="rm")
    draw.text((size + GAP + 8, HEADER / 2), "received", _TEXT, font, anchor="lm")
    if forecast:
        right = canvas.width - 8
        draw.text((right, HEADER / 2), "forecast", _FORECAST, font, anchor="rm")
        left = right - draw.textlength("forecast", font) - 14
        draw.ellipse((left, HEADER / 2 - 5, left + 10, HEADER / 2 + 5), _FORECAST)
    return np.array(canvas, dtype=np.uint8)


def at_once(
    films: Sequence[tuple[Sequence[float], Iterable[Pictures]]], step: float
) -> Iterator[list[Pictures]]:
    """Yield what each of several films shows, every `step`, from when all have begun until the first ends.

    A film is the times its pictures appear at, in order, and the pictures.
    """
    if not all(times for times, _ in films):
        return
    pictures = [iter(film) for _, film in films]
    shown = [next(film) for film in pictures]
    at = [0] * len(films)
    now, end = max(times[0] for times, _ in films), min(times[-1] for times, _ in films)
    while now <= end:
        for index, (times, _) in enumerate(films):
            while at[index] + 1 < len(times) and times[at[index] + 1] <= now:
                shown[index] = next(pictures[index], shown[index])
                at[index] += 1
        yield list(shown)
        now += step


def mark(picture: Pictures, label: str) -> Pictures:
    """Return a copy of `picture` (H, W, 3) with a dot and `label` in its upper right corner."""
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT_SIZE)
    left = image.width - 8 - draw.textlength(label, font)
    draw.rectangle((left - 22, 0, image.width, HEADER - 4), _BACK)
    draw.text((left, HEADER / 2 - 2), label, _FORECAST, font, anchor="lm")
    draw.ellipse((left - 16, HEADER / 2 - 7, left - 6, HEADER / 2 + 3), _FORECAST)
    return np.array(image, np.uint8)


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Pictures]]], columns: Sequence[str] = (), scale: int = 160
) -> bytes:
    """Return a PNG of `rows`, each a label and its pictures (H, W, 3) uint8 RGB, drawn `scale` pixels wide.

    `columns` are captions above the pictures. Rows may differ in length.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    margin = GAP * 2 + max((int(font.getlength(label)) for label, _ in rows), default=0)
    top = HEADER if columns else GAP
    across = max((len(pictures) for _, pictures in rows), default=0)
    size = (margin + max(across, 1) * (scale + GAP), top + len(rows) * (scale + GAP))
    canvas = Image.new("RGB", size, _BACK)
    draw = ImageDraw.Draw(canvas)
    for index, caption in enumerate(columns):
        place = (margin + index * (scale + GAP) + scale / 2, HEADER / 2)
        draw.text(place, caption, _DIM, font, anchor="mm")
    for row, (label, pictures) in enumerate(rows):
        y = top + row * (scale + GAP)
        draw.text((GAP, y + scale / 2), label, _TEXT, font, anchor="lm")
        for index, picture in enumerate(pictures):
            small = Image.fromarray(picture).resize((scale, scale), Image.Resampling.LANCZOS)
            canvas.paste(small, (margin + index * (scale + GAP), y))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def stacked(sheets: Sequence[bytes]) -> bytes:
    """Return `sheets`, PNGs, as one, from top to bottom."""
    if len(sheets) == 1:
        return sheets[0]
    images = [Image.open(io.BytesIO(sheet)) for sheet in sheets]
    size = max(image.width for image in images), sum(image.height for image in images)
    canvas, y = Image.new("RGB", size, _BACK), 0
    for image in images:
        canvas.paste(image, (0, y))
        y += image.height
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing. Raises RequestError or KeycastError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_mp4(path: Path, frames: Iterable[Pictures], fps: int = FPS) -> int:
    """Write `frames` (H, W, 3), uint8 RGB, even sizes, as H.264 that plays everywhere; return their number.

    All or nothing: the file appears when it is complete. Raises RequestError for a place that cannot be
    written, KeycastError where writing fails or there is no frame.
    """
    try:
        with replacing(path) as temporary:
            count = _encode(temporary, frames, fps)
            if not count:
                raise KeycastError(f"There was no frame to write to {path}.")
            return count
    # Before OSError has become KeycastError: some of FFmpeg's errors are no OSError.
    except FFmpegError as error:
        raise KeycastError(f"Writing {path} failed: {error.strerror}; is the disk full?") from error


def _encode(path: Path, frames: Iterable[Pictures], fps: int) -> int:
    count = 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for count, picture in enumerate(frames, start=1):
            if count == 1:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = count - 1, Fraction(1, fps)
            container.mux(stream.encode(frame))
        if count:
            container.mux(stream.encode(None))
    return count


def write_npy(path: Path, frames: Iterable[Pictures]) -> int:
    """Write `frames`, of one shape (H, W, 3) uint8, as one array (T, H, W, 3); return their number T.

    All or nothing, and never more than one frame in memory. Raises RequestError for a place that cannot be
    written, KeycastError where writing fails or there is no frame.
    """
    with replacing(path) as temporary, temporary.open("wb") as out:
        count, shape = 0, (0, 0, 0)
        for count, picture in enumerate(frames, start=1):
            if count == 1:
                shape = picture.shape
                _write_npy_header(out, (0, *shape))
            if picture.shape != shape or picture.dtype != np.uint8:
                raise ValueError(f"a frame is {picture.dtype} {picture.shape}, not uint8 {shape}")
            out.write(np.ascontiguousarray(picture).data)
        if not count:
            raise KeycastError(f"There was no frame to write to {path}.")
        # NumPy pads its header so that the first axis can grow without moving the data.
        out.seek(0)
        _write_npy_header(out, (count, *shape))
    return count


def _write_npy_header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
