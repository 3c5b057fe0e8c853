"""Rate-distortion: what is sent and counted, what the rows say, and the command on a tiny clip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.__main__ import main
from bench.harness.clip_set import Clip, ClipError, find_clips, one_of_each
from bench.harness.footage import Footage, film
from bench.harness.ledger import Ledger
from bench.harness.media import write_mp4
from bench.harness.metrics import mae
from bench.rd import rd_calls
from bench.rd.codecs import CODECS, Coded, VideoCodec, wire_bytes
from bench.rd.rd_calls import Sent, send_coded
from bench.rd.rd_chart import chart
from bench.rd.rd_command import LEDGER
from bench.rd.rd_measure import STATIC, Plan, Point, measure, rates
from bench.rd.rd_ours import SimulatedCall
from bench.rd.rd_report import deltas, rivals, rows_of, summarise, tables, verdicts
from models.build import load_backbone, load_tables
from models.lite.layout import LAYOUT
from sender.demo import pose_at
from sender.gallery import GalleryOptions
from sender.presets import Sending
from shared.constants import Schedule
from shared.errors import RequestError
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from shared.portrait.portrait import Portrait
from tests.kept import Kept

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)

ONE = GalleryOptions(1)


class Still:
    """Keypoints that never move, and the source picture whatever they are."""

    name = "still"
    fingerprint = detector = "f"
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def detect(self, pictures: Pictures) -> Floats:
        return np.zeros((len(pictures), 60), np.float32)

    def encode(self, picture: Pictures) -> Kept:
        return Kept(np.zeros(60, np.float32), picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        assert isinstance(source, Kept)
        return np.broadcast_to(source.picture, (len(keypoints), 256, 256, 3))

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass


class Level:
    """A call whose pictures are the true ones but `quality` levels darker, and whose bytes are known."""

    name = "level"
    fingerprint = "l"
    layout = LAYOUT
    size = 256
    sizes = (256,)
    qualities: Sequence[float] = (4.0, 16.0)

    def __init__(self) -> None:
        self.sent = 0

    def send(self, footage: Footage, quality: float) -> Sent:
        self.sent += 1
        pictures = [np.maximum(footage.frames[i], int(quality)) - int(quality) for i in footage.shown]
        up = round(4000 / quality)
        return Sent([p.astype(np.uint8) for p in pictures], up // 2, up, up // 4, up // 8, up // 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 6 frames of two people at 10 a second, and a broken one."""
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    for name, start in (("ann", 0.0), ("bob", 3.0)):
        write_mp4(place / f"{name}.mp4", [portrait.draw(pose_at(start + n / 8)) for n in range(6)], fps=10)
    (place / "broken.mp4").write_bytes(b"no video")
    return place


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip(folder / "ann.mp4", "ann")


@pytest.fixture
def x264() -> VideoCodec:
    if problem := CODECS[0].missing():
        pytest.skip(problem)
    return CODECS[0]


