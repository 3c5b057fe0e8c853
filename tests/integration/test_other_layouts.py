"""Calls of a backbone whose frames have 17 numbers, through everything that a call of 60 goes through."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from models.forecast.baselines import Damped
from models.lite.layout import LAYOUT as LITE
from models.nth.layout import layout_of as nth_layout
from sender.gallery import GalleryOptions
from sender.presets import Sending, frames_per_message, make_codec, scheduler_maker
from shared.codec.keypoint_codec import Codec, PaperCodec
from shared.constants import CallTerms
from shared.errors import RequestError
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.media import picture as pictures
from shared.media.squares import scaled
from tests.integration.world import ENDED, TABLES, Backbone, Sink, Source, World
from tests.tinted import LAYOUT, Tinted, square, tables

pytestmark = pytest.mark.slow

TINTED_TABLES = tables(TABLES.cdfs, TABLES.levels)
RED, BLUE = (200, 120, 100), (100, 120, 200)
SEEN = square(40, 90, RED)
TERMS = CallTerms("tinted", "abc", LAYOUT.keypoints, LAYOUT.dimensions)


def filmed(n: int) -> Pictures:
    """A square that moves to and fro; every other two seconds it is blue."""
    return square(40 + round(30 * np.sin(n / 12) ** 2), 90, BLUE if n // 60 % 2 else RED)


class Moving(Source):
    def frame(self, n: int) -> Pictures | None:
        return filmed(n) if super().frame(n) is not None else None


class Still(Source):
    def frame(self, n: int) -> Pictures | None:
        return SEEN if super().frame(n) is not None else None


@dataclass
class Screen(Sink):
    """Keeps what is shown."""

    shown: dict[int, Pictures] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def write(self, number: int, picture: Pictures, note: str) -> None:
        super().write(number, picture, note)
        self.shown[number] = picture


def call(
    preset: str, source: Source, policy: str = "alternate", size: int = 256, **more: object
) -> tuple[World, Screen]:
    """Run a call as the commands would put it together with these options; the network's size is `size`."""
    sending, screen = Sending(preset, policy, threshold=0.01), Screen()
    name, codec = make_codec(sending, TINTED_TABLES, LAYOUT)
    per_message = frames_per_message(sending, name, codec)
    codecs: dict[str, Codec] = {PaperCodec.name: PaperCodec(LAYOUT.dimensions), codec.name: codec}
    world = World(
        source=source, sink=screen, codecs=codecs,
        sender_backbone=Tinted(size), receiver_backbone=Tinted(size),
        sender_terms=replace(TERMS, codec=codec.name, tables=codec.tables, policy=policy, size=size),
        receiver_terms=replace(TERMS, size=size), forecaster=Damped(), per_message=per_message,
        picture=pictures.encode(scaled(SEEN, size), 95),
        make_scheduler=scheduler_maker(sending, per_message, TINTED_TABLES, LAYOUT, lambda _: Damped()),
        **more,  # type: ignore[arg-type]
    ).run()  # fmt: skip
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    return world, screen


def moved_by(screen: Screen) -> dict[int, tuple[float, float]]:
    """Return where each frame shown has its square, and how red it is, less where and how it was filmed."""
    found = {}
    for number, picture in screen.shown.items():
        network = Tinted(len(picture))
        wanted = scaled(filmed(number), len(picture))
        error = network.detect(picture[None])[0] - network.detect(wanted[None])[0]
        found[number] = float(error[0]), float(error[12])
    return found


@pytest.mark.parametrize("preset", ["saver", "paper"])
def test_frames_of_other_numbers_are_coded_forecast_and_shown(preset: str) -> None:
    world, screen = call(preset, Moving(150))
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert values["frames_forecast"] > 40
    assert (values["frames_held"], values["bad_packets"]) == (0, 0)
    payload = sent["payload_bytes"] / sent["frames"]
    assert payload == 4 * 17 if preset == "paper" else payload < 17
    places, reds = np.abs(list(moved_by(screen).values())).T
    # A square that stood still would be off by .12 of the picture's half width on average.
    assert places.mean() < 0.03
    assert np.median(reds) < 0.02


