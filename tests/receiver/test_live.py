import json
from collections import Counter
from dataclasses import replace

import pytest

from models.lite.layout import DIMENSIONS, LAYOUT
from receiver.live import OVERHEAD, STATES, Counts, Live, Snapshot, listening
from shared.concealment import Kind
from shared.constants import CallTerms

TERMS = CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS)
NAMES = {
    "state", "seconds", "payload_kbps", "pictures_kbps", "audio_kbps", "overhead_kbps", "wire_up_kbps",
    "wire_down_kbps", "fps_shown", "latency_ms", "clocks_apart_s", "loss_percent", "frame", "strip",
    "headers_kbps", *(f"{cause}_kbps" for cause in OVERHEAD),
}  # fmt: skip


class Call:
    """A call of so many frames a second, six of twelve observed, three of them in a message."""

    def __init__(self, terms: CallTerms = TERMS) -> None:
        self.live, self.now, self.number = Live(), 100.0, 0
        self.counts, self.causes = Counts(), Counter[str]()
        self.live.agreed(terms)

    def play(
        self, seconds: float, *, arriving: bool = True, held: bool = False, latency: float | None = 120.0
    ) -> Snapshot:
        for _ in range(round(seconds * 30)):
            self.now += 1 / 30
            ships = self.number % 12 < 6
            if arriving and ships and self.number % 3 == 2:
                self.live.arrived(3, self.now)
                self.counts = replace(
                    self.counts,
                    payload=self.counts.payload + 75, wire_up=self.counts.wire_up + 160,
                    expected=self.counts.expected + 1, received=self.counts.received + 1,
                )  # fmt: skip
                self.causes.update(ip=28, dtls=29, sctp=20)
            kind = Kind.HELD if held else Kind.OBSERVED if ships and arriving else Kind.FORECAST
            self.live.shown(self.number, kind, True, latency, self.now)
            self.live.count(self.now, self.counts, self.causes)
            self.number += 1
        return self.live.snapshot(self.now)


def test_every_state_has_the_same_names_and_plain_values() -> None:
    call = Call()
    for values in (listening(), Live().snapshot(5.0), call.play(3.0)):
        assert set(values) == NAMES
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert values["state"] in STATES
    assert listening()["state"] == "listening"


def test_a_call_that_goes_well() -> None:
    values = Call().play(10.0)
    assert values["state"] == "live"
    assert values["seconds"] == pytest.approx(10.0, abs=0.05)
    assert values["fps_shown"] == pytest.approx(30, abs=0.6)
    # Five messages a second.
    assert values["payload_kbps"] == pytest.approx(5 * 75 * 8 / 1000, rel=0.12)
    assert values["wire_up_kbps"] == pytest.approx(5 * 160 * 8 / 1000, rel=0.12)
    assert values["overhead_kbps"] == pytest.approx(5 * 85 * 8 / 1000, rel=0.12)
    for cause, size in (("ip", 28), ("dtls", 29), ("sctp", 20), ("headers", 8), ("ice", 0)):
        assert values[f"{cause}_kbps"] == pytest.approx(5 * size * 8 / 1000, rel=0.12)
    assert (values["pictures_kbps"], values["audio_kbps"], values["wire_down_kbps"]) == (0, 0, 0)
    assert values["latency_ms"] == 120
    assert values["loss_percent"] == 0
    assert values["frame"] == 299
    assert values["strip"] == "ooooooffffff" * 10


def test_before_the_first_frame_it_is_connecting_and_bytes_show() -> None:
    live = Live()
    live.count(10.0, Counts(), {})
    live.count(11.0, Counts(pictures=5000, wire_up=6000, wire_down=500), {"ip": 300, "control": 10_000})
    values = live.snapshot(11.0)
    assert values["state"] == "connecting"
    assert values["pictures_kbps"] == pytest.approx(40)
    assert values["overhead_kbps"] == pytest.approx(12)
    assert (values["ip_kbps"], values["headers_kbps"]) == pytest.approx((2.4, 9.6))
    assert (values["seconds"], values["fps_shown"], values["strip"]) == (0, 0, "")


