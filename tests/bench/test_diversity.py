"""APD against its definition, ratios by hand, the ledger, and the command from end to end."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.__main__ import main
from bench.forecast.diversity_command import LEDGER
from bench.forecast.diversity_measure import Unit, apd, nearest
from bench.forecast.diversity_report import ratios, rows, tables, verdicts
from bench.harness.ledger import Ledger
from bench.harness.media import write_mp4
from sender.demo import pose_at
from shared.errors import RequestError
from shared.portrait.portrait import Portrait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    for name, start in (("a", 0.0), ("b", 3.0)):
        write_mp4(place / f"{name}.mp4", [portrait.draw(pose_at(start + n / 12)) for n in range(6)])
    return place


def test_apd_is_the_mean_over_all_pairs() -> None:
    videos = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4, 3)).astype(np.uint8)
    naive = np.mean([np.abs(a.astype(float) - b).mean() for a, b in product(videos, videos)]) / 255
    assert apd(videos) == pytest.approx(naive)
    assert apd(np.repeat(videos[:1], 4, axis=0)) == 0


def test_the_nearest_futures_are_kept() -> None:
    real = np.full((2, 4, 4, 3), 100, np.uint8)
    videos = [np.full_like(real, 100 + offset) for offset in (40, 3, -9, 20, 1)]
    errors, kept = nearest(iter(videos), real, keep=3)
    assert errors == pytest.approx([1 / 255, 3 / 255, 9 / 255])
    assert [int(video[0, 0, 0, 0]) for video in kept] == [101, 103, 91]


def unit(clip: str, model: str, spread: float, error: float) -> Unit:
    return Unit(clip, "transfer", "6-24", model, spread, error, 0.5)


def test_ratios_are_scaled_over_clips_and_models() -> None:
    units = [
        unit("a", "vrnn", 1, 2),
        unit("b", "vrnn", 2, 4),
        unit("a", "gru-nf", 5, 4),
        unit("b", "gru-nf", 3, 6),
    ]
    # Scaled: APD 0, 1/4, 1, 1/2; MAE 0, 1/2, 1/2, 1. The first has no ratio.
    assert ratios(units) == {"vrnn": [0.5], "gru-nf": [2.0, 0.5]}
    found = rows(units)
    assert (found[1]["ratio_mean"], found[1]["ratio_median"]) == (1.25, 1.25)
    agreed = ["mode", "horizon", "model", "apd", "mae", "ssim", "ratio_mean", "ratio_median"]
    assert list(found[0])[:8] == agreed
    assert found[0]["apd_std"] == pytest.approx(np.std([1, 2], ddof=1))
    assert found[0]["n"] == 2
    assert "APD is 2.7 times VRNN's, its MAE 1.67 times" in verdicts(found)[0]


def test_baselines_stand_in_the_table_and_out_of_the_scale() -> None:
    drawn = [
        unit("a", "vrnn", 1, 2),
        unit("b", "vrnn", 2, 4),
        unit("a", "gru-nf", 5, 4),
        unit("b", "gru-nf", 3, 6),
    ]
    with_hold = [unit("a", "hold", 0, 1), unit("b", "hold", 0, 9), *drawn]
    assert ratios(with_hold) == ratios(drawn)
    ((_, lines, _),) = tables(rows(with_hold))
    assert [line["model"] for line in lines] == ["hold", "vrnn", "gru-nf"]
    assert (lines[0]["apd"], lines[0]["ratio_mean"]) == ("0.0000 +- 0.0000", "")
    assert (lines[1]["ratio_mean"], lines[2]["ratio_mean"]) == ("0.500", "**1.250**")
    assert lines[2]["mae"] == "5.0000 +- 1.4142"


def test_what_cannot_be_scaled_has_no_ratio() -> None:
    assert ratios([unit("a", "vrnn", 1, 2)]) == {"vrnn": []}
    assert np.isnan(rows([unit("a", "vrnn", 1, 2)])[0]["ratio_mean"])


def test_a_ledger_goes_on_after_a_torn_line_and_refuses_other_settings(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    ledger = Ledger(path, {"seed": 0}, Unit)
    done = unit("a", "vrnn", 1, 2)
    ledger.add(done)
    with path.open("a") as out:
        out.write('{"clip": "b", "mo')
    again = Ledger(path, {"seed": 0}, Unit)
    assert again.units == [done]
    again.add(unit("b", "vrnn", 3, 4))
    assert len(Ledger(path, {"seed": 0}, Unit).units) == 2
    with pytest.raises(RequestError, match="other settings"):
        Ledger(path, {"seed": 1}, Unit)


def test_the_command_measures_resumes_and_reports(folder: Path, tmp_path: Path) -> None:
    given = (
        f"diversity --clips {folder} --horizons 3-1,4-2 --samples 3 --keep 2 --backbone lite --threads 1 "
        f"--report {tmp_path / 'out'} --json {tmp_path / 'd.json'}"
    ).split()
    assert main(given) == 0
    stored = json.loads((tmp_path / "d.json").read_text())["rows"]
    assert len(stored) == 4 * 5
    assert {row["model"] for row in stored if row["apd"] > 0} == {"vrnn", "gru-nf"}
    assert {row["model"] for row in stored if row["apd"] == 0} == {"hold", "damped", "linear"}
    assert all(0 < row["mae"] < 1 and 0 < row["ssim"] <= 1 and row["n"] == 2 for row in stored)
    for name in ("diversity-ratios.png", "diversity-reconstruction.png", "diversity-transfer.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    ledger = tmp_path / "out" / LEDGER
    lines = ledger.read_text().splitlines()
    assert len(lines) == 1 + 40
    ledger.write_text("\n".join(lines[:-2]) + "\n")
    assert main(given) == 0
    assert sorted(ledger.read_text().splitlines()) == sorted(lines)
    assert json.loads((tmp_path / "d.json").read_text())["rows"] == stored


@pytest.mark.parametrize("wrong", ["--keep 1", "--samples 5 --keep 6", "--models oracle", "--people -1"])
def test_a_wrong_request_is_one_sentence(
    folder: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diversity", "--clips", str(folder), *wrong.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1
