"""Serves calls, one after the other, and reports how they go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from secrets import token_bytes

from receiver.announcement import announcement, watching
from receiver.audio_playout import AudioPlayout
from receiver.call_admission import CallAdmission, PendingCall
from receiver.http.broadcast import Broadcast
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.live import Snapshot, listening
from receiver.options import ReceiverOptions
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from receiver.sinks import Sinks
from receiver.sinks.window import WindowClosed
from receiver.status import status
from receiver.web import page_files
from shared.clock import SystemClock
from shared.codec.keypoint_codec import Codec
from shared.concealment import Concealer
from shared.constants import FPS, SECRET_BYTES, CallTerms
from shared.errors import KeycastError, described
from shared.interfaces import Backbone, Forecaster, Source
from shared.media.opus import has_opus
from shared.protocol.events import Ended
from shared.protocol.receiver_session import ReceiverSession
from shared.runtime.console import Console
from shared.runtime.eventloop import LoopProbe, beside, on_interrupt
from shared.runtime.journal import Journal
from shared.runtime.logs import logger
from shared.runtime.sampler import STATUS_SECONDS, Figures, Sampler
from shared.runtime.usage import seconds_since_start
from shared.transport.pairing import new_token
from shared.transport.tls import describe

_log = logger("call")
_TELL_SECONDS = 0.1
HOLD_SECONDS = 60.0
"""Longest wait of a call for a sender whose connection is lost."""


@dataclass(frozen=True)
class Models:
    """Models that draw and fill in frames; `avatar` is the receiver's own picture, if it has one.

    `facts` says what runs the network at the moment (`models.build.network_facts`).
    """

    backbone: Backbone
    codecs: dict[str, Codec]
    forecaster: Forecaster
    avatar: Source | None
    facts: Callable[[], Mapping[str, str]] = dict


class Service:
    """Waits for a call, runs it, reports the outcome, and waits for the next one.

    Whatever ends a call, a fault of ours or of the other side, the next one is taken; but not where the sink
    has failed.
    """

    def __init__(
        self,
        options: ReceiverOptions,
        models: Models,
        sink: Sinks,
        *,
        inference: ThreadPoolExecutor,
        output: ThreadPoolExecutor,
        decoding: ThreadPoolExecutor,
        console: Console,
        tls: ssl.SSLContext | None = None,
        audience: Broadcast | None = None,
    ) -> None:
        self._options = options
        self._page = Page(page_files(), audience, self._watched) if audience is not None else None
        self._models = models
        self._sink = sink
        self._inference = inference
        self._output = output
        self._decoding = decoding
        self._tls = tls
        self._console = console
        self._admission = CallAdmission(console.complain)
        self._journal = Journal(options.stats)
        self._calls = 1
        self._ready_s = 0.0
        self._hung_up = False

    async def serve(self) -> int:
        """Take calls until Ctrl-C; with `once`, until one was set up and has ended."""
        on_interrupt(self._hang_up)
        token, certificate = self._options.token or new_token(), self._options.tls_cert
        server = SignalingServer(
            self._options.host,
            self._options.port,
            token,
            self._admission.arrived,
            stats=self._stats,
            busy=lambda: self._admission.busy,
            ice=self._options.ice,
            compact=self._options.compact,
            voice=self._options.audio,
            tls=self._tls,
            names=() if certificate is None else describe(certificate).names,
            say=self._console.note,
            page=self._page,
        )
        pace = _TELL_SECONDS if self._sink.is_watched else STATUS_SECONDS
        watch = Sampler(
            SystemClock(), self._live, show=self._show, record=self._second, tell=self._tell, pace=pace
        )
        try:
            async with server, beside(watch.run()):
                return await self._calls_in_turn(server, token)
        finally:
            self._journal.close()

    async def _calls_in_turn(self, server: SignalingServer, token: str) -> int:
        self._announce(server, token)
        while (pending := await self._admission.next()) is not None and not self._hung_up:
            call, ended = await self._take(pending)
            if call.hung_up or (call.streaming and self._options.once and not self._admission.busy):
                return self._exit_code(ended)
            if call.streaming:
                self._console.say(f"the call has ended: {ended.reason}", "listening")
            else:
                self._console.complain(f"refused a call: {ended.reason}")
        return 0

    def _exit_code(self, ended: Ended) -> int:
        if not ended.ok:
            raise KeycastError(ended.reason)
        self._console.say(ended.reason)
        return 0

    def _announce(self, server: SignalingServer, token: str) -> None:
        if server.unpublished:
            self._console.note(server.unpublished)
        lines = announcement(self._options.host, server.port, token, self._options.tls_cert)
        if self._page is not None:
            lines.append(watching(self._options.host, server.port, token, self._options.tls_cert))
        self._ready_s = seconds_since_start()
        self._console.say(*lines)

    async def _take(self, pending: PendingCall) -> tuple[ReceiverCall, Ended]:
        """Run a pending call; return it, and how it ended. Only what would end every call is raised."""
        call = self._new_call(pending)
        self._sink.new_call()
        self._admission.call = call
        probe = LoopProbe()
        try:
            async with beside(probe.run()):
                return call, await call.run(pending.hello)
        except Exception as error:
            if self._sink.failed:
                raise
            _log.debug("a call failed", exc_info=error)
            return call, Ended(f"The call failed here: {described(error)}", ok=False)
        finally:
            self._admission.call = None
            await pending.link.close()
            if call.streaming:
                self._record(call, probe)

    def _new_call(self, pending: PendingCall) -> ReceiverCall:
        models = self._models
        backbone, layout = models.backbone, models.backbone.layout
        terms = CallTerms(
            backbone.name, backbone.fingerprint, layout.keypoints, layout.dimensions, size=backbone.size
        )
        avatar, secret = models.avatar is not None, token_bytes(SECRET_BYTES)
        playout, clock = Playout(FPS, self._options.playout_delay), SystemClock()
        audio = self._options.audio and has_opus()
        sound = AudioPlayout(playout, clock, self._sink.hear, lambda: self._sink.lead) if audio else None
        return ReceiverCall(
            connection=pending.link,
            session=ReceiverSession(
                terms,
                models.codecs,
                avatar,
                models.forecaster.name,
                secret,
                voice=audio,
                sizes=backbone.sizes,
            ),
            renderer=Renderer(backbone, Concealer(models.forecaster, layout), models.avatar),
            sink=self._sink,
            playout=playout,
            clock=clock,
            inference=self._inference,
            output=self._output,
            decoding=self._decoding,
            hold=HOLD_SECONDS,
            hearing=sound,
        )

    def _record(self, call: ReceiverCall, probe: LoopProbe) -> None:
        forecaster = self._models.forecaster.name
        figures = {
            "ready_s": self._ready_s, **self._models.facts(),
            **call.summary.to_map(), **probe.to_map(), **self._sink.figures(),
        }  # fmt: skip
        self._journal.write("summary", {"call": self._calls, "forecaster": forecaster, **figures})
        self._calls += 1
        self._console.say(*call.summary.lines())

    def _show(self, figures: Figures, now: float) -> None:
        self._console.status(status(figures, self._console.blocks), now)

    def _second(self, figures: Figures) -> None:
        if self._admission.call is not None and self._admission.call.streaming:
            plain = {name: value for name, value in figures.items() if name != "strip"}
            self._journal.write("second", {"call": self._calls, **plain})

    async def _tell(self, figures: Figures) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._output, self._sink.tell, figures)
        except WindowClosed:
            self._hang_up("The receiver closed its window.")

    def _hang_up(self, reason: str = "The receiver hung up.") -> None:
        self._hung_up = True
        self._admission.close()
        if self._admission.call is not None:
            self._admission.call.end(reason)

    def _live(self) -> Snapshot:
        """Return how it goes right now; see `receiver.live.Live.snapshot`."""
        call = self._admission.call
        return listening() if call is None else call.live()

    def _watched(self) -> dict[str, object]:
        """Return what the page shows."""
        call = self._admission.call
        return {**self._live(), "phase": call.phase.value if call is not None else ""}

    def _stats(self) -> dict[str, object]:
        """Return the figures of the whole call, and the live ones in place of what has both."""
        call = self._admission.call
        if call is None:
            return {**self._live()}
        whole = call.summary.to_map()
        for listed in ("shown", "shown_ms"):
            whole.pop(listed)
        return {**whole, "phase": call.phase.value, **self._live()}