def test_silence_is_told_once_the_schedule_does_not_explain_it() -> None:
    call = Call()
    call.play(2.2)  # up to the last frame of a block
    assert call.play(0.5, arriving=False)["state"] == "live"
    assert call.play(0.5, arriving=False)["state"] == "forecasting"
    assert call.play(0.6, arriving=False, held=True)["state"] == "stalled"
    assert call.play(1.0)["state"] == "live"


def test_what_a_sender_skips_on_purpose_is_no_silence() -> None:
    for terms in (replace(TERMS, skip=40), replace(TERMS, policy="adaptive", skip=0)):
        call = Call(terms)
        call.play(2.2)
        assert call.play(1.2, arriving=False)["state"] == "live"
        assert call.play(0.6, arriving=False)["state"] == "forecasting"


def test_a_frame_held_in_passing_is_no_stall_and_frames_that_stop_are() -> None:
    call = Call()
    call.play(2.0)
    assert call.play(0.1, held=True)["state"] == "live"
    assert call.live.snapshot(call.now + 0.9)["state"] == "forecasting"
    assert call.live.snapshot(call.now + 1.1)["state"] == "stalled"


def test_what_is_over_is_forgotten() -> None:
    call = Call()
    call.play(2.0, latency=900.0)
    assert call.play(2.1, latency=80.0)["latency_ms"] == 80
    silent = call.play(3.0, arriving=False, held=True, latency=None)
    assert (silent["payload_kbps"], silent["latency_ms"]) == (0, None)
    assert call.live.snapshot(call.now + 3)["fps_shown"] == 0


def test_frames_too_late_are_not_shown_in_time() -> None:
    live = Live()
    for n in range(60):
        live.shown(n, Kind.OBSERVED, n % 3 == 0, None, n / 30)
    assert live.snapshot(59 / 30)["fps_shown"] == pytest.approx(10, abs=0.5)


def test_a_call_that_has_just_begun_is_measured_over_its_own_length() -> None:
    assert Call().play(0.2)["fps_shown"] == pytest.approx(30)


def test_loss_is_that_of_the_last_seconds() -> None:
    live = Live()
    for step in range(200):
        lost = min(step, 100) // 5  # one piece of five, for the first ten seconds
        live.count(step / 10, Counts(expected=step, received=step - lost), {})
        if step == 100:
            assert live.snapshot(10.0)["loss_percent"] == pytest.approx(20, abs=1)
    assert live.snapshot(19.9)["loss_percent"] == 0


def test_a_late_piece_makes_no_negative_loss() -> None:
    live = Live()
    live.count(0.0, Counts(expected=10, received=5), {})
    live.count(1.0, Counts(expected=12, received=12), {})
    assert live.snapshot(1.0)["loss_percent"] == 0


def test_memory_is_bounded_however_often_it_is_asked() -> None:
    live = Live()
    for step in range(20_000):
        live.count(step / 1000, Counts(payload=step), {})
        live.shown(step, Kind.INTERPOLATED, True, 1.0, step / 1000)
    assert len(live._totals._samples) <= 52
    assert len(live._frames) == 240
    values = live.snapshot(20.0)
    assert values["strip"] == "i" * 120
    assert values["payload_kbps"] == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("latency", [-7_200_000.0, -40.0, 10_001.0, 7_200_000.0])
def test_clocks_that_disagree_give_no_latency_and_say_so(latency: float) -> None:
    call = Call()
    assert call.play(3.0)["clocks_apart_s"] == 0
    values = call.play(1.0, latency=latency)
    assert (values["latency_ms"], values["clocks_apart_s"]) == (None, abs(latency) / 1000)
    # Set right, they are believed again; what was nonsense is in no median.
    values = call.play(0.5, latency=120.0)
    assert (values["latency_ms"], values["clocks_apart_s"]) == (120, 0)
