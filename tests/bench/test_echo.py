"""`bench echo`: the sounds it makes up, what it takes of them for good or bad, and its report."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.echo import echo_command, measure
from bench.echo.cases import Case, sounds
from bench.echo.devices import Devices, recorded
from bench.echo.signals import delayed, distorted, level_db, noise, room, si_sdr_db, speech, through
from shared.media.opus import RATE


def test_a_room_decays_and_is_heard_when_it_should() -> None:
    response = room(0.2, 0)
    assert len(response) == 0.2 * RATE
    assert np.sqrt((response**2).sum()) == pytest.approx(0.5)
    tenth = len(response) // 10
    assert level_db(1e6 * response[:tenth]) - level_db(1e6 * response[-tenth:]) == pytest.approx(54, abs=4)
    click = np.zeros(RATE)
    click[1000] = 1
    heard = delayed(through(click, response), 0.06)
    assert len(heard) == RATE
    assert np.argmax(np.abs(heard)) == 1000 + round(0.06 * RATE)


@pytest.mark.slow
def test_sounds_are_what_they_are_called() -> None:
    far, near = speech(3, 1.0, 0), speech(3, 1.6, 0)
    assert 60 < level_db(far) < 75
    assert abs(float(np.corrcoef(far, near)[0, 1])) < 0.1
    assert noise(3, 100, 0).std() == pytest.approx(100)
    assert np.abs(distorted(far)).max() < 12_000 < np.abs(far).max()
    given = sounds(Case("change", then=0.2), 4, 0)
    assert len({len(given.played), len(given.echo), len(given.near), len(given.noise)}) == 1


def test_a_clock_that_is_fast_counts_more() -> None:
    tone = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    fast = recorded(tone, 1000)
    assert len(fast) == RATE + 48
    n = np.arange(len(fast) - 200)
    np.testing.assert_allclose(fast[: len(n)], np.sin(2 * np.pi * 100 * n / (1 + 1e-3) / RATE), atol=1e-4)


def test_sdr_does_not_depend_on_the_level() -> None:
    random = np.random.default_rng(0)
    voice, other = random.standard_normal((2, RATE))
    for level in (1, 100):
        assert si_sdr_db(level * (voice + 0.1 * other), voice) == pytest.approx(20, abs=0.3)


def test_what_is_not_lowered_in_the_end_is_said() -> None:
    microphone = np.random.default_rng(0).standard_normal(4 * RATE) * 1000
    half = (microphone / 100).astype(np.int16)
    half[: 3 * RATE] = microphone[: 3 * RATE]
    assert measure._reached(microphone, half, 0.0) == pytest.approx(3.25)
    assert measure._reached(microphone, microphone.astype(np.int16), 0.0) == float("inf")


@pytest.mark.slow
def test_the_report_has_a_row_for_each_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("a room", devices=Devices(512, 441))
    monkeypatch.setattr(echo_command, "CASES", (case,))
    assert main(["echo", "--seconds", "12", "--json", str(tmp_path / "echo.json")]) == 0
    assert "| a room" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "echo.json").read_text())["rows"]
    assert row["echo_lowered_db"] > 25
    assert row["processor_ms_per_s"] > 0


@pytest.mark.parametrize("seconds", ["3", "nan", "inf"])
def test_too_short_a_case_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "--seconds", seconds]) == 2
    assert "at least 12 seconds" in capsys.readouterr().err
