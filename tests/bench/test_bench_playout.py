"""`bench playout`: waiting longer interpolates more and is nearer the truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.bandwidth import playout
from bench.harness.media import write_mp4
from sender.demo import DemoSource

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

pytest.importorskip("matplotlib", reason="plots need the measuring extra")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    source = DemoSource()
    pictures = [np.asarray(source.frame(number)) for number in range(36)]
    source.close()
    folder = tmp_path / "clips"
    folder.mkdir()
    write_mp4(folder / "demo.mp4", pictures)
    return folder


def test_waiting_buys_truth(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playout, "DELAYS", (0, 6))
    monkeypatch.setattr(playout, "LOSSES", (0.0,))
    line = [
        "playout",
        "--clips",
        str(clips),
        "--clip-seconds",
        "1.2",
        "--device",
        "cpu",
        "--backbone",
        "lite",
    ]
    assert main([*line, "--report", str(tmp_path), "--debug"]) == 0
    none, long = json.loads((tmp_path / "playout.json").read_text())["rows"]
    assert (none["delay_ms"], long["delay_ms"]) == (0, 200)
    assert none["interpolated"] == 0 < none["forecast"]
    assert long["interpolated"] > 0.3
    assert long["forecast"] < none["forecast"]
    assert long["mae"] < none["mae"]
    assert "200 ms, 0% loss: MAE -" in (tmp_path / "playout.md").read_text()
    with Image.open(tmp_path / "playout.png") as picture:
        assert picture.format == "PNG"


def test_a_folder_without_clips_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playout", "--clips", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
