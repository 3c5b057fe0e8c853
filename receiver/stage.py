"""Where calls are shown, whichever end shows them: screen, files, loudspeaker, and a page."""

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
    """What shows calls, and the person before it; `audience` are those who watch on a page, if there is one.

    `hears`: whether sound is wanted.
    """

    sink: Sinks
    audience: Feeds | None
    controls: Controls
    self_view: SelfView
    hears: bool


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

    hears = options.audio and has_opus()
    audience, controls = Feeds() if page else None, Controls()
    self_view = SelfView(controls, None if audience is None else audience.own_pictures)
    silent = options.view == "none" and not page
    sink = make_sink(
        options.view, options.outputs, options.virtual_camera, say,
        loudspeaker(hears, options.speaker, "none" if silent else "", console.note, tap),
        controls=controls if sends else None, self_view=self_view, camera_size=options.virtual_camera_size,
    )  # fmt: skip
    if audience is not None:
        sink.add(PageSink(audience.pictures))
        sink.add(PageSound(audience.sound))
    return Stage(sink, audience, controls, self_view, hears)
