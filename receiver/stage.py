"""Outputs that calls are shown on, at whichever end: screen, files, loudspeaker, and a page."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from receiver.http.feeds import Feeds
from receiver.options import ReceiverOptions
from receiver.sinks import Sinks, make_sink
from receiver.sinks.loudspeaker import Tap, loudspeaker
from receiver.sinks.page import PageSink, PageSound
from receiver.sinks.self_view import SelfView
from shared.media.opus import has_opus
from shared.runtime.console import Console
from shared.runtime.controls import Controls


@dataclass(frozen=True)
class Stage:
    """What shows calls, and the person before it; `feeds` are those of the page, if there is one.

    `wants_sound`: whether sound is wanted.
    """

    sink: Sinks
    feeds: Feeds | None
    controls: Controls
    self_view: SelfView
    wants_sound: bool


def set_stage(
    options: ReceiverOptions, console: Console, *, page: bool, sends: bool, tap: Tap | None = None
) -> Stage:
    """Return what shows calls as `options` say, on a page as well where `page`; nothing is opened yet.

    Where this end `sends`, whoever sits there can be muted, hang up, and see themselves. `tap` gets what is
    heard here. Raise RequestError where it cannot be had.
    """
    loop = asyncio.get_running_loop()

    def say(line: str) -> None:
        # A window speaks from a thread of its own.
        loop.call_soon_threadsafe(console.say, line)

    wants_sound = options.audio and has_opus()
    feeds, controls = Feeds() if page else None, Controls()
    self_view = SelfView(controls, None if feeds is None else feeds.own_pictures)
    silent = options.view == "none" and not page
    sink = make_sink(
        options.view, options.outputs, options.virtual_camera, say,
        loudspeaker(wants_sound, options.speaker, "none" if silent else "", console.note, tap),
        controls=controls if sends else None, self_view=self_view, camera_size=options.virtual_camera_size,
    )  # fmt: skip
    if feeds is not None:
        sink.add(PageSink(feeds.pictures))
        sink.add(PageSound(feeds.sound))
    return Stage(sink, feeds, controls, self_view, wants_sound)
