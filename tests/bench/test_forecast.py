"""Windows, their figures, and the command with the shipped network and forecasters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.__main__ import main
from bench.forecast import forecast_measure
from bench.forecast.forecast_measure import Plan, measure
from bench.forecast.forecast_report import lively, rows, tables, verdicts
from bench.forecast.forecasters import densities
from bench.forecast.windows import Horizon, Scene, parse_horizons, parse_modes
from bench.harness.clip_set import Clip, ClipError, find_clips
from bench.harness.media import write_mp4
from models.forecast.baselines import Damped, Hold
from models.forecast.build import load_forecaster
from models.lite.layout import LAYOUT
from sender.demo import pose_at
from shared.errors import RequestError
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from shared.portrait.portrait import Portrait
from tests.kept import Kept, Transferring

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)


class Dots(Transferring):
    """Keypoints are the picture's mean in all places; what is drawn has that mean. Counts what it draws."""

    name = "dots"
    fingerprint = ""
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def __init__(self) -> None:
        self.drawn = 0

    def detect(self, pictures: Pictures) -> Floats:
        mean = pictures.reshape(len(pictures), -1).mean(axis=1) / 255
        return np.repeat(mean[:, None], 60, axis=1).astype(np.float32)

    def encode(self, picture: Pictures) -> Kept:
        return Kept(self.detect(picture[None])[0], picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:  # noqa: ARG002
        self.drawn += len(keypoints)
        level = (keypoints[:, 0].clip(0, 1) * 255).round().astype(np.uint8)
        return np.broadcast_to(level[:, None, None, None], (len(level), 256, 256, 3)).copy()

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A clip of 26 frames whose grey rises by 4 a frame, from 40."""
    file = tmp_path_factory.mktemp("ramp") / "ramp.mp4"
    write_mp4(file, [np.full((256, 256, 3), 40 + 4 * n, np.uint8) for n in range(26)])
    return Clip(file, "ann")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 8 frames of two people, and a broken one."""
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    for name, start in (("a", 0.0), ("b", 3.0)):
        write_mp4(place / f"{name}.mp4", [portrait.draw(pose_at(start + n / 12)) for n in range(8)])
    (place / "broken.mp4").write_bytes(b"no video")
    return place


def test_windows_do_not_overlap_and_are_spread() -> None:
    assert Horizon(6, 6).starts(50) == [0, 12, 24, 36]
    assert Horizon(6, 6).starts(50, 2) == [0, 36]
    assert Horizon(6, 24).starts(29) == []
    assert parse_horizons("6-6, 15-15,6-6") == [Horizon(6, 6), Horizon(15, 15)]
    assert parse_modes("transfer,reconstruction") == ["reconstruction", "transfer"]
    for wrong in ("6", "0-6", "6-99999", "a-b", ""):
        with pytest.raises(RequestError):
            parse_horizons(wrong)
    with pytest.raises(RequestError):
        parse_modes("both")


def test_the_same_keypoints_are_drawn_once() -> None:
    backbone = Dots()
    scene = Scene(backbone, "reconstruction", np.zeros((256, 256, 3), np.uint8), np.zeros(60, np.float32))
    points = np.repeat(np.array([0.2, 0.4, 0.2], np.float32)[:, None], 60, axis=1)
    first = scene.draw(points)
    np.testing.assert_array_equal(scene.draw(points[::-1])[::-1], first)
    assert backbone.drawn == scene.renders == 2


def test_holding_a_ramp_has_known_errors(ramp: Clip) -> None:
    plan = Plan(["reconstruction"], [Horizon(6, 6)], [Hold(), Damped(decay=0.0)], windows=1)
    found = rows(plan, [measure(Dots(), plan, [ramp], ramp)])
    hold = found[0]
    assert list(hold)[:7] == ["mode", "horizon", "model", "mae", "mae_std", "rmse", "rmse_std"]
    # One step of the ramp is 4 levels; six frames ahead the steps are 1 to 6.
    assert hold["mae"] == pytest.approx(4 / 255 * 3.5, abs=2e-3)
    assert hold["rmse"] == pytest.approx(4 / 255 * np.sqrt(91 / 6), rel=0.05)
    assert hold["n"] == 1
    assert np.isnan(hold["mae_std"])
    assert np.isnan(hold["jedi"])
    assert np.isnan(hold["nats"])


def test_held_frames_are_drawn_once_however_long(ramp: Clip) -> None:
    backbone = Dots()
    plan = Plan(["reconstruction"], [Horizon(6, 6)], [Hold()], windows=0)
    assert measure(backbone, plan, [ramp], ramp).renders == 2


def test_people_count_alike_and_transfer_needs_two(ramp: Clip) -> None:
    plan = Plan(["transfer"], [Horizon(6, 6)], [Hold()], windows=1)
    assert rows(plan, [measure(Dots(), plan, [ramp], ramp)]) == []
    drawn = forecast_measure.Drawn("transfer", "6-6", "hold", 0.1, None)
    missed = [forecast_measure.Missed("6-6", "hold", 0.04)]
    often = forecast_measure.Measured(ramp, [drawn] * 3, missed)
    other = forecast_measure.Measured(
        Clip(ramp.file, "bob"), [forecast_measure.Drawn("transfer", "6-6", "hold", 0.3, None)], missed
    )
    (row,) = rows(plan, [often, other])
    assert (row["mae"], row["rmse"], row["n"]) == (pytest.approx(0.2), pytest.approx(0.2), 4)
    assert row["mae_std"] == pytest.approx(np.std([0.1, 0.3], ddof=1))


def test_keypoint_errors_with_people_alike_and_with_windows_alike(ramp: Clip) -> None:
    often = [forecast_measure.Missed("6-6", "hold", 0.04)] * 3
    drawn = [forecast_measure.Drawn("transfer", "6-6", "hold", 0.1, None)]
    measured = [
        forecast_measure.Measured(ramp, drawn, often, nats={"hold": 1.0}),
        forecast_measure.Measured(
            Clip(ramp.file, "bob"), drawn, [forecast_measure.Missed("6-6", "hold", 0.16)], nats={"hold": 2.0}
        ),
    ]
    (row,) = rows(Plan(["transfer"], [Horizon(6, 6)], [Hold()], windows=1), measured)
    assert row["rmse"] == pytest.approx(np.sqrt(0.1))
    assert row["rmse_std"] == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert row["rmse_windows"] == pytest.approx(np.sqrt(0.07))
    assert row["nats"] == pytest.approx(1.5)


def test_the_sheet_shows_a_lively_clip_and_not_the_one_with_a_cut(ramp: Clip) -> None:
    def clip(person: str, moved: float, horizon: Horizon) -> forecast_measure.Measured:
        return forecast_measure.Measured(Clip(ramp.file, person), liveliest=(moved, horizon, 0))

    long, short = Horizon(6, 24), Horizon(6, 6)
    measured = [
        clip(name, moved, long) for name, moved in zip("abcde", (0.1, 0.3, 0.2, 9.0, 0.05), strict=True)
    ]
    chosen_one = lively([*measured, clip("short", 5.0, short), forecast_measure.Measured(ramp)])
    assert chosen_one is not None
    assert chosen_one.clip.person == "b"
    assert lively([forecast_measure.Measured(ramp)]) is None


def test_likelihoods_are_of_what_has_one() -> None:
    forecasters = [load_forecaster(name) for name in ("hold", "gru", "vrnn", "gru-nf", "nf")]
    known = densities(forecasters, None)
    assert set(known) == {"vrnn", "gru-nf", "nf"}
    still = np.zeros((10, 60), np.float32)
    jump = still.copy()
    jump[5:] += 0.5
    quiet, loud = (forecast_measure.likelihoods(known, clip) for clip in (still, jump))
    assert all(quiet[name] > loud[name] + 1 for name in known)
    assert forecast_measure.likelihoods(known, still[:1]) == {}


def test_a_clip_shorter_than_every_window_says_so(ramp: Clip) -> None:
    with pytest.raises(ClipError, match="shorter"):
        measure(Dots(), Plan(["reconstruction"], [Horizon(20, 20)], [Hold()], 1), [ramp], ramp)


def figures(model: str, mae: float, rmse: float) -> dict[str, object]:
    row = {"mode": "reconstruction", "horizon": "6-6", "model": model, "mae": mae}
    return {
        **row, "mae_std": 0.01, "rmse": rmse, "rmse_std": 0.002, "rmse_windows": 2 * rmse + 0.001,
        "jedi": None, "n": 3,
    }  # fmt: skip


def test_the_best_is_bold_and_verdicts_are_computed() -> None:
    found = [figures("hold", 0.2, 0.02), figures("gru", 0.1, 0.019), figures("vrnn", 0.12, 0.017)]
    table = tables(found, ["reconstruction"], with_jedi=False)  # type: ignore[arg-type]
    assert table[0][1][0]["gru"] == "**0.1000 +- 0.0100**"
    assert table[1][1][0]["vrnn"] == "**0.0170 +- 0.0020**"
    said = verdicts(found)  # type: ignore[arg-type]
    assert "vrnn has the lowest keypoint RMSE, 15.0 (14.6) % below hold" in said[0]
    assert [list(row.values()) for row in table[2][1]] == [
        ["6-6", "not measured: needs V-JEPA 2, given with --jepa"]
    ]
    assert "VRNN's MAE is 1.200 of GRU's" in said[1]


def test_the_command_leaves_tables_and_pictures(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = (
        f"forecast --clips {folder} --horizons 3-3,5-2 --windows 1 --models vrnn --backbone lite --threads 1"
    )
    assert main([*given.split(), "--json", str(tmp_path / "f.json"), "--report", str(output)]) == 0
    stored = json.loads((tmp_path / "f.json").read_text())
    assert {row["model"] for row in stored["rows"]} == {"hold", "damped", "linear", "vrnn"}
    assert {row["mode"] for row in stored["rows"]} == {"reconstruction", "transfer"}
    assert {row["horizon"] for row in stored["rows"]} == {"3-3", "5-2"}
    assert stored["meta"]["clips_skipped"] == 1
    assert all(0 < row["mae"] < 1 and row["jedi"] is None and row["n"] == 2 for row in stored["rows"])
    assert all(row["step_ms"] > 0 and row["draw_s"] > 0 for row in stored["rows"])
    assert all((row["nats"] is None) == (row["model"] != "vrnn") for row in stored["rows"])
    said = (output / "forecast.md").read_text()
    assert "step_ms" in said
    assert said.count("not measured: needs V-JEPA 2") == 4
    assert (output / "forecast.json").read_text() == (tmp_path / "f.json").read_text()
    for name in ("forecast.png", "forecast-reconstruction.png", "forecast-transfer.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "wrong",
    ["--models oracle", "--windows -1", "--threads 0", "--modes film", "--jepa /nowhere", "--horizons 6"],
)
def test_a_wrong_request_is_one_sentence(
    folder: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forecast", "--clips", str(folder), *wrong.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_clips_of_one_person_have_no_transfer(ramp: Clip) -> None:
    clips, _ = find_clips([ramp.file.parent])
    plan = Plan(["transfer"], [Horizon(6, 6)], [Hold()], windows=1)
    assert measure(Dots(), plan, clips, clips[0]).drawn == []
