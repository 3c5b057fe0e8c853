"""`bench loopback` end to end: two processes, a real connection, one report."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from PIL import Image

from bench.__main__ import main
from bench.harness import landmark_measures
from bench.harness.media import write_mp4
from bench.throughput.throughput_command import demo_clip
from shared.interfaces import CAUSES

pytestmark = pytest.mark.slow

pytest.importorskip("skimage", reason="SSIM needs the measuring extra")

FRAMES = 48
COLUMNS = [
    "backbone",
    "forecaster",
    "preset",
    "policy",
    "fps_rendered",
    "fps_shown",
    "frames_observed",
    "frames_forecast",
    "frames_held",
    "payload_kbps",
    "app_kbps",
    "wire_up_kbps",
    "wire_down_kbps",
    "savings_payload",
    "savings_app",
    "savings_wire",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "mae",
    "ssim",
    "perceptual",
    "longest_freeze_ms",
    "stage_detect_ms",
    "stage_forecast_ms",
    "stage_render_ms",
    "cpu_sender",
    "cpu_receiver",
    "rss_sender_mb",
    "rss_receiver_mb",
    "start_sender_s",
    "start_receiver_s",
    "playout_delay_ms",
    "processing_delay_ms",
    "loop_block_ms",
    "loop_block_p99_ms",
]


@pytest.fixture(scope="module")
def landmarks(request: pytest.FixtureRequest) -> list[str]:
    """Words that have mouths measured as well; none where the networks for it are missing."""
    try:
        return ["--landmarks", str(request.getfixturevalue("mesh_networks"))]
    except pytest.skip.Exception:
        return []


@pytest.fixture(scope="module")
def finished(landmarks: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is left of a call with 1.6 s of the portrait at 30 fps."""
    folder = tmp_path_factory.mktemp("call")
    write_mp4(folder / "clip.mp4", demo_clip(FRAMES))
    arguments = ["loopback", "--source", str(folder / "clip.mp4"), "--preset", "paper", *landmarks]
    arguments += ["--output", str(folder / "call.mp4"), "--sheet", str(folder / "call.png")]
    arguments += ["--forecaster", "hold"]
    assert main([*arguments, "--json", str(folder / "report.json"), "--debug"]) == 0
    return folder


def test_a_call_is_measured_and_shown(finished: Path) -> None:
    written = json.loads((finished / "report.json").read_text())
    (row,) = written["rows"]
    assert [name for name in COLUMNS if name not in row] == []
    assert written["meta"]["command"] == "loopback"
    # The schedule's last block counts whole; a machine under load may have missed its frames.
    assert 0.5 < written["meta"]["seconds"] <= FRAMES / 30 + 1e-6
    # Half of 30 frames of 240 bytes a second, as published; a machine under load may ship fewer, or end
    # before the frames that the last block would have skipped.
    assert 0.4 * 28.8 < row["payload_kbps"] <= 1.2 * 28.8
    assert row["savings_payload"] == pytest.approx(500 / row["payload_kbps"])
    # Headers only add to the payload, and the source picture goes up.
    assert row["payload_kbps"] < row["app_kbps"] < row["wire_up_kbps"] + row["wire_down_kbps"]
    assert row["wire_up_kbps"] > row["wire_down_kbps"] > 0
    for way in ("up", "down"):
        # Every byte but those of the very end, which are sent when the sides have told their figures.
        causes = sum(row[f"{way}_{cause}_kbps"] for cause in CAUSES)
        assert causes == pytest.approx(row[f"wire_{way}_kbps"], rel=0.2)
    assert row["up_keypoints_kbps"] > row["payload_kbps"] > row["down_keypoints_kbps"] == 0
    assert row["up_pictures_kbps"] > 0
    assert row["down_reports_kbps"] > row["up_reports_kbps"] == 0
    # Eight messages of three frames, the picture and the set-up have been on the way.
    assert written["meta"]["packets_up"] > 16
    assert written["meta"]["packets_up_lost"] == written["meta"]["packets_down_lost"] == 0
    kinds = ("observed", "forecast", "interpolated", "held")
    shown = sum(row[f"frames_{kind}"] for kind in kinds)
    assert 0 < shown <= FRAMES
    assert 0 <= row["mae"] < 1
    assert row["perceptual"] is None
    assert all(0 < row[f"cpu_{side}"] < 8 for side in ("sender", "receiver"))
    assert all(50 < row[f"rss_{side}_mb"] < 3000 for side in ("sender", "receiver"))
    assert 0 < row["loop_block_p99_ms"] <= row["loop_block_ms"]
    assert all(0 < row[f"start_{side}_s"] < 120 for side in ("sender", "receiver"))

    with av.open(str(finished / "call.mp4")) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == shown
    with Image.open(finished / "call.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.usefixtures("mesh_networks")
def test_what_a_call_does_to_a_mouth_is_measured(finished: Path) -> None:
    (row,) = json.loads((finished / "report.json").read_text())["rows"]
    assert [name for name in landmark_measures.COLUMNS if name not in row] == []


def test_a_side_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loopback", "--source", str(tmp_path / "none.mp4")]) == 2
    assert "none.mp4" in capsys.readouterr().err
    assert main(["loopback", "--impair", "los=20"]) == 2
    assert "no impairment 'los'" in capsys.readouterr().err
    assert main(["loopback", "--landmarks", str(tmp_path)]) == 2
    assert "no face_landmark.tflite in" in capsys.readouterr().err
    assert main(["loopback", "--checkpoint", str(tmp_path / "nowhere"), "--forecaster", "hold"]) == 1
    assert "There is no checkpoint folder" in capsys.readouterr().err
