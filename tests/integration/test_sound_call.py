"""Sound between real processes: a file's own, into an mp4, into figures, and where it is not wanted."""

from pathlib import Path

import av
import numpy as np
import pytest

from bench.__main__ import main as bench_main
from sender.voice import REFUSED
from tests.integration.test_call import Place, frames_of, place, shared_files, stats
from tests.sender.test_sound import write_clip

pytestmark = pytest.mark.slow

__all__ = ["place", "shared_files"]  # fixtures


def sound_of(path: Path) -> float | None:
    """Return how loud the sound of a file is at its loudest, in [0, 1]; None where it has none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        return max(float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0))


def test_a_files_sound_reaches_the_mp4_and_the_figures(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_clip(place.folder / "source.mkv", 75, (20, 40, 60))
    output, received, sent = (place.folder / name for name in ("call.mp4", "receiver.jsonl", "sender.jsonl"))
    with place.receiver("--output", output, "--stats", received) as there:
        from_sender = place.sender_here(capfd, "--source", source, "--audio", "--stats", sent)
        from_receiver = there.done()
    assert (from_sender.code, from_sender.err, from_receiver.code, from_receiver.err) == (0, "", 0, "")
    assert "sound: Opus" in from_sender.out
    assert "sound: Opus" in from_receiver.out
    ours, theirs = stats(sent), stats(received)
    assert 5 <= theirs["audio_packets"] <= ours["audio_packets"]
    assert theirs["audio_packets_bad"] == 0
    assert 0 < ours["audio_kbps"] < ours["audio_wire_kbps"] < 40
    assert frames_of(output) == theirs["frames"]
    loudest = sound_of(output)
    assert loudest is not None
    assert loudest > 0.1


def test_a_receiver_may_do_without(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    output, received = place.folder / "call.mp4", place.folder / "receiver.jsonl"
    source = write_clip(place.folder / "source.mkv", 30)
    with place.receiver("--output", output, "--stats", received, "--no-audio") as there:
        from_sender, from_receiver = place.sender_here(capfd, "--source", source, "--audio"), there.done()
    assert from_sender.code == from_receiver.code == 0
    assert REFUSED in from_sender.err
    assert stats(received)["audio_packets"] == 0
    assert sound_of(output) is None


def test_bench_sync_refuses_what_it_cannot_measure(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--seconds", "1"], ["--impair", "loss=200"]):
        assert bench_main(["sync", *words]) == 2
        assert capsys.readouterr().err.startswith("error: ")
