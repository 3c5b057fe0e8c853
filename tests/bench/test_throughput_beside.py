"""Columns next to the times of `bench throughput`: the paper's arithmetic, and errors over clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.harness.clip_set import find_clips
from bench.harness.media import write_mp4
from bench.harness.metrics import tops
from bench.throughput import published_subjects, subjects
from bench.throughput.accuracy import Accuracy, fitting
from bench.throughput.paper import beside_the_paper, differences, published_rows, rate
from bench.throughput.published_subjects import nth_subjects, tps_subjects
from bench.throughput.subject import Subject
from models import checkpoint
from models.build import load_backbone
from models.forecast.config import PRESETS, build_network, describe
from models.lite.backbone import LiteBackbone
from models.nth.config import VOX_256 as NTH_256
from models.nth.model import save_nth
from models.nth.plain import untrained_nth
from models.tps.config import VOX_256 as TPS_256
from models.tps.plain import untrained_tps
from sender.demo import pose_at
from shared.portrait.portrait import Portrait
from tests.tiny_lite import untrained
from tests.tiny_published import NTH, TPS

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
SMALL_TPS, SMALL_NTH = replace(TPS, image_size=128), replace(NTH, image_size=128)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 13 frames of two people."""
    place, portrait = tmp_path_factory.mktemp("clips"), Portrait()
    for name, start in (("a", 0.0), ("b", 3.0)):
        write_mp4(place / f"{name}.mp4", [portrait.draw(pose_at(start + n / 12)) for n in range(13)])
    return place


def test_the_papers_rows_tell_what_its_networks_take_on_the_line() -> None:
    rows = {row["backbone"]: row for row in published_rows()}
    assert [rows[name]["payload_kbps"] for name in ("fomm", "tps", "nth")] == [28.8, 48.0, 24.48]
    assert [rows[name]["numbers"] for name in ("fomm", "tps", "nth")] == [60, 100, 51]
    # As the row of the other two is.
    assert (rows["tps"]["tops_render"], rows["nth"]["tops_render"]) == (6.3617, 9.8067)


def test_the_published_passes_cost_what_the_paper_counted() -> None:
    """Counted at half size, where convolutions are a quarter of the work."""
    tps = untrained_tps(0, replace(TPS_256, image_size=128))
    detect, render = published_subjects._tps_published(tps)
    assert tops(4 * detect / 2) == pytest.approx(0.0592, rel=0.01)
    assert tops(4 * render) == pytest.approx(6.753, rel=0.01)
    assert tops(4 * published_subjects._tps_inpainting(tps)) == pytest.approx(6.3617, rel=0.01)
    nth = untrained_nth(0, replace(NTH_256, image_size=128))
    detect, render = published_subjects._nth_published(nth)
    assert tops(4 * detect / 2) == pytest.approx(0.1958, rel=0.01)
    assert tops(4 * render) == pytest.approx(9.8067, rel=0.01)


SubjectsOf = Callable[[], Iterator[Subject]]
TINY: dict[str, SubjectsOf] = {
    "tps": lambda: tps_subjects(untrained_tps(0, SMALL_TPS), "cpu", 36, trained=False),
    "nth": lambda: nth_subjects(untrained_nth(0, SMALL_NTH), "cpu", 36, trained=False),
    "spade": lambda: nth_subjects(untrained_nth(0, replace(SMALL_NTH, spade=True)), "cpu", 36, trained=False),
}


@pytest.mark.parametrize("name", TINY)
def test_they_are_measured_as_published_and_as_they_serve(name: str) -> None:
    plain, fast = TINY[name]()
    assert (plain.engine, fast.engine) == ("plain", "torch")
    assert not plain.trained
    # Encoding the source once is what a served frame saves.
    assert fast.macs_render < plain.macs_render
    row = {"tops_detect": 0.05, "tops_render": 20.0}
    compared = {**row, **beside_the_paper(plain.backbone, row)}
    said = differences(plain, compared)
    reason = {
        "tps": "leave the dense motion network out",
        "spade": "counted the original generator",
        "nth": "",
    }
    assert reason[name] in said[f"{plain.backbone}_tops_render"]
    assert ("; " in said[f"{plain.backbone}_tops_render"]) == (name != "nth")
    assert set(said) == {f"{plain.backbone}_tops_detect", f"{plain.backbone}_tops_render"}


@pytest.fixture(scope="module")
def lite() -> Subject:
    return Subject(
        "lite", "torch", "float32", LiteBackbone.of(untrained()), 0, 0, 0, True, frames=6, latency_frames=1
    )  # fmt: skip


def test_what_agrees_with_the_paper_needs_no_words(lite: Subject) -> None:
    row = {"tops_detect": 0.1960, "tops_render": 9.80}
    compared = {**row, **beside_the_paper("nth", row)}
    assert compared["tops_detect_to_paper"] == pytest.approx(1.00102, abs=1e-5)
    assert differences(replace(lite, backbone="nth"), compared) == {}
    assert beside_the_paper("lite", row) == {}


def test_trained_networks_are_judged_over_clips(lite: Subject, clips: Path) -> None:
    row, said = Accuracy(find_clips([clips])[0], 1, None).of(lite, "hold", [])
    assert 0 < float(row["mae"] or 0) < 1
    assert np.isnan(float(row["jedi"] or 0))
    assert (row["windows"], said) == (2, {})


def test_random_weights_are_not_judged_and_it_is_said(lite: Subject) -> None:
    accuracy, random = Accuracy([], 1, None), replace(lite, trained=False)
    assert accuracy.of(random, "hold", []) == (
        {}, {"lite_mae": "lite has no MAE and no JEDi: its weights are random"}
    )  # fmt: skip
    # The shipped one was trained on another detector's keypoints.
    _, said = accuracy.of(lite, "vrnn", [])
    assert said == {"lite_mae": "lite has no MAE and no JEDi: no vrnn was trained on its keypoints"}
    assert accuracy.of(replace(lite, engine="plain"), "hold", []) == ({}, {})


def test_a_networks_own_forecaster_is_found_under_its_folder(tmp_path: Path) -> None:
    save_nth(tmp_path / "nth", untrained_nth(0, SMALL_NTH))
    backbone = load_backbone(None, tmp_path / "nth", "cpu")
    config = PRESETS["vrnn"]["call"]
    network = build_network(config, 51)
    folder = tmp_path / "runs" / "vrnn" / "weights"
    assert fitting("vrnn", [tmp_path], backbone) is None
    checkpoint.save(folder, network.state_dict(), describe("vrnn", config, backbone.detector))
    assert fitting("vrnn", [tmp_path, tmp_path / "runs"], backbone) == folder
    ahead = subjects.forecasting("vrnn", "cpu", 0, 51, folder)
    assert ahead.trained
    frames = backbone.detect(np.zeros((2, 128, 128, 3), np.uint8))
    ahead.forecaster.observe(frames)
    assert ahead.forecaster.forecast(6).shape == (6, 51)
    assert rate(51)["payload_kbps"] == 24.48
