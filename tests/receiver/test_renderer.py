import numpy as np
import pytest

from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS, LAYOUT, POSITIONS
from receiver.renderer import Renderer
from shared.concealment import Concealer, Kind
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from tests.kept import Kept, Transferring

BLACK = np.zeros((256, 256, 3), np.uint8)
IDENTITY = np.tile(np.eye(2, dtype=np.float32).reshape(-1), 10)


def points(position: float, jacobian: Floats = IDENTITY) -> Floats:
    return np.concatenate([np.full(POSITIONS, position, np.float32), jacobian])


class Backbone(Transferring):
    """Notes what it is asked to render."""

    name = fingerprint = "fake"
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def __init__(self) -> None:
        self.asked: list[Floats] = []

    def detect(self, frames: Pictures) -> Floats:
        raise NotImplementedError

    def encode(self, picture: Pictures) -> Kept:
        return Kept(points(int(picture[0, 0, 0]) / 200), picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        assert isinstance(source, Kept)
        assert np.isfinite(keypoints).all()
        assert np.abs(keypoints).max() <= 1e4
        self.asked += list(keypoints)
        return np.full((len(keypoints), 256, 256, 3), source.picture[0, 0, 0], np.uint8)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass


def test_frames_are_rendered_as_they_are_observed_or_forecast() -> None:
    backbone = Backbone()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT))
    renderer.set_source(np.ones((256, 256, 3), np.uint8))
    assert renderer.render(3, {}) is None
    shown = [renderer.render(4, {4: points(0.25)}), renderer.render(5, {})]
    assert [r and r.kind for r in shown] == [Kind.OBSERVED, Kind.FORECAST]
    assert all(r is not None and r.picture.shape == (256, 256, 3) for r in shown)
    np.testing.assert_array_equal(backbone.asked, [points(0.25)] * 2)
    assert set(renderer.stages.mean_ms()) == {"forecast", "render"}


def test_each_frame_is_rendered_from_the_nearest_picture_and_the_change_is_faded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may not have the time.
    monkeypatch.setattr("receiver.renderer.perf_counter", lambda: 0.0)
    backbone = Backbone()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT))
    for slot, level in ((0, 0), (4, 100)):
        renderer.set_source(np.full((256, 256, 3), level, np.uint8), slot)
    levels = []
    for number in range(30):
        shown = renderer.render(number, {number: points(0.0 if number < 10 else 0.5)})
        assert shown is not None
        levels.append(int(shown.picture[0, 0, 0]))
    assert levels == [0] * 10 + [25, 50, 75] + [100] * 17
    # Both pictures are drawn only while one fades into the other.
    assert len(backbone.asked) == 33


def test_a_slow_machine_cuts_from_one_picture_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("receiver.renderer.perf_counter", lambda: clock[0])

    class Slow(Backbone):
        def render(self, source: Source, keypoints: Floats) -> Pictures:
            clock[0] += 0.03
            return super().render(source, keypoints)

    backbone = Slow()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT))
    for slot, level in ((0, 0), (4, 100)):
        renderer.set_source(np.full((256, 256, 3), level, np.uint8), slot)
    levels = []
    for number in range(25):
        shown = renderer.render(number, {number: points(0.0 if number < 20 else 0.5)})
        assert shown is not None
        levels.append(int(shown.picture[0, 0, 0]))
    assert levels == [0] * 20 + [100] * 5
    assert len(backbone.asked) == 25


def test_without_a_second_picture_nothing_is_drawn_twice() -> None:
    backbone = Backbone()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT))
    renderer.set_source(np.zeros((256, 256, 3), np.uint8))
    for number in range(30):
        renderer.render(number, {number: points(number / 30)})
    assert len(backbone.asked) == 30


def test_an_avatar_moves_as_the_sender_has_moved_since_the_first_frame() -> None:
    backbone = Backbone()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT), avatar=Kept(points(0.5, IDENTITY * 3), BLACK))
    renderer.render(0, {0: points(-0.2, IDENTITY * 2)})
    renderer.render(1, {1: points(-0.1, IDENTITY * 4)})
    np.testing.assert_allclose(backbone.asked[0], points(0.5, IDENTITY * 3), atol=1e-6)
    np.testing.assert_allclose(backbone.asked[1], points(0.6, IDENTITY * 6), atol=1e-6)


@pytest.mark.parametrize("first", [0.0, 1e-30, 1e-45, 1e3])
def test_a_hostile_first_frame_breaks_no_avatar(first: float) -> None:
    backbone = Backbone()
    renderer = Renderer(backbone, Concealer(Hold(), LAYOUT), avatar=Kept(points(0.0), BLACK))
    renderer.render(0, {0: np.full(DIMENSIONS, first, np.float32)})
    renderer.render(1, {1: np.full(DIMENSIONS, -1e3, np.float32)})
    assert len(backbone.asked) == 2
