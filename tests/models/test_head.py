"""The head finder: what the network says becomes places in a frame; the shipped one knows people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint, stored
from models.build import SHIPPED, load_head_finder
from models.head.finder import MODEL, NetworkHeadFinder, peaks, shrunken
from models.head.network import STRIDE, UNIT, HeadConfig, HeadNetwork
from models.head.numpy_layers import HeadLayers
from models.stored import Weights
from sender.demo import pose_at
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.heads import HeadFinder
from shared.portrait.portrait import Portrait


@pytest.fixture(scope="module")
def find() -> HeadFinder:
    return load_head_finder()


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


def room(width: int, height: int, seed: int = 0) -> Pictures:
    """Return a wall with a slope of light and some boxes."""
    random = np.random.default_rng(seed)
    slope = np.linspace(90, 170, width)[None, :, None] + np.linspace(-30, 30, height)[:, None, None]
    wall = np.broadcast_to(slope, (height, width, 3)).copy() + random.normal(0, 20, 3)
    for _ in range(6):
        x, y = int(random.uniform(0, width)), int(random.uniform(0, height))
        wall[y : y + height // 4, x : x + width // 8] = random.uniform(20, 230, 3)
    return np.clip(wall, 0, 255).astype(np.uint8)


def test_is_as_small_as_it_says() -> None:
    pytest.importorskip("fvcore", reason="counting needs the bench extra")
    from bench.harness.metrics import operations

    network = HeadNetwork().eval()
    assert sum(p.numel() for p in network.parameters()) < 60_000
    assert operations(network, network, torch.zeros(1, 3, 72, 128)) < 8e6
    assert (SHIPPED / "head" / "model.safetensors").stat().st_size < 300_000


@pytest.mark.parametrize(("height", "width"), [(72, 128), (128, 128), (8, 128), (128, 40)])
def test_one_cell_for_eight_by_eight_pixels(height: int, width: int) -> None:
    cells = HeadNetwork().eval()(torch.zeros(2, 3, height, width))
    assert cells.shape == (2, 4, height // STRIDE, width // STRIDE)


@pytest.mark.parametrize(("height", "width"), [(72, 128), (128, 128), (8, 128), (128, 40)])
def test_numpy_computes_what_torch_does(height: int, width: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = HeadNetwork(HeadConfig((4, 6, 8, 10), 128)).eval()
    for key, value in network.state_dict().items():
        if key.endswith(("running_mean", "running_var")) or ".1.weight" in key:
            value.uniform_(0.5, 1.5)
    checkpoint.save(tmp_path, network.state_dict(), {"model": MODEL, **network.config.to_map()})
    layers = HeadLayers(network.config, Weights(MODEL, stored.read(tmp_path).arrays))
    picture = torch.rand(height, width, 3)
    with torch.no_grad():
        expected = network(picture.permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(layers(picture.numpy()), expected, atol=1e-4)


def test_peaks_are_read_at_their_places() -> None:
    cells = torch.zeros(1, 4, 9, 16)
    cells[:, 0] = -9
    cells[0, :, 3, 5] = torch.tensor([2.0, 0.25, -0.5, float(np.log(2.0))])
    cells[0, :, 3, 6] = torch.tensor([1.0, -0.75, -0.5, float(np.log(2.0))])  # the same face, less sure
    cells[0, :, 8, 15] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    cells[0, :, 6, 1] = torch.tensor([-0.6, 0.0, 0.0, 0.0])  # not sure enough
    ((first, second),) = peaks(cells)
    assert first[:3] == pytest.approx((5.75 * STRIDE, 3.0 * STRIDE, 2 * UNIT))
    assert second[:3] == pytest.approx((15.5 * STRIDE, 8.5 * STRIDE, UNIT))
    assert first[3] > second[3] > 0.4


def test_two_peaks_of_one_face_count_once() -> None:
    cells = torch.zeros(1, 4, 9, 16)
    cells[:, 0] = -9
    for column, logit in ((5, 2.0), (7, 1.0)):
        cells[0, :, 3, column] = torch.tensor([logit, 0.0, 0.0, float(np.log(4.0))])
    assert len(peaks(cells)[0]) == 1


def test_wild_numbers_stay_in_bounds() -> None:
    cells = torch.full((1, 4, 9, 16), 1e9)
    assert all(np.isfinite(found).all() for found in peaks(cells)[0])
    assert peaks(torch.full((1, 4, 9, 16), float("nan"))) == [[]]


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (640, 480), (721, 1283), (64, 40), (8000, 10), (1, 1)]
)
def test_frames_of_any_size_are_shrunken(width: int, height: int) -> None:
    small, scale = shrunken(np.zeros((height, width, 3), np.uint8), 128)
    assert scale * max(width, height) == pytest.approx(128)
    assert max(small.shape[:2]) == 128
    assert small.shape[0] % STRIDE == small.shape[1] % STRIDE == 0


@pytest.mark.slow
def test_finds_the_drawn_portrait(find: HeadFinder, portrait: Portrait) -> None:
    for seconds in (0.0, 1.5, 3.0, 4.5):
        heads = find(portrait.draw(pose_at(seconds)))
        assert len(heads) == 1
        assert (heads[0].x, heads[0].y) == pytest.approx((128, 120), abs=30)
        assert 80 < heads[0].size < 150


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (720, 1280), (501, 333)])
def test_finds_the_portrait_small_and_off_the_middle(
    find: HeadFinder, portrait: Portrait, width: int, height: int
) -> None:
    picture = room(width, height)
    left, top = width // 8, height - 256
    picture[top:, left : left + 256] = portrait.draw(pose_at(0.0))
    heads = find(picture)
    assert (heads[0].x - left, heads[0].y - top) == pytest.approx((130, 120), abs=25)
    assert 80 < heads[0].size < 150


def test_a_room_holds_no_head(find: HeadFinder) -> None:
    assert sum(bool(find(room(640, 480, seed))) for seed in range(20)) <= 1
    assert find(np.zeros((720, 1280, 3), np.uint8)) == []


@pytest.mark.slow
def test_finds_people_it_was_not_trained_on(find: HeadFinder, other_people: Path) -> None:
    from bench.harness.clip_set import find_clips, frames, one_of_each

    found = 0
    clips = one_of_each(find_clips([other_people])[0], 12)
    for clip in clips:
        picture = room(1280, 720)
        picture[300:556, 700:956] = next(frames(clip))
        found += any(abs(h.x - 828) < 60 and abs(h.y - 425) < 60 for h in find(picture))
    assert found >= len(clips) - 1


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    network = HeadNetwork()
    checkpoint.save(tmp_path, network.state_dict(), {"model": MODEL, **network.config.to_map()})
    NetworkHeadFinder.load(tmp_path)
    config = tmp_path / "config.json"
    good = json.loads(config.read_text())
    for change in (
        {"side": 100},
        {"side": True},
        {"channels": [16, 32]},
        {"channels": [16, 32, 64, 1e3]},
        {"x": 1},
    ):
        config.write_text(json.dumps(good | change))
        with pytest.raises(RequestError, match="train it again"):
            NetworkHeadFinder.load(tmp_path)
    config.write_text(json.dumps(good | {"channels": [16, 32, 64, 80]}))
    with pytest.raises(RequestError, match="do not fit"):
        NetworkHeadFinder.load(tmp_path)


def test_config_travels() -> None:
    config = HeadConfig((8, 16, 24, 32), 64)
    assert HeadConfig.from_map(config.to_map()) == config
