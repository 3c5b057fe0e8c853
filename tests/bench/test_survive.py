"""`bench survive`: calls that things happen to, and what is said of them."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from bench.__main__ import main
from bench.calls import survive
from bench.calls.survive import CONDITIONS, recovery_ms
from bench.calls.survive_report import chart, lines
from bench.harness.disturbed import Disturbed, DisturbedCall, Side, run_disturbed
from bench.harness.processes import CallRecord
from bench.harness.report import Row
from bench.network.impairment import PathImpairment
from bench.network.lossy_path import Counts
from shared.errors import KeycastError

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib", reason="plots need the measuring extra")
WORDS: dict[Side, list[str]] = {"receiver": ["--forecaster", "hold"], "sender": ["--source", "demo"]}


def disturbed(shown: list[tuple[str, int]], *done: int) -> Disturbed:
    receiver = {
        "shown": [(number, kind, True) for number, (kind, _) in enumerate(shown)],
        "shown_ms": [moment for _, moment in shown],
    }
    return Disturbed(CallRecord({}, receiver, Path("none"), Counts(), Counts()), done)


def row(name: str, **values: float | None) -> Row:
    good: dict[str, float | None] = {
        "fps_shown": 30.0, "longest_freeze_ms": 40, "longest_held_ms": 0, "mae": 0.021, "mae_clean": 0.02,
        "recovery_ms": None,
    }  # fmt: skip
    return {"condition": CONDITIONS[name].title, "name": name, **good, **values}


def test_recovery_is_the_first_true_frame_after_the_last_step() -> None:
    shown = [
        ("observed", 900),
        ("held", 1000),
        ("forecast", 1100),
        ("interpolated", 1150),
        ("observed", 1180),
    ]
    assert recovery_ms(disturbed(shown, 500, 1000)) == 180
    assert recovery_ms(disturbed(shown, 850)) == 50
    assert recovery_ms(disturbed(shown, 1181)) is None
    # The wall's milliseconds run over every seven weeks.
    assert recovery_ms(disturbed([("observed", 20)], 2**32 - 30)) == 50


def test_every_condition_is_a_script_in_order() -> None:
    for condition in CONDITIONS.values():
        times = [step.at for step in condition.script]
        assert times == sorted(times)
    cut = CONDITIONS["cut3"].script
    assert [step.what for step in cut] == [PathImpairment(loss=100), PathImpairment()]
    assert cut[1].at - cut[0].at == 3.0
    assert [step.what for step in CONDITIONS["sender-restart"].script] == ["sender"]


def test_what_is_met_and_what_is_missed_is_said() -> None:
    good = [
        row("clean"),
        row("loss10"),
        row("cut1", recovery_ms=300),
        row("receiver-restart", recovery_ms=2500),
    ]
    assert [line.split(":")[0] for line in lines(good)] == ["met"] * 5
    bad = [
        row("clean", longest_freeze_ms=130),
        row("loss10", mae=0.023),
        row("cut1", recovery_ms=500, fps_shown=21.5),
        {"condition": "receiver killed and restarted", "name": "receiver-restart", "failed": "It did not."},
    ]
    said = lines(bad)
    assert [line.split(":")[0] for line in said] == ["missed"] * 5
    assert "1 s cut 21.5" in said[0]
    assert "clean 130 ms" in said[1]
    assert "+15.0%" in said[2]
    assert "500 ms" in said[3]
    assert "never" in said[4]
    for rows in (good, bad):
        assert chart(rows)[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--conditions", "storm"], "There is no condition 'storm'; choose from clean, loss5"),
        (["--seconds", "5", "--conditions", "cut3"], "give --seconds 9 or more"),
        (["--seconds", "nan"], "give --seconds 9 or more"),
        (["--source", "none.mp4", "--conditions", "clean"], "none.mp4"),
    ],
)
def test_a_wrong_request_is_told_before_any_call(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["survive", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_cut_call_is_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survive, "_BEGIN", 0.5)
    monkeypatch.setitem(CONDITIONS, "cut1", survive.Condition("1 s cut", steps=survive._cut(1.0)))
    arguments = [
        "survive",
        "--conditions",
        "cut1",
        "--seconds",
        "5",
        "--forecaster",
        "hold",
        "--gallery",
        "1",
    ]
    assert main([*arguments, "--report", str(tmp_path), "--debug"]) == 0
    written = json.loads((tmp_path / "survive.json").read_text())
    clean, cut = written["rows"]
    assert [clean["name"], cut["name"]] == ["clean", "cut1"]
    assert clean["recovery_ms"] is None
    # How soon is for `bench survive` itself to say: a loaded machine takes its time.
    assert cut["recovery_ms"] >= 0
    assert clean["mae"] == clean["mae_clean"]
    assert 0 < cut["mae"] < 0.2
    for found in (clean, cut):
        assert found["longest_freeze_ms"] > 0
        assert found["frames_observed"] > 0
    assert "1 s cut" in (tmp_path / "survive.md").read_text()
    with Image.open(tmp_path / "survive.png") as picture:
        assert picture.format == "PNG"


def test_a_side_is_killed_and_started_again(tmp_path: Path) -> None:
    with DisturbedCall(tmp_path, WORDS) as call:
        call.start("receiver")
        before = call.process("receiver")
        call.do("receiver")
        after = call.process("receiver")
        assert not before.running
        assert after.running
        assert before.pid != after.pid
        # It listens at the same place, with the same token.
        assert call.asked()["state"] == "listening"
    with pytest.raises(ProcessLookupError):
        os.kill(after.pid, 0)


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    wrong = {**WORDS, "sender": ["--source", str(tmp_path / "none.mp4")]}
    with pytest.raises(KeycastError, match=r"none\.mp4"):
        run_disturbed(tmp_path, wrong["receiver"], wrong["sender"], 1.0)
    assert list(tmp_path.glob("*.npy")) == []
