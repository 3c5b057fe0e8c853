"""Whole calls without sockets, networks or waiting: both sides over a link in memory, in virtual time."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bench.network.memory_link import Impairment, LoopbackConnection
from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS, LAYOUT
from receiver.live import Snapshot
from receiver.pipeline import WAITING
from sender.gallery import GalleryOptions
from sender.schedule import Adaptive, Scheduler
from shared.codec.keypoint_codec import Codec, CodedCodec
from shared.concealment import Concealer
from shared.constants import CallTerms, Schedule
from shared.keypoints import Pictures
from shared.media import picture as pictures
from shared.protocol.message_format import pack_message
from shared.protocol.reports import Brief, Report
from shared.protocol.sender_session import LargerPicture
from tests.integration.world import (
    BLOCK,
    ENDED,
    PICTURE,
    TABLES,
    TERMS,
    Backbone,
    FakeClock,
    FileSink,
    Hum,
    Source,
    VirtualExecutor,
    World,
    drop,
)
from tests.kept import Kept


def test_a_clean_call() -> None:
    world = World().run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    # The sender asks for frame 60 to learn that the video has ended.
    assert world.source.asked == [n for n in range(60) if n % 12 < 6] + [60]
    assert world.kinds == (BLOCK * 5)[: len(world.kinds)]
    assert len(world.kinds) >= 54
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert (values["frames_held"], values["frames_dropped"], values["late_frames"]) == (0, 0, 0)
    assert values["fps_shown"] == pytest.approx(30)
    assert values["longest_freeze_ms"] <= 34
    assert (sent["packets"], sent["frames"], sent["payload_bytes"]) == (10, 30, 30 * 240)
    assert values["payload_bytes"] == 30 * 240
    assert sent["seconds"] == 2.0
    assert len(world.receiver_backbone.encoded) == 1
    # An observed frame that no blend is under way at shows its own number.
    shown = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    assert [shown[n] for n in (0, 1, 5, 13, 14, 15, 17, 29)] == [0, 1, 5, 13, 14, 15, 17, 29]
    # Hold forecasts the last frame observed.
    assert [shown[n] for n in range(6, 11)] == [5] * 5


class Turning(Source):
    """Looks one way for two seconds, then the other, and so on."""

    def frame(self, n: int) -> Pictures | None:
        picture = super().frame(n)
        return None if picture is None else np.full_like(picture, 240 if n // 60 % 2 else 77)


@pytest.mark.parametrize(("sizes", "side"), [((256, 512), 512), ((256,), 256)])
def test_pictures_are_as_large_as_the_receiver_knows_them_and_motion_is_as_ever(
    sizes: tuple[int, ...], side: int
) -> None:
    """Of the first picture, and of those that follow."""
    source, ours, theirs = Turning(240, side=512), Backbone(), Backbone(sizes=sizes)
    larger = LargerPicture(512, pictures.encode(np.full((512, 512, 3), 77, np.uint8)))
    world = World(
        source=source, larger=larger, gallery=GalleryOptions(4, 2.0),
        sender_backbone=ours, receiver_backbone=theirs,
    ).run()  # fmt: skip
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert [len(picture) for picture in theirs.encoded] == [side, side]
    assert ours.detected == {256}
    for summary in (world.sending.summary, world.receiving.summary):
        assert summary.to_map()["picture_size"] == side


@pytest.mark.slow
def test_a_turned_head_gets_a_picture_of_its_own_while_frames_flow() -> None:
    world = World(source=Turning(480), gallery=GalleryOptions(4, 2.0)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert len(world.receiver_backbone.encoded) == 2
    assert world.receiving._renderer.gallery.switches >= 3
    sent, values = world.sending.summary.to_map(), world.receiving.summary.to_map()
    assert sent["pictures_sent"] == 2
    assert 2 * len(PICTURE) < sent["source_bytes"] < 2000
    assert (values["frames_dropped"], values["frames_held"]) == (0, 0)
    assert values["longest_freeze_ms"] <= 50


class Cut(Turning):
    """Between its two ways to look there are cuts, and so no way back."""

    @property
    def scene(self) -> int:
        return 1 if self.asked and self.asked[-1] >= 60 else 0


def test_a_cut_gets_a_new_picture_and_the_old_one_is_forgotten() -> None:
    world = World(source=Cut(300), gallery=GalleryOptions(1, 2.0)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    renderer = world.receiving._renderer
    assert len(world.receiver_backbone.encoded) == 2
    assert {int(source.picture[0, 0, 0]) // 10 for source in renderer._sources.values()} == {240 // 10}
    assert world.sending.summary.to_map()["pictures_sent"] == 2
    assert renderer.gallery.switches == 0


def test_a_gallery_of_one_sends_one_picture() -> None:
    world = World(source=Turning(240), gallery=GalleryOptions(1, 2.0)).run()
    assert len(world.receiver_backbone.encoded) == 1
    assert world.sending.summary.to_map()["pictures_sent"] == 1


def test_a_receiver_with_an_avatar_is_sent_no_pictures() -> None:
    own = np.zeros(DIMENSIONS, np.float32)
    own[20:] = np.tile([1, 0, 0, 1], 10)
    receiver = Backbone()
    avatar = Kept(own, np.zeros((256, 256, 3), np.uint8))
    options = GalleryOptions(4, 2.0)
    world = World(source=Turning(240), receiver_backbone=receiver, avatar=avatar, gallery=options).run()
    assert not receiver.encoded
    assert world.sending.summary.to_map()["source_bytes"] == 0


def test_a_frame_that_takes_too_long_to_draw_is_made_up_for() -> None:
    world = World(source=Source(300), render_seconds=0.027, hesitates=0.015)
    values = world.run().receiving.summary.to_map()
    assert values["fps_shown"] == pytest.approx(30)
    assert (values["frames_dropped"], values["frames_held"]) == (0, 0)
    assert values["longest_freeze_ms"] < 50


@pytest.mark.slow
@pytest.mark.parametrize("render_seconds", [0.010, 0.025, 0.033])
def test_drawing_that_steadily_takes_long_is_part_of_the_delay(render_seconds: float) -> None:
    world = World(source=Source(600), render_seconds=render_seconds)
    values = world.run().receiving.summary.to_map()
    assert values["fps_shown"] == pytest.approx(30, abs=0.5)
    assert (values["frames_dropped"], values["frames_held"]) == (0, 0)
    # Drawing overlaps with the wait for jitter, which is 50 ms at least.
    assert values["playout_delay_ms"] == pytest.approx(50, abs=2)
    assert values["processing_delay_ms"] == pytest.approx(max(12, 1000 * render_seconds + 1), abs=0.1)
    assert values["latency_p95_ms"] < 150


@pytest.mark.slow
@pytest.mark.parametrize(("render_seconds", "fps"), [(0.040, 25), (0.060, 16.7), (0.2, 5)])
def test_a_machine_too_slow_for_all_frames_shows_what_it_draws_in_time(
    render_seconds: float, fps: float
) -> None:
    world = World(source=Source(900), render_seconds=render_seconds)
    values = world.run().receiving.summary.to_map()
    assert values["fps_shown"] == pytest.approx(fps, rel=0.05)
    assert values["playout_delay_ms"] == pytest.approx(max(50, 1000 * render_seconds + 1), abs=2)


@pytest.mark.slow
def test_the_delay_falls_again_when_drawing_gets_faster() -> None:
    delays = []

    async def disturb(world: World) -> None:
        drawing = world.receiving._player._inference
        assert isinstance(drawing, VirtualExecutor)
        for render_seconds in (0.015, 0.09, 0.015):
            drawing.seconds = render_seconds
            await asyncio.sleep(15)
            delays.append(world.receiving.summary.to_map()["playout_delay_ms"])

    world = World(source=Source(1500), disturb=disturb).run()
    assert delays == pytest.approx([50, 91, 50], abs=2)
    assert world.receiving.summary.to_map()["longest_freeze_ms"] < 200


def test_frames_are_captured_and_shown_on_time() -> None:
    world = World(source=Source(1200)).run()
    start = world.source.times[0]
    np.testing.assert_allclose(world.source.times, [start + n / 30 for n in world.source.asked], atol=1e-6)
    values = world.receiving.summary.to_map()
    # Three frames share a message; detecting and encoding take 4 ms each; then 50 ms against jitter, in
    # which it is drawn, until it is handed on.
    assert values["latency_p50_ms"] == pytest.approx(2000 / 30 + 4 + 4 + 50 + 1, abs=2)
    assert values["latency_p95_ms"] - values["latency_p50_ms"] < 3


def test_the_sender_learns_what_the_receiver_shows() -> None:
    world = World(source=Source(150)).run()
    report = world.sending.summary.report
    assert report.frames_observed == pytest.approx(report.frames_forecast, abs=7)
    # Five messages a second; the last report is at most half a second old.
    assert report.packets == pytest.approx(5 * 5, abs=3)
    assert report.highest == pytest.approx(150, abs=18)
    assert (report.delay_ms, world.sending.summary.to_map()["rate_halved"]) == (0, 0)


def test_a_ceiling_holds_messages_back_and_the_receiver_forecasts_them() -> None:
    world = World(source=Source(300), max_kbps=16.0).run()
    sent = world.sending.summary.to_map()
    assert sent["held_back_packets"] > 15
    assert sent["packets"] + sent["held_back_packets"] == 50
    assert sent["packets"] * (730 + 93) * 8 / 1000 / 10 <= 1.1 * 16
    assert world.receiving.summary.to_map()["frames_observed"] == 3 * sent["packets"]
    assert world.receiver.ended == ENDED


@pytest.mark.parametrize(
    ("lost", "kinds"),
    [
        ((3,), BLOCK + "ooo" + "f" * 8 + "i" + BLOCK),
        ((2,), "oooooo" + "f" * 8 + "i" + "ooo" + "fffffi" + BLOCK),
        ((2, 3), "oooooo" + "f" * 17 + "i" + BLOCK),
        ((2, 3, 4, 5, 6, 7), "oooooo" + "f" * 41 + "i" + BLOCK),
        (range(2, 10), "oooooo" + "f" * 45 + "h" * 8 + "i" + BLOCK),
    ],
)
def test_a_lost_packet_is_forecast_as_a_skipped_block_is(lost: tuple[int, ...], kinds: str) -> None:
    world = World(source=Source(84), spoil=drop(*lost)).run()
    assert world.kinds[: len(kinds)] == kinds
    assert world.receiver.ended == ENDED


def test_a_call_may_begin_with_a_loss() -> None:
    world = World(spoil=drop(0)).run()
    assert world.kinds[:12] == "---ooo" + "fffffi"
    assert world.receiver.ended == ENDED


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(loss=0.2),
        Impairment(reorder=0.5, jitter=2),
        Impairment(duplicate=0.5, reorder=0.3),
        Impairment(loss=0.2, duplicate=0.2, reorder=0.3, jitter=4),
        Impairment(delay=1),
    ],
)
def test_a_bad_link_costs_truth_and_no_frames(impairment: Impairment, seed: int) -> None:
    world = World(source=Source(240), impairment=replace(impairment, seed=seed)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    values = world.receiving.summary.to_map()
    # Loss shows as forecasts; only a timeline that finds itself anew may leave numbers out.
    shown = world.kinds.lstrip("-")
    assert len(shown) >= 215
    assert shown.count("-") == values["frames_dropped"] <= 12
    assert world.sink.numbers == sorted(set(world.sink.numbers))
    assert values["frames_observed"] <= 120
    # Never more than a blend's step and a held block's worth between two frames shown.
    assert np.abs(np.diff(world.sink.levels)).max() <= 30


def test_without_loss_no_order_of_arrival_changes_which_packets_count() -> None:
    world = World(source=Source(240), impairment=Impairment(duplicate=1.0)).run()
    values = world.receiving.summary.to_map()
    assert values["frames_observed"] == 120
    assert values["late_frames"] == 0


def test_late_packets_are_followed_by_the_timeline() -> None:
    """Each packet comes when the one after it leaves: by turns 100 ms and 300 ms later."""
    world = World(source=Source(360), impairment=Impairment(delay=1)).run()
    last_blocks = world.kinds[-49:-1]
    assert last_blocks.count("o") >= 20


def test_a_long_delay_interpolates_what_was_skipped() -> None:
    world = World(playout_delay=0.25).run()
    assert world.kinds == ("oooooo" + "iiiiii") * 4 + "oooooo"[: len(world.kinds) - 48]
    # Between known frames whose numbers are their keypoints, the line is the truth.
    off = [abs(a - b) for a, b in zip(world.sink.levels, world.sink.numbers, strict=True)]
    assert max(off) == 0
    values = world.receiving.summary.to_map()
    assert [values[f"frames_{kind}"] for kind in ("observed", "interpolated", "held")] == [30, 24, 0]


def watched(seconds: float, seen: list[Snapshot]) -> Callable[[World], Coroutine[Any, Any, None]]:
    """Look at the live figures every `seconds`, until the call ends."""

    async def look(world: World) -> None:
        while world.receiver.ended is None:
            seen.append(world.receiving.live())
            await asyncio.sleep(seconds)

    return look


def test_the_live_figures_are_those_of_the_call() -> None:
    seen: list[Snapshot] = []
    world = World(
        source=Source(300), impairment=Impairment(loss=0.2, seed=1), disturb=watched(0.1, seen)
    ).run()
    assert world.receiver.ended == ENDED
    states = [values["state"] for values in seen]
    assert states[0] == "connecting"
    assert states.count("live") > 80
    last = seen[-10]
    assert last["fps_shown"] == pytest.approx(30, abs=1)
    assert last["latency_ms"] == pytest.approx(2000 / 30 + 4 + 50 + 16, abs=60)
    sent = world.sending.summary.to_map()
    rates = [float(values["payload_kbps"]) for values in seen[30:-10]]
    assert np.mean(rates) == pytest.approx(0.8 * sent["payload_bytes"] * 8 / 1000 / 10, rel=0.2)
    losses = [float(values["loss_percent"]) for values in seen[50:-10]]
    assert 5 < np.mean(losses) < 40
    assert max(float(values["pictures_kbps"]) for values in seen) > 0
    assert str(last["strip"]) in world.kinds


def test_the_live_state_follows_what_happens() -> None:
    seen: list[Snapshot] = []
    world = World(source=Source(240), spoil=drop(*range(10, 25)), disturb=watched(0.1, seen)).run()
    order = [seen[0]["state"]]
    for values in seen:
        if values["state"] != order[-1]:
            order.append(values["state"])
    assert order[:5] == ["connecting", "live", "forecasting", "stalled", "live"]
    assert world.receiver.ended == ENDED


def test_a_held_picture_says_so_once_nothing_has_come_for_a_second() -> None:
    world = World(source=Source(150), spoil=drop(*range(2, 14))).run()
    kinds, noted = world.kinds, [bool(note) for note in world.sink.notes]
    shown = [kind for kind in kinds if kind != "-"]
    assert "h" * 8 in kinds
    assert noted == [kind == "h" for kind in shown]
    # The sender itself is still heard.
    assert set(world.sink.notes) == {"", WAITING}


def test_the_walls_clock_may_be_set_during_a_call() -> None:
    async def set_clock(_: World) -> None:
        await asyncio.sleep(2.0)
        FakeClock.offset_ms = 3_600_000

    try:
        world = World(source=Source(180), disturb=set_clock).run()
    finally:
        FakeClock.offset_ms = 0
    assert world.kinds == (BLOCK * 15)[: len(world.kinds)]
    values = world.receiving.summary.to_map()
    assert (values["frames_dropped"], values["late_frames"]) == (0, 0)
    assert values["longest_freeze_ms"] <= 34
    assert values["fps_shown"] == pytest.approx(30)
    assert values["playout_delay_ms"] == pytest.approx(50, abs=2)


def test_a_sender_that_slept_is_followed_and_the_picture_goes_on() -> None:
    """Its numbers go on a minute behind: the receiver's timeline goes back there, not a minute's wait."""

    def renumber(link: LoopbackConnection, data: bytes) -> bool | None:
        first = int.from_bytes(data[1:3], "little")
        ahead = 600 if first < 60 else 0
        return LoopbackConnection.send_kp(link, data[:1] + (first + ahead).to_bytes(2, "little") + data[3:])

    world = World(source=Source(240), spoil=renumber).run()
    assert world.receiver.ended == ENDED
    values = world.receiving.summary.to_map()
    assert values["longest_freeze_ms"] <= 100
    assert values["seconds"] == pytest.approx(8.0, abs=0.3)
    back = [n for n in world.sink.numbers if n < 600]
    assert back == list(range(back[0], back[-1] + 1))
    assert back[-1] >= 233
    assert back[0] < 140
    levels = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    # Two blocks of the way at most: the sender, which the odd reports confuse, sends less.
    assert max(abs(levels[n] - n) for n in back[24:]) <= 24


@pytest.mark.slow
def test_numbers_that_leap_take_neither_the_picture_nor_the_file_along(tmp_path: Path) -> None:
    """Each packet is ten minutes further on than the one before, less a frame: once a way to any number."""
    leaps = itertools.count(1)

    def renumber(link: LoopbackConnection, data: bytes) -> bool | None:
        first = int.from_bytes(data[1:3], "little")
        leapt = (first + next(leaps) * 17_999) % 2**16 if first >= 60 else first
        return LoopbackConnection.send_kp(link, data[:1] + leapt.to_bytes(2, "little") + data[3:])

    world = World(source=Source(300), spoil=renumber, sink=FileSink(tmp_path / "call.mp4"), sound=Hum())
    world.run()
    assert isinstance(world.sink, FileSink)
    world.sink.file.close()
    # The sender says goodbye; what it sent last is a minute ahead at the most.
    assert world.receiver.ended == ENDED
    assert max(world.sink.numbers) < 300 + 1800 + 30
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert (file.duration or 0) / 1e6 < 12


def test_a_slow_sender_skips_frames_and_keeps_time() -> None:
    world = World(source=Source(90), detect_seconds=0.06).run()
    asked = world.source.asked
    assert asked == sorted(set(asked))
    assert all(n % 12 < 6 for n in asked[:-1])
    late = [time - world.source.times[0] - n / 30 for time, n in zip(world.source.times, asked, strict=True)]
    assert max(late) < 1 / 30
    assert world.receiver.ended == ENDED


def test_messages_that_are_coded_elsewhere_do_not_wait_for_slow_networks() -> None:
    together, apart = (
        World(source=Source(300), detect_seconds=0.025, coding_seconds=seconds).run()
        for seconds in (None, 0.001)
    )
    asked = [len(world.source.asked) for world in (together, apart)]
    # Every frame that is wanted can be looked at, where nothing but looking takes time.
    assert asked[1] == sum(n % 12 < 6 for n in range(300)) + 1
    assert asked[0] < 0.9 * asked[1]
    late = [world.receiving.summary.to_map()["latency_p95_ms"] for world in (together, apart)]
    assert late[1] < late[0]


def test_a_slow_receiver_leaves_frames_out_and_does_not_fall_behind() -> None:
    world = World(source=Source(300), render_seconds=0.08).run()
    values = world.receiving.summary.to_map()
    assert values["frames"] == pytest.approx(10 / 0.081, abs=3)
    assert values["frames"] + values["frames_dropped"] == pytest.approx(300, abs=8)
    assert values["latency_p99_ms"] < 2000 / 30 + 4 + 50 + 1000 / 30 + 81 + 2
    assert world.receiver.ended == ENDED


def test_an_avatar_moves_and_no_picture_leaves_the_sender() -> None:
    world = World(avatar=Kept(np.full(DIMENSIONS, 0.1, np.float32), np.zeros((256, 256, 3), np.uint8)))
    world.receiver_backbone.source = np.zeros((256, 256, 3), np.uint8)
    world.run()
    assert world.receiver.ended == ENDED
    assert world.kinds == (BLOCK * 5)[: len(world.kinds)]
    # Its own place, and from there as far as the sender has moved since the first frame.
    assert world.sink.levels[:6] == [100, 101, 102, 103, 104, 105]
    assert world.sending.summary.to_map()["app_sent"] < len(PICTURE) + 30 * 240 + 1000


@pytest.mark.parametrize("duty", ["1-0", "6-0", "1-5", "12-12"])
def test_any_schedule_is_kept_exactly(duty: str) -> None:
    schedule = Schedule.parse(duty)
    terms = replace(TERMS, observe=schedule.observe, skip=schedule.skip)
    world = World(source=Source(120), sender_terms=terms).run()
    shipped = [n for n in range(120) if schedule.ships(n)]
    assert world.source.asked == [*shipped, next(n for n in range(120, 200) if schedule.ships(n))]
    kinds = "".join("o" if schedule.ships(n) else "f" for n in range(120)).replace("fo", "io")
    assert world.kinds == kinds[: len(world.kinds)]


CODED: dict[str, Codec] = {"coded": CodedCodec(TABLES)}
CODED_TERMS = replace(TERMS, codec="coded", tables=TABLES.hash)


@dataclass
class CodedWorld(World):
    """A call with the coded profile; a frame's keypoints are all its number / 1000."""

    sender_terms: CallTerms = CODED_TERMS
    codecs: dict[str, Codec] = field(default_factory=lambda: CODED)
    per_message: int = 6


