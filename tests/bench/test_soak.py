"""`bench soak`: what stays flat, what grows, and a minute of the real thing."""

import json
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.calls import soak
from bench.calls.soak import LIMITS, Notes, chart, judged, open_files, resident_bytes, slope

pytestmark = pytest.mark.slow

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


def notes(**slopes: float) -> Notes:
    """An hour's notes with some noise, growing by `slopes` an hour."""
    chance, found = np.random.default_rng(1), Notes()
    for at in np.arange(5.0, 3600.0, 5.0):
        base = {"receiver_mb": 400.0, "sender_mb": 300.0, "latency_ms": 150.0, "delay_ms": 50.0}
        values = {
            name: base.get(name, 30.0) + slopes.get(name, 0.0) * at / 3600 + chance.normal(0, 0.5)
            for name in LIMITS
        }
        if at < 300:  # what is loaded while it warms up is no growth
            values["receiver_mb"] -= 100
        found.add(float(at), values)
    return found


def flat(found: Notes) -> dict[str, bool]:
    return {str(row["name"]): bool(row["flat"]) for row in judged(found)}


def test_what_stays_is_flat() -> None:
    assert all(flat(notes()).values())


@pytest.mark.parametrize(
    ("name", "growth"),
    [
        ("receiver_mb", 40.0),
        ("sender_mb", 30.0),
        ("sender_files", 6.0),
        ("latency_ms", 60.0),
        ("delay_ms", 60.0),
    ],
)
def test_what_grows_is_found(name: str, growth: float) -> None:
    found = flat(notes(**{name: growth}))
    assert [other for other, is_flat in found.items() if not is_flat] == [name]


def test_memory_that_is_given_back_is_no_growth() -> None:
    assert all(flat(notes(receiver_mb=-200.0)).values())


def test_a_few_odd_notes_and_missing_answers_change_nothing() -> None:
    found = notes()
    found.values["latency_ms"][300:320] = [9000.0] * 20
    found.values["latency_ms"][400:500] = [float("nan")] * 100
    assert flat(found)["latency_ms"]


def test_a_receiver_that_never_answered_is_not_called_flat() -> None:
    found = notes()
    found.values["latency_ms"] = [float("nan")] * len(found.at)
    assert not flat(found)["latency_ms"]


def test_the_slope_is_that_of_a_line() -> None:
    at = list(np.arange(1000.0))
    assert slope(at, [2.5 * x + 1 for x in at]) == pytest.approx(2.5)
    assert np.isnan(slope([1.0, 1.0], [2.0, 3.0]))


@linux
def test_what_a_process_holds_is_read() -> None:
    before = open_files(os.getpid())
    with Path(os.devnull).open():
        assert open_files(os.getpid()) == before + 1
    held = resident_bytes(os.getpid())
    # Pages of its own: an array may be put where something was freed before.
    with mmap.mmap(-1, 40_000_000) as ballast:
        ballast.write(b"1" * len(ballast))
        assert resident_bytes(os.getpid()) - held > 0.8 * len(ballast)


def test_the_chart_is_drawn() -> None:
    pytest.importorskip("matplotlib", reason="plots need the measuring extra")
    assert chart(notes())[:4] == b"\x89PNG"


@pytest.mark.parametrize("minutes", ["0.2", "0", "-1", "nan"])
def test_too_short_a_call_is_refused(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--minutes", minutes]) == 2
    assert "give --minutes" in capsys.readouterr().err


@linux
def test_a_call_is_soaked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "_EVERY_SECONDS", 0.25)
    report = tmp_path / "soak.json"
    line = ["soak", "--minutes", "0.05", "--forecaster", "hold", "--gallery", "1", "--json", str(report)]
    code = main([*line, "--debug"])
    written = json.loads(report.read_text())
    rows = {row["name"]: row for row in written["rows"]}
    assert set(rows) == set(LIMITS)
    assert code == int(not all(row["flat"] for row in rows.values()))
    assert rows["receiver_mb"]["start"] > 50
    assert rows["sender_files"]["start"] > 5
    assert rows["latency_ms"]["end"] > 0
    assert written["meta"]["fps_shown"] >= 0