@pytest.mark.parametrize("size", [128, 320])
def test_pictures_are_as_large_as_the_network_has_them(size: int) -> None:
    """The camera's stay what they are, 256 here."""
    world, screen = call("saver", Moving(150), size=size, gallery=GalleryOptions(4, 2.0))
    assert {picture.shape for picture in screen.shown.values()} == {(size, size, 3)}
    assert {picture.shape for picture in world.receiver_backbone.encoded} == {(size, size, 3)}
    assert world.sending.summary.to_map()["picture_size"] == size
    assert world.receiving.summary.to_map()["picture_size"] == size
    places = np.abs(list(moved_by(screen).values())).T[0]
    assert places.mean() < 0.04


class Numbered(Backbone):
    """Frames of any layout, all of whose numbers tell which one it is."""

    def __init__(self, layout: KeypointLayout) -> None:
        super().__init__()
        self.layout = layout

    def detect(self, frames: Pictures) -> Floats:
        return np.repeat(super().detect(frames)[:, :1], self.layout.dimensions, axis=1)


@pytest.mark.parametrize(
    ("layout", "kbps"),
    [(LITE, 28.8), (KeypointLayout.of_points(50), 48.0), (nth_layout(15), 24.48)],
    ids=["fomm", "tps", "nth"],
)
def test_the_papers_backbones_take_the_papers_rates(layout: KeypointLayout, kbps: float) -> None:
    sending, codec = Sending("paper"), PaperCodec(layout.dimensions)
    per_message = frames_per_message(sending, "paper", codec)
    terms = CallTerms("numbers", "abc", layout.keypoints, layout.dimensions)
    maker = scheduler_maker(sending, per_message, None, layout, lambda _: Damped())
    sink = Sink()
    world = World(
        source=Source(120), sink=sink, codecs={PaperCodec.name: codec}, per_message=per_message,
        sender_terms=terms, receiver_terms=terms, make_scheduler=maker, forecaster=Damped(),
        sender_backbone=Numbered(layout), receiver_backbone=Numbered(layout),
    ).run()  # fmt: skip
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    sent = world.sending.summary.to_map()
    assert sent["frames"] == 60
    assert 8 * sent["payload_bytes"] / sent["seconds"] / 1000 == pytest.approx(kbps, rel=1e-12)
    # Half of the frames are forecast, and lag a little.
    assert np.abs(np.subtract(sink.levels, sink.numbers)).max() < 6
    assert len(sink.numbers) > 110


def test_the_adaptive_policy_sends_little_of_what_stands_still_and_much_of_what_moves() -> None:
    (still, _), (moving, screen) = (call("saver", film, "adaptive") for film in (Still(150), Moving(150)))
    sent = [world.sending.summary.to_map()["frames"] for world in (still, moving)]
    assert sent[0] < 40 < sent[1]
    assert np.abs(list(moved_by(screen).values())).mean(axis=0)[0] < 0.06


def test_motion_is_transferred_onto_an_avatar() -> None:
    avatar = Tinted().encode(square(100, 20, BLUE))
    world, screen = call("saver", Moving(60), avatar=avatar)
    assert not world.receiver_backbone.encoded
    first = Tinted().detect(filmed(0)[None])[0]
    for number in (3, 4, 5, 16, 17):
        wanted = avatar.keypoints + Tinted().detect(filmed(number)[None])[0] - first
        np.testing.assert_allclose(Tinted().detect(screen.shown[number][None])[0][:2], wanted[:2], atol=0.03)


def test_a_picture_of_another_colour_is_sent_and_chosen() -> None:
    world, _ = call("saver", Moving(300), gallery=GalleryOptions(4, 2.0))
    assert world.sending.summary.to_map()["pictures_sent"] >= 2
    assert world.receiving._renderer.gallery.switches >= 3


def test_presets_say_what_a_layout_without_tables_can_have() -> None:
    plate = KeypointLayout.of_points(50)
    with pytest.raises(RequestError, match=r"needs codec tables .* or use --preset paper"):
        make_codec(Sending("saver"), None, plate)
    name, codec = make_codec(Sending(), None, plate)
    # 400 bytes a frame: two of them fit a message, where the preset would have three.
    assert (name, frames_per_message(Sending(), name, codec)) == ("paper", 2)
    huge = KeypointLayout.of_points(300)
    with pytest.raises(RequestError, match="too large for a message of the paper preset"):
        frames_per_message(Sending(), *make_codec(Sending(), None, huge))
