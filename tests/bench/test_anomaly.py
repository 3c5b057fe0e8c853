"""Faults, the score that finds them, and the two commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from animate.animate_command import main as animate
from bench.__main__ import main
from bench.forecast.anomaly_command import auc, faults
from bench.forecast.anomaly_inject import JUMP, KINDS, LASTING, inject, seen
from bench.forecast.anomaly_score import THRESHOLD, score
from bench.forecast.windows import keypoints_of
from bench.harness.clip_set import Clip
from bench.harness.media import write_mp4
from models.forecast.likelihood import ordinary, surprise
from models.forecast.networks import load_density
from models.lite.layout import LAYOUT
from sender.demo import pose_at
from shared.interfaces import Backbone
from shared.keypoints import Floats
from shared.portrait.portrait import Portrait

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    for name, start in (("a", 0.0), ("b", 7.0)):
        write_mp4(place / f"{name}.mp4", [portrait.draw(pose_at(start + n / 30)) for n in range(60)])
    return place


@pytest.fixture(scope="module")
def keypoints(folder: Path, shipped_lite: Backbone) -> Floats:
    return keypoints_of(shipped_lite, Clip(folder / "a.mp4", "a"))


def test_the_score_counts_both_sides() -> None:
    z = np.zeros(40)
    z[5] = 7
    z[20:] = -2
    found = score(z)
    assert found[5] == 7
    assert found[10] == 0
    assert found[20] < THRESHOLD < found[30] == pytest.approx(4)


def test_faults_are_what_they_say(keypoints: Floats) -> None:
    for kind in KINDS:
        fault = inject(kind, keypoints, LAYOUT, seed=3)
        assert fault is not None
        changed = np.abs(fault.keypoints - keypoints).max(axis=1) > 0
        shown = np.flatnonzero(seen(fault))
        if kind == "jump":
            assert changed[fault.first :].all()
            moved = fault.keypoints[-1, :2] - keypoints[-1, :2]
            assert np.linalg.norm(moved) == pytest.approx(JUMP, rel=1e-3)
            assert shown.tolist() == [fault.first]
        elif kind == "freeze":
            assert np.ptp(fault.keypoints[fault.first - 1 : fault.last], axis=0).max() == 0
            assert len(shown) == LASTING
        else:
            assert changed.sum() == LASTING
            assert shown.tolist() == [fault.first, fault.first + LASTING]
    assert inject("jump", keypoints[:20], LAYOUT, seed=0) is None


def test_surprise_finds_each_kind_of_fault_in_a_clip(keypoints: Floats) -> None:
    network = load_density("gru-nf")
    plain = score(surprise(network, keypoints))
    for kind in KINDS:
        shown = [
            score(surprise(network, fault.keypoints))[seen(fault)]
            for fault in faults(kind, keypoints, LAYOUT, 4, seed=0)
        ]
        assert auc(np.concatenate(shown), plain) > 0.8


def test_the_area_is_a_rank_statistic() -> None:
    assert auc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert auc(np.array([1.0]), np.array([0.0, 1.0, 2.0, 3.0])) == pytest.approx(1.5 / 4)


def test_ordinary_is_the_median_and_both_spreads() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(5, 2, 100_000)])
    assert ordinary(values) == pytest.approx((5, 2, 2), abs=0.05)
    assert ordinary(np.zeros(9))[1:] == (1e-6, 1e-6)


def test_the_benchmark_reports(folder: Path, tmp_path: Path) -> None:
    given = f"anomaly --clips {folder} --faults 1 --backbone lite --threads 1 --report {tmp_path}"
    assert main(given.split()) == 0
    stored = json.loads((tmp_path / "anomaly.json").read_text())["rows"]
    assert [row["kind"] for row in stored] == list(KINDS)
    assert all(row["n"] == 2 and 0 <= row["auc"] <= 1 for row in stored)
    assert (tmp_path / "anomaly-roc.png").exists()
    assert (tmp_path / "anomaly-example.png").exists()


def test_a_video_gets_a_score_a_frame(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    given = ["--driving", str(folder / "a.mp4"), "--backbone", "lite", "--anomaly"]
    assert animate([*given, str(output)]) == 0
    lines = list(csv.DictReader(output.read_text().splitlines()))
    assert [line["frame"] for line in lines] == [str(n) for n in range(60)]
    assert all(float(line["score"]) >= 0 and line["anomalous"] in "01" for line in lines)
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", [[], ["--anomaly", "a.txt"], ["--anomaly", "/nowhere/a.csv"]])
def test_a_wrong_request_is_one_sentence(
    folder: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert animate(["--driving", str(folder / "a.mp4"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_one_frame_is_no_video_to_be_surprised_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mp4(tmp_path / "one.mp4", [np.zeros((64, 64, 3), np.uint8)])
    given = [
        "--driving",
        str(tmp_path / "one.mp4"),
        "--backbone",
        "lite",
        "--anomaly",
        str(tmp_path / "a.csv"),
    ]
    assert animate(given) == 2
    assert "only one frame" in capsys.readouterr().err
