"""Grids of sampled futures: what is drawn, from which moment, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from animate.animate_command import main
from animate.futures import Fan, draw, grid
from bench.harness.media import write_mp4
from models.forecast.baselines import Hold
from models.forecast.build import load_forecaster
from sender.demo import pose_at
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.portrait.portrait import Portrait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("futures") / "clip.mp4"
    portrait = Portrait()
    write_mp4(file, [portrait.draw(pose_at(n / 30)) for n in range(9)])
    return file


def test_futures_start_from_one_past_and_part(shipped_lite: Backbone) -> None:
    portrait = Portrait()
    pictures = np.stack([portrait.draw(pose_at(n / 30)) for n in range(9)])
    points = shipped_lite.detect(pictures)
    fan = Fan(load_forecaster("gru-nf"), 3, 6, None, seed=1)
    drawn = draw(fan, shipped_lite, pictures[0], points, transfer=False)
    assert drawn.past.shape[0] == 5
    assert drawn.truth.shape[0] == 4
    assert drawn.futures.shape[:2] == (3, 6)
    assert np.abs(drawn.futures[0].astype(int) - drawn.futures[1]).max() > 5
    again = draw(fan, shipped_lite, pictures[0], points, transfer=False)
    np.testing.assert_array_equal(again.futures, drawn.futures)
    frames = list(grid(drawn))
    assert len(frames) == 5 + 6
    assert frames[0].shape == (512, 512, 3)
    # All tiles show the same past, but for what is written on them.
    np.testing.assert_array_equal(frames[0][:256, :256], frames[0][256:, 256:])
    assert (frames[-1][:256, 256:] != frames[-1][256:, :256]).any()


def test_one_future_only_and_a_moment_outside_are_refused(shipped_lite: Backbone) -> None:
    points = np.zeros((9, 60), np.float32)
    picture = np.zeros((256, 256, 3), np.uint8)
    with pytest.raises(RequestError, match="only one future"):
        draw(Fan(Hold(), 2, 3, None, 0), shipped_lite, picture, points, transfer=False)
    with pytest.raises(RequestError, match=r"lasts 0\.30 s"):
        draw(Fan(Hold(), 1, 3, 2.0, 0), shipped_lite, picture, points, transfer=False)


@pytest.mark.parametrize("suffix", ["mp4", "npy", "png"])
def test_the_command_writes_every_kind_of_file(clip: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"fan.{suffix}"
    given = f"--driving {clip} --output {output} --futures 2 --predict 2 --at 0.1 --backbone lite --threads 1"
    assert main(given.split()) == 0
    assert output.stat().st_size > 1000


@pytest.mark.parametrize(
    "wrong", ["--futures 0", "--futures 99", "--at 1", "--futures 2 --mark", "--futures 2 --predict 0"]
)
def test_a_wrong_request_is_one_sentence(
    clip: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--driving", str(clip), "--output", str(tmp_path / "x.mp4"), *wrong.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1
