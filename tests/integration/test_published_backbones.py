"""The paper's two other backbones, in small, behind the same facade and commands as the rest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from animate import animate_command as animate
from animate.animate_arguments import parser as animate_parser
from animate.animation import Job
from animate.animation import animate as animated
from models.build import load_backbone, load_tables
from models.facade import EngineBackbone
from models.graphs import recorded
from models.nth import backbone as nth_backbone
from models.nth.layout import turned
from models.nth.model import save_nth
from models.nth.plain import untrained_nth
from models.torch_engine import TorchEngine
from models.tps import backbone as tps_backbone
from models.tps.model import save_tps
from models.tps.plain import untrained_tps
from sender.demo import DemoSource
from sender.presets import Sending, make_codec
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.constants import FPS, Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Pictures
from tests.models.test_graphs import record
from tests.tiny_published import NTH, TPS

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
NUMBERS = {"tps": 100, "nth": 51}
KBPS = {"tps": 48.0, "nth": 24.48}


@dataclass(frozen=True)
class Loaded:
    backbone: Backbone
    folder: Path


@pytest.fixture(scope="module", params=NUMBERS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "tps":
        save_tps(folder, untrained_tps(0, TPS))
    else:
        save_nth(folder, untrained_nth(0, NTH))
    return Loaded(load_backbone(None, folder, "cpu"), folder)


@pytest.fixture(scope="module")
def frames() -> Pictures:
    source = DemoSource(3 / FPS)
    found = [frame for n in range(3) if (frame := source.frame(n)) is not None]
    source.close()
    return np.stack(found)


def test_a_folder_says_whose_weights_it_holds(loaded: Loaded) -> None:
    name = loaded.backbone.name
    assert loaded.backbone.layout.dimensions == NUMBERS[name]
    assert load_tables(loaded.backbone, loaded.folder) is None
    with pytest.raises(RequestError, match=f"The {name} backbone needs --checkpoint"):
        load_backbone(name, None, "cpu")


def test_frames_are_drawn_from_a_source_and_its_numbers(loaded: Loaded, frames: Pictures) -> None:
    backbone = loaded.backbone
    frames, source = frames[:2], backbone.encode(frames[0])
    keypoints = backbone.detect(frames)
    np.testing.assert_allclose(source.keypoints, keypoints[0], rtol=0, atol=2e-3)
    drawn = backbone.render(source, keypoints)
    assert drawn.shape == frames.shape
    assert drawn.std() > 1
    # Motion since a frame, carried over to that very frame, is that frame's motion.
    moved = backbone.transfer(source, source.keypoints)(keypoints)
    again = backbone.render(source, moved)
    assert np.abs(again.astype(int) - drawn).max() <= 2


def test_sizes_of_faces_are_measured_once_and_not_for_every_frame(
    loaded: Loaded, frames: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, sizes = loaded.backbone, []
    module, name = {"tps": (tps_backbone, "area"), "nth": (nth_backbone, "volume")}[backbone.name]
    measure = getattr(module, name)
    monkeypatch.setattr(module, name, lambda points: sizes.append(measure(points)) or sizes[-1])
    source, keypoints = backbone.encode(frames[0]), backbone.detect(frames)
    transfer = backbone.transfer(source, keypoints[1], adapt_scale=True)
    assert len(sizes) == 2
    together = transfer(keypoints)
    for row, moved in zip(keypoints, together, strict=True):
        np.testing.assert_allclose(transfer(row[None])[0], moved, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together[1], source.keypoints, rtol=0, atol=1e-5)
    assert len(sizes) == 2


def test_single_frames_can_be_recorded_passes(
    loaded: Loaded, frames: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU does them, by a recording that a machine without one can replay."""
    monkeypatch.setattr(
        "models.torch_engine.recorded", lambda f, kept, varying: recorded(f, kept, varying, record)
    )
    backbone = loaded.backbone
    assert isinstance(backbone, EngineBackbone)
    engine = backbone._engine
    assert isinstance(engine, TorchEngine)
    # All of it is put back for the other tests.
    for name, value in (("_may_record", True), ("_detection", None), ("_drawing", None), ("_kept", None)):
        monkeypatch.setattr(engine, name, value)
    drawn_alike(backbone, frames[:2])
    assert engine._drawing is not None
    assert engine._detection is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_replays_what_it_would_compute(
    loaded: Loaded, frames: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = load_backbone(None, loaded.folder, "cuda")
    assert backbone.precision == "float16"
    drawn_alike(backbone, frames[:2])
    assert not caplog.messages


def drawn_alike(backbone: Backbone, frames: Pictures) -> None:
    """Check that frames look alike one by one and together, from two sources in turn."""
    keypoints = backbone.detect(frames)
    np.testing.assert_allclose(backbone.detect(frames[:1])[0], keypoints[0], rtol=0, atol=2e-3)
    sources = [backbone.encode(picture) for picture in frames]
    batches = [backbone.render(source, keypoints).astype(int) for source in sources]
    for which, n in ((0, 0), (1, 1), (0, 1)):
        alone = backbone.render(sources[which], keypoints[n : n + 1])[0]
        assert np.abs(alone - batches[which][n]).max() <= 2


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_hostile_numbers_never_crash_the_renderer(loaded: Loaded, frames: Pictures, value: float) -> None:
    backbone = loaded.backbone
    hostile = np.full((1, backbone.layout.dimensions), value, np.float32)
    assert backbone.render(backbone.encode(frames[0]), hostile).shape == (1, 256, 256, 3)


def test_raw_numbers_take_the_papers_rate(loaded: Loaded, frames: Pictures) -> None:
    backbone, schedule = loaded.backbone, Schedule(6, 6)
    codec = PaperCodec(backbone.layout.dimensions)
    keypoints = backbone.detect(frames)
    payload = codec.encode(Block(keypoints))
    np.testing.assert_array_equal(codec.decode(payload, len(frames)).frames, keypoints)
    bits = 8 * len(payload) / len(frames)
    assert bits * FPS * schedule.duty / 1000 == pytest.approx(KBPS[backbone.name], rel=1e-12)


@pytest.mark.parametrize("preset", ["saver", "balanced"])
def test_coded_presets_ask_for_tables(loaded: Loaded, preset: str) -> None:
    with pytest.raises(RequestError, match=r"make them with python -m models\.training codec"):
        make_codec(Sending(preset), None, loaded.backbone.layout)


def test_a_head_can_be_turned(loaded: Loaded, frames: Pictures) -> None:
    if loaded.backbone.name == "nth":
        pictures = [
            next(animated(Job(loaded.backbone, "reconstruction", turn=turn), frames[0], iter(frames[1:2])))
            for turn in (None, lambda points: turned(points, yaw=25))
        ]
        assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 2
    else:
        arguments = ["--driving", "demo", "--output", "x.npy", "--yaw", "10"]
        given = animate_parser().parse_args(arguments)
        with pytest.raises(RequestError, match="does not estimate head pose"):
            animate._turn(given, loaded.backbone)
