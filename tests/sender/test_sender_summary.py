import json

import numpy as np
import pytest

from bench.network.memory_link import pair
from models.lite.layout import DIMENSIONS, LAYOUT
from sender.live import Live, Sent, status
from sender.summary import CallSummary
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.constants import CallTerms
from shared.protocol.events import State
from shared.protocol.reports import Report
from shared.protocol.sender_session import SenderSession
from shared.protocol.tally import Tally


def summary_of(last: int | None, observe: int = 6, skip: int = 6) -> CallSummary:
    session = SenderSession(
        CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS, observe=observe, skip=skip),
        PaperCodec(DIMENSIONS),
        None,
    )
    summary = CallSummary(session.tally)
    if last is not None:
        summary.seen(last, 0.001, 0.004, 0.0005)
    session.state = State.STREAMING
    summary.sent(session.packet(0, 0, Block(np.zeros((3, 60), np.float32))), 3)
    summary.close(pair()[0], session.terms)
    return summary


@pytest.mark.parametrize(
    ("last", "observe", "skip", "frames"),
    [(5, 6, 6, 12), (4, 6, 6, 5), (12, 6, 6, 13), (17, 6, 6, 24), (59, 6, 0, 60), (0, 1, 299, 300)],
)
def test_what_is_skipped_at_the_end_counts_as_video(last: int, observe: int, skip: int, frames: int) -> None:
    assert summary_of(last, observe, skip).to_map()["seconds"] == pytest.approx(frames / 30)


def test_the_figures_are_plain_json() -> None:
    summary = summary_of(5)
    summary.reported(Report(packets=7, delay_ms=80, frames_forecast=5), 2)
    values = json.loads(json.dumps(summary.to_map()))
    assert (values["packets"], values["frames"], values["payload_bytes"]) == (1, 3, 720)
    assert values["stages_ms"] == pytest.approx({"capture": 1.0, "detect": 4.0, "decide": 0.5})
    assert values["receiver_reports"]["frames_forecast"] == 5
    assert values["receiver_reports"]["delay_ms"] == 80
    assert values["rate_halved"] == 2
    assert "payload 14.4 kbps" in summary.lines()[0]


def test_a_call_without_frames_says_so() -> None:
    assert summary_of(None).lines() == ["No frame was sent."]
    assert CallSummary(Tally()).lines() == ["No frame was sent."]


@pytest.mark.parametrize(("fps", "hue"), [(29.6, ""), (14.4, "yellow")])
def test_the_status_line_has_the_rate_that_a_camera_really_gives(fps: float, hue: str) -> None:
    sent = Sent(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    shown = status(Live().snapshot(1.0, "live", sent, 0.0, None, camera_fps=fps))
    assert (f"  camera {fps:.0f} fps", hue) in shown
    assert not any("camera" in text for text, _ in status(Live().snapshot(1.0, "live", sent, 0.0, None)))
