import numpy as np
import pytest

from models.build import SHIPPED, TABLES
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from sender.__main__ import parser
from sender.gallery import SOURCE_KBPS, GalleryOptions
from sender.presets import (
    DEFAULT,
    POLICIES,
    PRESETS,
    THRESHOLD,
    Sending,
    check,
    check_size,
    frames_per_message,
    gallery_options,
    make_codec,
    policy_of,
    schedule_of,
    scheduler_maker,
    threshold_of,
)
from sender.schedule import Adaptive, Alternate
from shared.codec.keypoint_codec import QUALITY
from shared.codec.tables import CodecTables
from shared.constants import Schedule
from shared.errors import RequestError
from tests.integration.world import Backbone

CODEC_TABLES = CodecTables.load(SHIPPED / "lite" / TABLES)


def test_the_command_line_says_what_the_presets_are() -> None:
    """The arguments are declared without loading what they stand for."""
    given = parser().parse_args(["--source", "demo"])
    assert given.policy is given.drift is None
    actions = {action.dest: action for action in parser()._actions}
    assert tuple(actions["preset"].choices or ()) == tuple(PRESETS)
    assert tuple(actions["policy"].choices or ()) == POLICIES
    assert f"(default {QUALITY})" in str(actions["quality"].help)
    assert f"(default {SOURCE_KBPS:g}; saver 0.8," in str(actions["source_kbps"].help)
    assert PRESETS["saver"].further_kbps == 0.8
    assert f"(default {THRESHOLD:g}, with saver 0.05)" in str(actions["drift"].help)
    assert PRESETS["saver"].drift == 0.05
    assert f"{DEFAULT} (default)" in str(actions["preset"].help)


@pytest.mark.parametrize(
    ("sending", "sentence"),
    [
        (Sending(quality=16), "must be 0 (finest) to 15, not 16"),
        (Sending(quality=-1), "not -1"),
        (Sending(threshold=0.0), "--drift must be above 0"),
        (Sending(threshold=float("nan")), "--drift must be above 0"),
        (Sending(redundancy=4), "0 to 3 earlier ones, not 4"),
        (Sending("paper", quality=3), "leave --quality and --redundancy out"),
        (Sending("paper", redundancy=1), "leave --quality and --redundancy out"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(sending: Sending, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        check(sending)
    assert sentence in str(refused.value)


def test_a_size_that_the_network_does_not_draw_is_refused() -> None:
    check_size(512, Backbone(sizes=(256, 512)))
    with pytest.raises(RequestError, match="fake draws pictures of 256 or 512 pixels a side, not 384; give"):
        check_size(384, Backbone(sizes=(256, 512)))


def test_without_tables_keypoints_are_sent_raw_and_coded_ones_refused() -> None:
    assert make_codec(Sending(), None, LAYOUT)[0] == "paper"
    assert make_codec(Sending(), CODEC_TABLES, LAYOUT)[0] == DEFAULT
    with pytest.raises(RequestError, match="saver preset needs codec tables"):
        make_codec(Sending("saver"), None, LAYOUT)
    with pytest.raises(RequestError, match="adaptive policy needs codec tables"):
        scheduler_maker(Sending(policy="adaptive"), 6, None, LAYOUT, lambda _: Hold())


@pytest.mark.parametrize(("preset", "frames"), [("saver", 6), ("balanced", 3), ("paper", 3)])
def test_so_many_frames_share_a_message(preset: str, frames: int) -> None:
    name, codec = make_codec(Sending(preset), CODEC_TABLES, LAYOUT)
    assert frames_per_message(Sending(preset), name, codec) == frames
    assert frames_per_message(Sending(preset, frames_per_message=2), name, codec) == 2
    for wrong in (-1, 0, 33):
        with pytest.raises(RequestError, match=f"not {wrong}"):
            frames_per_message(Sending(preset, frames_per_message=wrong), name, codec)


@pytest.mark.parametrize(("preset", "blocks"), [("saver", "6-6"), ("balanced", "3-3"), ("paper", "6-6")])
def test_half_of_all_frames_leave_in_blocks_that_fill_messages(preset: str, blocks: str) -> None:
    """Where the policy alternates, as saver's does when it is asked to."""
    sending = Sending(preset, "alternate")
    assert str(schedule_of(sending, CODEC_TABLES)) == blocks
    assert str(schedule_of(Sending(preset, schedule=Schedule(2, 1)), CODEC_TABLES)) == "2-1"
    name, codec = make_codec(sending, CODEC_TABLES, LAYOUT)
    per_message = frames_per_message(sending, name, codec)
    scheduler = scheduler_maker(sending, per_message, CODEC_TABLES, LAYOUT, lambda _: Hold())("hold")
    observe = int(blocks[0])
    assert [scheduler.wants(number) for number in range(2 * observe)] == [True] * observe + [False] * observe


@pytest.mark.parametrize(
    ("sending", "policy", "drift"),
    [
        (Sending(), "alternate", 0.04),
        (Sending("paper"), "alternate", 0.04),
        (Sending("saver"), "adaptive", 0.05),
        (Sending("saver", threshold=0.02), "adaptive", 0.02),
        (Sending("saver", "alternate"), "alternate", 0.05),
        # Who says which frames leave wants just these.
        (Sending("saver", schedule=Schedule(6, 3)), "alternate", 0.05),
        (Sending("saver", "adaptive", Schedule(6, 3)), "adaptive", 0.05),
        (Sending("balanced", "adaptive"), "adaptive", 0.04),
    ],
)
def test_what_is_not_said_is_the_presets(sending: Sending, policy: str, drift: float) -> None:
    assert policy_of(sending, CODEC_TABLES) == policy
    assert threshold_of(sending, CODEC_TABLES) == drift
    made = scheduler_maker(sending, 3, CODEC_TABLES, LAYOUT, lambda _: Hold())("hold")
    assert type(made) is (Adaptive if policy == "adaptive" else Alternate)


def test_the_policy_makes_its_scheduler_with_the_receivers_forecaster() -> None:
    asked: list[str] = []

    def forecaster(name: str) -> Hold:
        asked.append(name)
        return Hold()

    alternate = scheduler_maker(Sending(), 3, CODEC_TABLES, LAYOUT, forecaster)("vrnn")
    assert isinstance(alternate, Alternate)
    assert asked == []
    adaptive = scheduler_maker(Sending(policy="adaptive"), 6, CODEC_TABLES, LAYOUT, forecaster)("vrnn")
    assert isinstance(adaptive, Adaptive)
    assert asked == ["vrnn"]
    still = np.zeros(60, np.float32)
    assert [len(adaptive.add(number, 0, still)) for number in range(6)] == [0, 0, 0, 0, 0, 1]


def test_pictures_take_what_is_asked_for_or_what_the_preset_leaves_them() -> None:
    assert gallery_options(4, None, None) == gallery_options(4, None, "balanced") == GalleryOptions(4, 1.6)
    assert gallery_options(4, None, "saver") == GalleryOptions(4, 1.6, 0.8)
    assert gallery_options(2, 3.0, "saver") == GalleryOptions(2, 3.0)
