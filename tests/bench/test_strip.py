"""The picture that shows what a call does."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.calls.strip import FRAME, GAP, HEADER, SIDE, Moment, drawn
from bench.harness.media import write_mp4
from shared.concealment import Kind

DARK, LIGHT = np.zeros((256, 256, 3), np.uint8), np.full((256, 256, 3), 255, np.uint8)


def test_forecast_frames_have_a_frame_and_others_none() -> None:
    shown = [Moment(5, LIGHT, DARK, Kind.OBSERVED), Moment(6, LIGHT, DARK, Kind.FORECAST)]
    picture = Image.open(io.BytesIO(drawn(DARK, shown))).convert("RGB")
    large = 2 * SIDE + GAP
    assert picture.size == (large + 4 * GAP + 2 * (SIDE + GAP), HEADER + large + GAP)
    left, top = large + 4 * GAP, HEADER + SIDE + GAP
    pixels = np.asarray(picture).astype(int)
    assert pixels[top + 1, left + 1].max() < 20  # observed: dark to its edge
    edge = pixels[top + 1, left + SIDE + GAP + 1]
    assert edge[0] > edge[1] > edge[2] + 50  # orange
    assert pixels[top + FRAME + 2, left + SIDE + GAP + FRAME + 2].max() < 20
    assert pixels[HEADER + 5, left + 5].min() > 235  # driving
    assert pixels[HEADER + SIDE + 2, left + 5].max() < 40  # nothing between them


@pytest.mark.slow
@pytest.mark.usefixtures("lite_loaded_once")
def test_a_strip_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "strip.png"
    assert main(["strip", "--at", "0", "--moments", "2", "--step", "3", "--output", str(output)]) == 0
    assert f"wrote {output}" in capsys.readouterr().out
    pixels = np.asarray(Image.open(output).convert("RGB")).astype(int)
    left, side = 2 * SIDE + 5 * GAP, SIDE + GAP
    first, second = (
        pixels[HEADER + SIDE + GAP : -GAP, left + index * side : left + index * side + SIDE]
        for index in (0, 1)
    )
    driving = pixels[HEADER : HEADER + SIDE, left : left + SIDE]
    # The first received frame shows nearly the source itself; the fourth is a forecast.
    assert np.abs(first - driving).mean() < 12
    assert second[1, 1, 0] > second[1, 1, 2] + 100
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--moments", "0"], "1 to 32 moments"),
        (["--step", "31"], "frames apart"),
        (["--at", "nan"], "begins within"),
        (["--source", "{folder}/short.mp4"], "has only 3 frames"),
        (["--output", "{folder}/missing/a.png"], "There is no folder"),
    ],
)
def test_wrong_requests_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write_mp4(tmp_path / "short.mp4", [DARK] * 3)
    words = [word.format(folder=tmp_path) for word in words]
    assert main(["strip", "--output", str(tmp_path / "strip.png"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