def test_footage_is_what_a_call_shows(clip: Clip, folder: Path) -> None:
    whole = film(clip, 60)
    assert len(whole.frames) == 6
    assert list(whole.shown) == [n // 3 for n in range(18)]
    assert (whole.seconds, whole.fps) == (pytest.approx(0.6), pytest.approx(10))
    short = film(clip, 0.4)
    assert (len(short.frames), len(short.shown)) == (4, 12)
    with pytest.raises(ClipError, match="fewer than two frames"):
        film(clip, 0.1)
    with pytest.raises(ClipError, match="not a readable video"):
        film(Clip(folder / "broken.mp4", "x"), 1)


def test_a_codec_gets_the_clips_own_frames_and_holds_those_left_out(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float, float]] = []

    def code(_: VideoCodec, frames: Sequence[Pictures], fps: float, kbps: float) -> Coded:
        asked.append((len(frames), fps, kbps))
        return Coded((1200, *[10] * (len(frames) - 1)), np.stack(frames))

    monkeypatch.setattr(rd_calls, "code", code)
    footage = film(clip, 60)
    whole, half = (send_coded(CODECS[0], footage, 20, every) for every in (1, 2))
    assert asked == [(6, pytest.approx(10), 20), (3, pytest.approx(5), 20)]
    assert all(mae(p, footage.frames[n // 3]) == 0 for n, p in enumerate(whole.pictures))
    assert all(mae(p, footage.frames[n // 6 * 2]) == 0 for n, p in enumerate(half.pictures))
    assert (half.payload, half.wire_up, half.wire_down) == (1220, wire_bytes((1200, 10, 10)), 0)
    assert (half.first_payload, half.first_wire) == (1200, 1300)


def test_rates_count_the_first_picture_whole_or_once_in_a_minute() -> None:
    kbps, wire, call, up, down = rates(Sent((), 1000, 2000, 500, 400, 600), 2.0)
    assert (kbps, wire, up, down) == (4, 10, 8, 2)
    assert call == pytest.approx(1900 * 8 / 2 / 1000 + 600 * 8 / 60 / 1000)


def test_the_papers_call_costs_what_its_messages_cost(clip: Clip) -> None:
    footage = film(clip, 60)
    half, whole = (
        SimulatedCall(Still(), None, Sending("paper", schedule=schedule), ONE, [4]).send(footage, 0)
        for schedule in (Schedule(6, 6), Schedule(6, 0))
    )
    # 18 frames: 12 of them at 6-6, in 4 messages; all of them in 6.
    assert half.payload - half.first_payload == 12 * 240
    assert whole.payload - whole.first_payload == 18 * 240
    # Two messages more, each with some fifty bytes around it; the receiver's reports are the same.
    assert 2 * (3 * 240 + 46) < whole.wire_up - half.wire_up < 2 * (3 * 240 + 89)
    assert 0 < whole.wire_down == half.wire_down < 0.6 * 500
    pieces = -(-half.first_payload // 1024)
    assert half.first_payload < half.first_wire < half.first_payload + pieces * 2 * 93
    assert len(half.pictures) == len(footage.shown)
    assert mae(half.pictures[-1], footage.frames[0]) < 0.02


def test_a_coarser_quality_is_fewer_bytes_and_another_name_other_settings(clip: Clip) -> None:
    backbone = load_backbone("lite", None, "cpu")
    tables = load_tables(backbone, None)
    call = SimulatedCall(backbone, tables, Sending(preset="saver"), ONE, [2, 10])
    assert (call.name, list(call.qualities)) == ("lite saver adaptive", [2, 10])
    footage = film(clip, 0.4)
    fine, coarse = (call.send(footage, quality) for quality in call.qualities)
    assert coarse.payload < fine.payload
    assert coarse.first_payload == fine.first_payload
    steady = SimulatedCall(backbone, tables, Sending(preset="saver", policy="alternate"), ONE, [2])
    assert steady.name == "lite saver 6-6"
    assert steady.fingerprint != call.fingerprint
    with pytest.raises(RequestError, match="quality must be 0"):
        SimulatedCall(backbone, tables, Sending(preset="saver"), ONE, [16])


def test_a_clips_points_are_measured_once_and_kept(clip: Clip, x264: VideoCodec, tmp_path: Path) -> None:
    ours = Level()
    plan = Plan(ours, [x264], [20.0, 60.0], [1, 2], 60, 4, None)
    path = tmp_path / LEDGER
    points = list(measure(plan, clip, Ledger(path, {}, Point)))
    assert [(p.method, p.quality, p.every) for p in points] == [
        (STATIC, 0, 1), ("level", 4, 1), ("level", 16, 1),
        ("x264", 20, 1), ("x264", 60, 1), ("x264", 20, 2), ("x264", 60, 2),
    ]  # fmt: skip
    still, four = points[0], points[1]
    assert 0 < still.mae == still.static_mae == points[-1].static_mae
    assert four.mae == pytest.approx(4 / 255, rel=0.02)
    assert four.wire_kbps == pytest.approx(1250 * 8 / 0.6 / 1000)
    assert points[3].coded_fps == pytest.approx(10)
    assert points[5].coded_fps == pytest.approx(5)
    assert all(p.ssim > still.ssim for p in points[3:5])
    again = list(measure(plan, clip, Ledger(path, {}, Point)))
    assert ours.sent == 2
    assert [(p.place, p.mae, p.wire_kbps) for p in again] == [(p.place, p.mae, p.wire_kbps) for p in points]
    # Other weights are other points; the codec's stay.
    ours.fingerprint = "m"
    list(measure(plan, clip, Ledger(path, {}, Point)))
    assert ours.sent == 4
    assert len(path.read_text().splitlines()) == 1 + 7 + 2


def point(method: str, kbps: float, bad: float, person: str = "ann", every: int = 1) -> Point:
    return Point(
        f"{person}.mp4", method, person, "c", kbps, every, "", 30.0, 6.0, kbps / 2, kbps, kbps, kbps, 0.0,
        bad / 10, 1 - bad, bad, 0.08, 0.5, 0.8,
    )  # fmt: skip


OURS = [point("us", 4, 0.5), point("us", 8, 0.4)]
STRONG = [point("strong", r, b) for r, b in ((10, 0.6), (20, 0.35), (40, 0.1))]
WEAK = [point("weak", r, b) for r, b in ((30, 0.9), (60, 0.7))]


def test_people_count_alike() -> None:
    clips = [[point("us", 4, 0.2)], [point("us", 8, 0.4)], [point("us", 5, 0.9, "bob")]]
    clips = [[replace(p, quality=1.0) for p in one] for one in clips]
    (row,) = summarise(clips, "us").rows
    assert (row["method"], row["person"], row["quality"]) == ("us", "all", 1)
    assert row["perceptual"] == pytest.approx((0.3 + 0.9) / 2)
    assert row["wire_kbps"] == pytest.approx((6 + 5) / 2)


def test_a_still_picture_has_no_rate() -> None:
    (row,) = rows_of([[point(STATIC, 0, 0.8)]])
    assert (row["kbps"], row["wire_kbps"], row["quality"], row["perceptual"]) == (None, None, None, 0.8)
    assert {"method", "person", "clip", "kbps", "mae", "ssim", "perceptual", "static_mae",
            "static_perceptual", "quality", "wire_kbps"} <= set(row)  # fmt: skip


def test_rivals_stand_at_three_times_our_rate_or_as_low_as_they_go() -> None:
    found = rivals(summarise([[*OURS, *STRONG, *WEAK]], "us"), "call_kbps")
    lines = {(row["our_quality"], row["codec"]): row for row in found}
    assert len(lines) == 4
    assert len(found) == 8  # beside the clip's own frame rate and any part of it; here they are the same
    cheap = lines[4, "strong"]
    assert (cheap["limit_kbps"], cheap["codec_at_kbps"]) == (12, 12)
    assert 0.35 < float(str(cheap["codec_perceptual"])) < 0.6
    # Weak cannot go below 30: it is shown there.
    assert (lines[8, "weak"]["codec_at_kbps"], lines[8, "weak"]["codec_perceptual"]) == (30, 0.9)
    assert lines[8, "weak"]["better"] == "perceptual ours, mae ours, ssim ours"
    assert "perceptual strong" in str(lines[8, "strong"]["better"])


def test_the_verdict_says_who_wins_where() -> None:
    said = verdicts(summarise([[*OURS, *STRONG, *WEAK]], "us"))
    assert "missed; ours 0.400 at 8.0 kbps; strong 0.2" in said[0]
    assert "weak 0.900 at 30.0" in said[0]
    perceptual = [line for line in said if line.startswith("SqueezeNet")]
    assert "strong wins from 17." in perceptual[0]
    assert perceptual[0].endswith("2.2 times our rate, upwards; below that we win")
    assert "weak never reaches it, up to 60.0 kbps" in perceptual[1]
    assert "reached" in verdicts(summarise([[*OURS, *WEAK]], "us"))[0]
    dear = [point("us", 30, 0.95)]
    lost = verdicts(summarise([[*dear, *WEAK]], "us"))
    assert "missed" in lost[0]
    assert "weak beats it even at the lowest rate measured, 30.0 kbps, 1.0 times our rate" in lost[4]


def test_a_codec_at_part_of_the_frame_rate_is_told_apart() -> None:
    slower = point("weak", 12, 0.1, every=3)
    study = summarise([[*OURS, *WEAK, slower]], "us")
    found = {row["frame_rate"]: row["codec_perceptual"] for row in rivals(study, "call_kbps")[-2:]}
    assert found == {"own": 0.9, "any": 0.1}
    own, _, part, _ = verdicts(study)[:4]
    assert "own frame rate" in own
    assert "reached" in own
    assert "any part of it" in part
    assert "missed" in part


def test_the_delta_is_told_where_curves_overlap() -> None:
    double = [replace(p, method="double", quality=9, call_kbps=2 * p.call_kbps) for p in OURS]
    found = deltas(summarise([[*OURS, *[replace(p, quality=i) for i, p in enumerate(double)], *WEAK]], "us"))
    by = {(row["codec"], row["measure"]): row for row in found}
    assert by["double", "perceptual"]["bd_rate_percent"] == pytest.approx(-50)
    assert by["double", "ssim"]["bd_rate_percent"] == pytest.approx(-50)
    assert (by["double", "ssim"]["overlap_low"], by["double", "ssim"]["overlap_high"]) == (0.5, 0.6)
    assert by["weak", "mae"]["verdict"] == "no overlap: all pictures of ours are better"
    assert by["weak", "mae"].get("bd_rate_percent") is None


def test_without_our_call_there_are_points_alone() -> None:
    study = summarise([[*STRONG, point(STATIC, 0, 0.8)]], None)
    assert len(tables(study)) == 1
    assert len(verdicts(study)) == 1
    assert chart(study).startswith(b"\x89PNG")


def test_one_clip_of_each_person(folder: Path) -> None:
    clips, _ = find_clips([folder])
    twice = [*clips, *(replace(clip, file=Path("other.mp4")) for clip in clips)]
    assert one_of_each(twice, 0) == twice
    assert one_of_each(twice, 2) == [clips[0], clips[-1]]
    assert one_of_each(twice, 9) == clips


GIVEN = "quality --device cpu --backbone lite --threads 1 --rd --frames 2 --every 1 --qualities 4"


def test_the_command_leaves_tables_and_a_plot_and_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    x264: VideoCodec,
) -> None:  # fmt: skip
    gone = replace(CODECS[1], encoder="libnothing")
    monkeypatch.setattr("bench.rd.rd_command.CODECS", (x264, gone))
    out = tmp_path / "out"
    given = [*GIVEN.split(), "--clips", str(folder), "--codecs", "x264,x265", "--targets", "30,90"]
    given += ["--report", str(out), "--json", str(tmp_path / "rd.json")]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "x265 was left out: the installed PyAV" in said
    assert "aim (" not in said  # no perceptual network was given ...
    assert "the perceptual distance was not measured" in said
    stored = json.loads((tmp_path / "rd.json").read_text())
    assert stored["meta"]["measured"] == 2
    assert stored["meta"]["skipped"] == 1
    methods = {(row["method"], row["person"]) for row in stored["rows"]}
    assert methods == {
        (m, p) for m in ("static", "lite saver adaptive", "x264") for p in ("ann", "bob", "all")
    }
    coded = [row for row in stored["rows"] if row["method"] == "x264"]
    assert all(row["wire_kbps"] > row["kbps"] > 0 and 0 < row["mae"] < row["static_mae"] for row in coded)
    assert {path.name for path in out.iterdir()} == {LEDGER, "rd.json", "rd.md", "rd.png"}
    assert (out / "rd.png").read_bytes().startswith(b"\x89PNG")
    # Nothing is measured again; a target more is measured alone.
    lines = (out / LEDGER).read_text().splitlines()
    assert main([*given[: given.index("--targets")], "--targets", "30,60,90", "--report", str(out)]) == 0
    assert (out / LEDGER).read_text().splitlines()[: len(lines)] == lines
    assert len((out / LEDGER).read_text().splitlines()) == len(lines) + 2


@pytest.mark.parametrize(("change", "words"), [
    ("--codecs theora", "no codec 'theora'; choose from x264"),
    ("--targets 5,much", "--targets '5,much' is not a comma-separated list of numbers"),
    ("--targets 0", "from 1 to 10000"),
    ("--every 0", "--every '0'"),
    ("--qualities 16", "--qualities '16'"),
    ("--seconds nan", "not nan"),
    ("--seconds 0.1", "from 0.2 to 60"),
    ("--people -1", "--people 0 (all)"),
    ("--codecs , --codecs-only", "nothing to measure"),
    ("--transfer", "--rd cannot be combined with --transfer"),
])  # fmt: skip
def test_a_wrong_request_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    assert main([*GIVEN.split(), "--clips", str(folder), *change.split()]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert words in said[0]