def test_a_coded_call_shows_the_same_within_a_step_and_takes_a_few_bytes() -> None:
    world = CodedWorld(source=Source(120)).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    assert world.kinds == (BLOCK * 10)[: len(world.kinds)]
    shown = dict(zip(world.sink.numbers, world.sink.levels, strict=True))
    assert max(abs(shown[n] - n) for n in shown if n % 12 in (3, 4, 5)) <= 8
    sent = world.sending.summary.to_map()
    assert sent["packets"] == 10
    assert sent["payload_bytes"] < 10 * 160


def test_copies_mend_the_past_of_a_lost_block() -> None:
    lost = {"source": Source(120), "spoil": drop(3)}
    without = CodedWorld(**lost).run()
    world = CodedWorld(**(lost | {"spoil": drop(3)}), redundancy=1).run()
    assert without.receiving.summary.to_map()["copied_frames"] == 0
    assert world.receiving.summary.to_map()["copied_frames"] == 6
    assert world.receiver.ended == ENDED


def test_the_adaptive_policy_ships_what_the_forecast_misses_and_no_more() -> None:
    def make(name: str) -> Scheduler:
        assert name == "hold"
        return Adaptive(Concealer(Hold(), LAYOUT), np.eye(60, dtype=np.float32) / 60, 0.0195, 6)

    terms = replace(CODED_TERMS, policy="adaptive", skip=0)
    world = CodedWorld(source=Source(120), sender_terms=terms, make_scheduler=make).run()
    assert (world.sender.ended, world.receiver.ended) == (ENDED, ENDED)
    # Each frame moves by 0.001: about twenty frames after a message one would be off by over 0.0195.
    values, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    assert sent["packets"] == pytest.approx(120 / 22, abs=2)
    assert world.source.asked == list(range(121))
    # Around the clock: a frame that is coded a little below 0 shows as 255.
    pairs = zip(world.sink.numbers, world.sink.levels, strict=True)
    off = [min((level - number) % 256, (number - level) % 256) for number, level in pairs]
    assert max(off) <= 25
    assert values["frames_held"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("impairment", "media", "least", "most"),
    [
        (Impairment(), False, 4, 7),
        (Impairment(loss=0.2, seed=3), False, 30, 41),
        # Where nothing acknowledges what comes, a report a second does.
        (Impairment(), True, 18, 22),
        (Impairment(loss=0.2, seed=3), True, 30, 41),
    ],
)
def test_reports_are_few_unless_there_is_something_to_report(
    impairment: Impairment, media: bool, least: int, most: int
) -> None:
    world = World(source=Source(600), impairment=impairment, media=media).run()
    figures, sent = world.receiving.summary.to_map(), world.sending.summary.to_map()
    reports = figures["wire_sent_by_cause"]["reports"] / len(
        pack_message(Brief.of(Report()) if media else Report())
    )
    assert least <= reports <= most
    if not media:
        assert sent["wire_received_by_cause"]["reports"] == figures["wire_sent_by_cause"]["reports"]
    # Acknowledgements tell the sender all the while that the receiver is there, and that messages arrive.
    assert sent["rate_halved"] == 0
    assert sent["wire_sent_by_cause"]["control"] < 600
