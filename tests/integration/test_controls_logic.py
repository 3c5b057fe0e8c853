"""Mute and hold in whole calls, in virtual time: what leaves, and what the other side makes of it."""

import asyncio

import numpy as np
import pytest

from bench.network.memory_link import LoopbackConnection
from receiver.pipeline import ON_HOLD
from shared.constants import FPS
from shared.keypoints import Pictures
from shared.protocol.liveness import Phase
from shared.runtime.controls import Choices, Controls
from tests.integration.world import ENDED, Hum, Source, World


def watched_kp(world: World, sent: list[float]) -> None:
    """Have `sent` hold when keypoint messages left, alone or with sound."""

    def spoil(_: LoopbackConnection, __: bytes) -> None:
        sent.append(asyncio.get_running_loop().time() - world.source.times[0])

    world.spoil = spoil


@pytest.mark.slow
def test_on_hold_nothing_leaves_and_the_call_lives_and_goes_on_within_a_second() -> None:
    kept: list[Pictures] = []
    states: list[object] = []

    async def story(world: World) -> None:
        await asyncio.sleep(3.0)
        assert world.controls is not None
        world.controls.toggle_hold()
        await asyncio.sleep(0.3)
        assert world.told.choices == Choices(peer_held=True)
        await asyncio.sleep(9.7)
        states.extend([world.receiving.live()["state"], world.sending.live()["state"]])
        assert world.receiving.phase is Phase.LIVELY
        world.controls.toggle_hold()
        await asyncio.sleep(1.0)
        states.extend([world.receiving.live()["state"], world.sending.live()["state"]])

    sent: list[float] = []
    world = World(
        source=Source(17 * FPS), sound=Hum(), controls=Controls(), show_self=kept.append, disturb=story
    )
    watched_kp(world, sent)
    world.run()
    assert world.sender.ended == world.receiver.ended == ENDED
    assert states == ["on hold", "on hold", "live", "live"]
    # Keypoints of before may wait for the sound that takes them along.
    gaps = np.diff([0.0, *sorted(sent)])
    assert gaps.max() > 9.5 or len(sent) == 0
    shown = {n: kind for n, kind, _ in world.receiving.summary.to_map()["shown"]}
    first = next(n for n, note in zip(world.sink.numbers, world.sink.notes, strict=True) if note)
    noted = {n for n, note in zip(world.sink.numbers, world.sink.notes, strict=True) if note == ON_HOLD}
    assert 3.0 * FPS - 6 <= first <= 3.7 * FPS
    assert set(world.sink.notes) == {"", ON_HOLD}
    # It says so at once and all the time, and no longer than it is so.
    assert noted == set(range(first, max(noted) + 1))
    assert 12.7 * FPS <= max(noted) <= 13.5 * FPS
    assert not any(kind == "observed" for n, kind in shown.items() if first + 6 < n < 12.9 * FPS)
    assert sum(kind == "observed" for n, kind in shown.items() if 14 * FPS <= n < 15 * FPS) > 10
    # One sees oneself all along.
    assert len(kept) > 200
    # No sound leaves either: of ten seconds all but what conceals the first is silent.
    heard = np.concatenate([piece for _, piece, _ in world.sink.heard])
    assert (np.abs(heard) > 500).sum() < len(heard) * 8 / 17


@pytest.mark.slow
def test_muted_pictures_go_on_and_no_sound_leaves() -> None:
    spoken: list[int] = []

    async def story(world: World) -> None:
        assert world.controls is not None
        for _ in range(3):
            await asyncio.sleep(2.0)
            spoken.append(world.sending._session.tally.voice.packets)
            world.controls.toggle_mute()
            if len(spoken) == 1:
                await asyncio.sleep(0.2)
                spoken[0] = world.sending._session.tally.voice.packets
                assert world.told.choices == Choices(peer_muted=True)
                assert world.receiving.live()["peer_muted"] is True
                assert world.receiving.live()["state"] == "live"

    world = World(source=Source(8 * FPS), sound=Hum(), controls=Controls(), disturb=story).run()
    assert world.receiver.ended == ENDED
    assert spoken[0] > 20
    assert spoken[1] - spoken[0] <= 1
    assert spoken[2] - spoken[1] > 20
    assert set(world.sink.notes) == {""}
    assert world.told.choices == Choices(), "it is over, and no word of the other side is left"


@pytest.mark.parametrize("chosen", [Controls.toggle_hold, Controls.toggle_mute])
def test_who_is_muted_or_on_hold_before_the_call_is_so_from_its_first_moment(chosen: object) -> None:
    controls = Controls()
    assert callable(chosen)
    chosen(controls)
    seen: list[Choices] = []
    counts: list[int] = []

    async def story(world: World) -> None:
        await asyncio.sleep(2.0)
        seen.append(world.told.choices)
        counts.extend([world.sending._session.tally.voice.packets, world.receiving._session.tally.frames])

    world = World(source=Source(4 * FPS), sound=Hum(), controls=controls, disturb=story).run()
    assert world.sender.ended == ENDED
    held = controls.choices.held
    assert seen == [Choices(peer_held=held, peer_muted=not held)]
    assert counts[0] == 0
    assert (counts[1] == 0) is held
