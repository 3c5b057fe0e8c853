"""Pictures larger than the network's: sharper, alike from both engines, and no danger to a call."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from models.build import SHIPPED, one_thread
from models.lite.backbone import LiteBackbone
from shared.constants import SIZES
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled
from shared.portrait.portrait import Portrait
from shared.portrait.talking import pose_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine"),
]
LARGE = SIZES[-1]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def person() -> Pictures:
    """Two moments of a drawn person, 512 pixels large."""
    portrait = Portrait(size=LARGE)
    return np.stack([portrait.draw(pose_at(0.0)), portrait.draw(pose_at(1.4))])


@pytest.fixture(scope="module")
def fast() -> LiteBackbone:
    return LiteBackbone.load(SHIPPED / "lite", precision="float32", engine="openvino")


@pytest.fixture(scope="module")
def plain() -> LiteBackbone:
    return LiteBackbone.load(SHIPPED / "lite", precision="float32", engine="torch")


def small(pictures: Pictures) -> Pictures:
    return np.stack([scaled(picture, 256) for picture in pictures])


def moved(backbone: LiteBackbone, person: Pictures) -> Floats:
    return backbone.detect(small(person))


@pytest.mark.parametrize("side", SIZES[1:])
def test_both_engines_draw_them_alike(
    fast: LiteBackbone, plain: LiteBackbone, person: Pictures, side: int
) -> None:
    source, keypoints = scaled(person[0], side), moved(fast, person)
    drawn, expected = (net.render(net.encode(source), keypoints) for net in (fast, plain))
    assert drawn.shape == expected.shape == (2, side, side, 3)
    apart = np.abs(drawn.astype(int) - expected)
    # OpenCV samples at 32nds of a pixel.
    assert apart.max() <= 16
    assert apart.mean() < 0.5


def test_they_show_what_scaling_up_cannot(fast: LiteBackbone, person: Pictures) -> None:
    keypoints = moved(fast, person)
    large, usual = (fast.render(fast.encode(source), keypoints) for source in (person[0], small(person)[0]))
    grown = np.stack([scaled(picture, LARGE) for picture in usual])

    def detail(picture: Pictures) -> float:
        return float(np.abs(picture.astype(int) - scaled(scaled(picture, 256), LARGE)).mean())

    # Of the source's own moment most of the detail is there, of another what goes along with it.
    assert (
        np.abs(large[0].astype(int) - person[0]).mean()
        < 0.8 * np.abs(grown[0].astype(int) - person[0]).mean()
    )
    for picture, before, truth in zip(large, grown, person, strict=True):
        assert 0.7 * detail(truth) < detail(picture) < 1.2 * detail(truth)
        assert detail(before) < 0.4 * detail(truth)


def test_seen_from_afar_they_are_the_usual_ones(fast: LiteBackbone, person: Pictures) -> None:
    keypoints = moved(fast, person)
    large, usual = (fast.render(fast.encode(source), keypoints) for source in (person[0], small(person)[0]))
    apart = np.abs(small(large).astype(int) - usual)
    assert apart.mean() < 1.5
    assert np.quantile(apart, 0.999) < 40


def test_sources_of_several_sizes_live_side_by_side(fast: LiteBackbone, person: Pictures) -> None:
    keypoints = moved(fast, person)[1:]
    sources = [fast.encode(scaled(person[0], side)) for side in SIZES]
    before = [fast.render(source, keypoints) for source in sources]
    after = [fast.render(source, keypoints) for source in reversed(sources)][::-1]
    for one, other, side in zip(before, after, SIZES, strict=True):
        assert one.shape == (1, side, side, 3)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [-1e4, -3.0, 0.0, 1e4])
def test_whatever_a_peer_sends_it_is_a_picture(
    fast: LiteBackbone, plain: LiteBackbone, person: Pictures, value: float
) -> None:
    hostile = np.full((1, 60), value, np.float32)
    for net in (fast, plain):
        drawn = net.render(net.encode(person[0]), hostile)
        assert (drawn.shape, drawn.dtype) == ((1, LARGE, LARGE, 3), np.uint8)


@pytest.mark.parametrize("side", [128, 300, 511, 1024])
def test_no_other_size_is_taken(fast: LiteBackbone, plain: LiteBackbone, side: int) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    for net in (fast, plain):
        assert net.sizes == SIZES
        with pytest.raises(RequestError, match="256x256 or 384x384 or 512x512"):
            net.encode(picture)
        with pytest.raises(RequestError, match="takes 256x256 RGB"):
            net.detect(np.zeros((1, LARGE, LARGE, 3), np.uint8))
