"""Two-way calls at the end that calls: what the other end sends is shown here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from receiver.announcement import watching
from receiver.app import RENDER_SECONDS
from receiver.call_admission import CallAdmission, PendingCall
from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.incoming import Incoming, ready_models
from receiver.live import Snapshot, listening, with_own
from receiver.options import ReceiverOptions, check_showing
from receiver.pipeline import ReceiverCall
from receiver.sinks.window import WindowClosed
from receiver.stage import set_stage
from receiver.web import page_files
from sender import app
from sender.options import SenderOptions
from sender.sounds import make_canceller
from shared.codec.tables import CodecTables
from shared.errors import described
from shared.interfaces import Backbone, Connection
from shared.keypoints import Pictures
from shared.media.echo import EchoCanceller
from shared.protocol.events import Ended
from shared.protocol.liveness import Phase
from shared.runtime.console import Console, Part
from shared.runtime.deadline_executor import DeadlineExecutor
from shared.runtime.logs import logger
from shared.runtime.sampler import STATUS_SECONDS, Figures, number
from shared.transport.pairing import new_token

_log = logger("call")
_TELL_SECONDS = 0.1
_PATIENCE_SECONDS = 30.0
"""For the other side's first word: its camera may have to be switched on before it."""
CLOSED = "The sender closed its window."
GONE = "The other side is gone."


async def run(options: SenderOptions, showing: ReceiverOptions, *, page: bool) -> int:
    """Call as `sender.app.run` does, and show the other side as `showing` says, on a page as well."""
    check_showing(showing)

    def make(console: Console) -> Display:
        canceller = make_canceller(options.audio, options.source, console.note)
        return Display(showing, console, canceller, page=page)

    return await app.run(options, make)


class Display:
    """Implements `sender.app.Showing`: shows what `options` ask for, and a page where `page`."""

    def __init__(
        self,
        options: ReceiverOptions,
        console: Console,
        canceller: EchoCanceller | None = None,
        *,
        page: bool = False,
    ) -> None:
        tap = None if canceller is None else canceller.played
        self._stage = set_stage(options, console, page=page, sends=True, tap=tap)
        self.canceller, self.controls = canceller, self._stage.controls
        self.wants_sound, self._sink = self._stage.wants_sound, self._stage.sink
        self._options, self._console = options, console
        self._output = ThreadPoolExecutor(1, "output")
        self._decoding = ThreadPoolExecutor(1, "decoding")
        self._sound = ThreadPoolExecutor(1, "sound")
        self._admission = CallAdmission(patience=_PATIENCE_SECONDS)
        self._incoming: Incoming | None = None
        self._server: SignalingServer | None = None
        self._figures: dict[str, object] | None = None
        self._closed, self._is_last = "", False
        self._own: Figures | None = None

    @property
    def pace(self) -> float:
        """Seconds between two calls of `tell`."""
        return _TELL_SECONDS if self._sink.is_watched else STATUS_SECONDS

    async def load(self, backbone: Backbone, tables: CodecTables | None, inference: DeadlineExecutor) -> None:
        """Make ready. Raise RequestError where something cannot be used."""
        loop, drawing = asyncio.get_running_loop(), inference.lane(RENDER_SECONDS)

        def note(sentence: str) -> None:
            loop.call_soon_threadsafe(self._console.note, sentence)

        await loop.run_in_executor(self._output, self._sink.open)
        models = await loop.run_in_executor(drawing, ready_models, self._options, backbone, tables, note)
        self._incoming = Incoming(
            self._options, models, self._sink,
            inference=drawing, output=self._output, decoding=self._decoding, sound=self._sound,
        )  # fmt: skip
        if self._stage.feeds is not None:
            self._server = await self._serve(self._stage.feeds)

    async def _serve(self, feeds: Feeds) -> SignalingServer:
        options, owner = self._options, new_token()
        page = Page(page_files(), feeds, self._watched, self.controls)
        server = SignalingServer(
            options.host, options.port, new_token(), None, say=self._console.note, page=page, owner=owner,
            option="--page",
        )  # fmt: skip
        await server.__aenter__()
        self._console.say(watching(options.host, server.port, owner, None))
        return server

    def show_self(self, picture: Pictures) -> None:
        """Take what is captured here, in the thread that captures."""
        self._stage.self_view.update(picture)

    def shows(self, lane: Connection) -> None:
        """Show what comes over `lane`: a call's, or the next one of a call that has lost the one before."""
        self._admission.arrived(lane)

    async def run(self) -> None:
        """Show one call after the other until `finish`ed. Raise KeycastError where nothing can be shown."""
        while (pending := await self._admission.next()) is not None:
            assert self._incoming is not None  # loaded before anything arrives
            call = self._incoming.call(pending.link, controls=self.controls)
            self._sink.new_call()
            self._admission.call = call
            try:
                ended = await self._taken(call, pending)
            finally:
                self._admission.call = None
                await pending.link.close()
            self._figures = self._incoming.figures(call) if call.streaming else self._figures
            # The person who has called anew is shown in the next one.
            if not ended.ok and not self._is_last and not self._admission.has_pending:
                self._console.note(f"the other side is no longer shown: {ended.reason}")

    async def _taken(self, call: ReceiverCall, pending: PendingCall) -> Ended:
        try:
            ended = await call.run(pending.hello)
        except Exception as error:
            if self._sink.failed:
                raise
            _log.debug("showing a call failed", exc_info=error)
            return Ended(f"The call failed here: {described(error)}", ok=False)
        if call.hung_up and not self._is_last:
            self._closed = CLOSED
        return ended

    def finish(self) -> None:
        """Take no further call; `run` returns once the present one, if any, has ended."""
        self._is_last = True
        self._admission.close()
        self._let_go()

    def end(self, reason: str) -> None:
        """End the present call from this side, and `finish`."""
        call = self._admission.call
        self._is_last = True
        self._admission.close()
        if call is not None:
            call.end(reason)

    async def tell(self, own: Figures) -> str:
        """Refresh figures that are watched; return why the user has hung up there, or "".

        `own` are those of what is sent.
        """
        self._own = own
        self._let_go()
        try:
            await asyncio.get_running_loop().run_in_executor(self._output, self._sink.tell, self._live())
        except WindowClosed:
            self._closed = CLOSED
        return self._closed

    def status(self) -> list[Part]:
        """Return what a status line says of it."""
        call = self._admission.call
        return [] if call is None else [(f"  shown {number(call.live(), 'fps_shown'):.1f} fps", "")]

    def figures(self) -> Mapping[str, Any] | None:
        """Return the figures of the last call that has ended; None where there was none."""
        return self._figures

    async def close(self) -> None:
        """Give everything back."""
        if self._server is not None:
            await self._server.__aexit__()
        try:
            await asyncio.get_running_loop().run_in_executor(self._output, self._sink.close)
        finally:
            self._output.shutdown()
            self._decoding.shutdown()
            self._sound.shutdown()

    def _let_go(self) -> None:
        """End the present call where nobody would make a new connection for it and this one is lost.

        Silence that may be over in a moment is waited out, as ever, by a call that was set up.
        """
        call = self._admission.call
        if not self._is_last or call is None or call.phase is Phase.LIVELY:
            return
        if call.phase is not Phase.STALLED or not call.streaming:
            call.end(GONE)

    def _live(self) -> Snapshot:
        call = self._admission.call
        return listening() if call is None else with_own(call.live(), self._own)

    def _watched(self) -> dict[str, object]:
        """Return what the page shows."""
        call = self._admission.call
        return {**self._live(), "phase": call.phase.value if call is not None else ""}
