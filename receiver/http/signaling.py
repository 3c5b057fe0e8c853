"""Set-up over HTTP, the receiver's side: an SDP offer in, an answer out (WHIP), behind a pairing token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from receiver.http.authenticator import Authenticator
from receiver.http.connection_limiter import ConnectionLimiter
from receiver.http.origin import Hosts, add_headers, only_for
from receiver.http.page_routes import Page
from shared.clock import Clock, SystemClock
from shared.errors import KeycastError, PeerError, RequestError
from shared.protocol.limits import RateLimit
from shared.runtime.logs import logger
from shared.transport import pairing
from shared.transport.datachannel import Link
from shared.transport.sdp import MAX_SDP_BYTES
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.token_file import Published

_log = logger("signaling")
SDP_TYPE = "application/sdp"
_BODY_SECONDS = 5.0
_STOP_SECONDS = 2.0
_IDLE_SECONDS = 15.0
_LINGER_SECONDS = 1.0
_SAY_PER_SECOND, _SAY_AT_ONCE = 0.1, 5.0


class SignalingServer:
    """Listens for one call at a time; `on_link` gets every link that has opened, and owns it from there.

    Without it, it serves the page alone and takes no calls.

    The next offer is taken once that link has ended or, where `busy` is given, while that says False. The
    token is also published for senders of the same user on this machine (see `published`); where that fails,
    `unpublished` says why. Use it as an async context manager. With `tls` it speaks https only, and
    `names` are those of its certificate: it answers to them and its own (see `origin`), and to no others.
    With `voice` its links carry sound, and for `two_way` they have a lane back. `say` hears, a line each and
    not too often, who was shut out. `page` is served at `/`; `owner` is the token of who sits here (see
    `page_routes`). Without `on_link` it serves the page alone: nobody can call, and the token is published to
    nobody.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        on_link: Callable[[Link], None] | None,
        *,
        stats: Callable[[], Mapping[str, object]] | None = None,
        busy: Callable[[], bool] | None = None,
        ice: IceOptions = DIRECT,
        compact: bool = True,
        voice: bool = False,
        two_way: bool = False,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
        names: Iterable[str] = (),
        say: Callable[[str], None] | None = None,
        page: Page | None = None,
        owner: str = "",
        option: str = "--listen",
    ) -> None:
        self.host, self.port = host, port
        self._token = pairing.check_token(token)
        self.unpublished = ""
        self._published: Published | None = None
        self._on_link = on_link
        self._stats = stats
        self._busy = busy
        self._new_link = partial(Link, ice, compact=compact, voice=voice, two_way=two_way)
        self._clock = clock or SystemClock()
        self._authenticator = Authenticator(
            token, self._clock, self._trust, self._note, viewers=page is not None, owner=owner
        )
        self._option = option
        self._answering = False
        self._link: Link | None = None
        self._session = ""
        self._admission: asyncio.Task[None] | None = None
        self._tls = tls
        self._says = RateLimit(_SAY_PER_SECOND, _SAY_AT_ONCE)
        self._say = say
        self._limiter: ConnectionLimiter | None = None
        self._runner = web.AppRunner(
            self._application(page, Hosts(host, names)),
            access_log=None,
            logger=_to_notes(self._note),
            shutdown_timeout=_STOP_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            # What is compressed is refused as it is: it might unpack to anything.
            auto_decompress=False,
        )

    @property
    def url(self) -> str:
        """Where it listens, as a sender types it."""
        return pairing.http_url("https" if self._tls else "http", self.host, self.port)

    async def __aenter__(self) -> Self:
        """Start listening; port 0 takes a free one. Raise RequestError where the address cannot be used."""
        await self._runner.setup()
        assert self._runner.server is not None
        self._limiter = ConnectionLimiter(self._runner.server, self._tls, self._note)
        try:
            self.port = await self._limiter.open(self.host, self.port)
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise RequestError(
                f"Cannot listen on {self.host} port {self.port}: it is taken, or not an "
                f"address of this machine; choose another with {self._option} HOST:PORT."
            ) from error
        if self._on_link is None:
            return self
        try:
            self._published = Published.publish(self.port, self._token, self._limiter.addresses)
        except RequestError as error:
            # Another user can spoil a shared folder; that must not keep this receiver from working.
            self.unpublished = str(error)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and close a link that is still open."""
        if self._published is not None:
            # Before the port is anybody's.
            self._published.withdraw()
        if self._limiter is not None:
            await self._limiter.close()
        await self._runner.cleanup()
        if self._link is not None:
            await self._link.shut()
        if self._admission is not None:
            await self._admission

    def _application(self, page: Page | None, hosts: Hosts) -> web.Application:
        application = web.Application(client_max_size=MAX_SDP_BYTES, middlewares=[_logged, only_for(hosts)])
        application.on_response_prepare.append(add_headers)
        if self._on_link is not None:
            application.router.add_post("/whip", self._whip)
            application.router.add_delete("/session/{id}", self._delete)
        application.router.add_get("/stats", self._get_stats)
        if page is not None:
            page.serve(application, self._authenticator, secure=self._tls is not None)
        return application

    def _trust(self, request: web.Request) -> None:
        if self._limiter is not None:
            self._limiter.trust(request.transport)

    def _note(self, line: str) -> None:
        """Say what was shut out, but not as often as strangers would like."""
        _log.debug("%s", line)
        if self._say is not None and self._says.allows(self._clock.now()):
            # Where it cannot be said, as to a terminal that is gone, the door must still open and close.
            with contextlib.suppress(OSError, ValueError):
                self._say(line)

    async def _whip(self, request: web.Request) -> web.Response:
        self._authenticator.check_header(request)
        if request.content_type != SDP_TYPE:
            raise web.HTTPUnsupportedMediaType(text=f"Send {SDP_TYPE}.")
        if self._answering or self._is_taken():
            raise web.HTTPConflict(text="A call is already in progress.")
        self._answering = True
        try:
            answer = await self._answer(await _body(request))
        finally:
            self._answering = False
        location = {"Location": f"/session/{self._session}"}
        return web.Response(status=201, text=answer, content_type=SDP_TYPE, headers=location)

    def _is_taken(self) -> bool:
        if self._busy is None:
            return self._link is not None and not self._link.over
        # One that is still opening is nobody else's to judge.
        return self._busy() or (self._admission is not None and not self._admission.done())

    async def _answer(self, offer: str) -> str:
        link = self._new_link()
        try:
            answer = await link.answer(offer)
        except PeerError as error:
            await link.close()
            raise web.HTTPBadRequest(text=str(error)) from error
        except KeycastError as error:
            await link.close()
            self._note(f"a call was refused: {error}")
            raise web.HTTPServiceUnavailable(text="No relay is available.") from error
        except BaseException:
            await link.close()
            raise
        if link.ice_problem is not None:
            self._note(str(link.ice_problem))
        _log.debug("answered an offer of %d characters", len(offer))
        self._link, self._session = link, secrets.token_urlsafe(9)
        self._admission = asyncio.create_task(self._admit(link))
        return answer

    async def _admit(self, link: Link) -> None:
        """Hand a link on once it has opened; one that never does is closed, and the next offer welcome."""
        try:
            await link.opened()
        except KeycastError as error:
            self._note(f"a call could not be connected: {error}")
            await link.close()
            return
        assert self._on_link is not None  # or no offer was taken
        self._on_link(link)

    async def _delete(self, request: web.Request) -> web.Response:
        self._authenticator.check_header(request)
        named = request.match_info["id"].encode(errors="replace")
        if self._link is None or not hmac.compare_digest(named, self._session.encode()):
            raise web.HTTPNotFound(text="There is no such session.")
        await self._link.shut()
        return web.Response(text="Ended.")

    async def _get_stats(self, request: web.Request) -> web.Response:
        self._authenticator.check_header(request)
        return web.json_response(dict(self._stats()) if self._stats else {})


@web.middleware
async def _logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log each request and what became of it: neither headers nor queries, nor the name of a session.

    Nor a path that is not known, which may be a token in the wrong place.
    """
    resource = request.match_info.route.resource
    asked = f"{request.remote}: {request.method} {resource.canonical if resource else 'an unknown path'}"
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        _log.debug("%s: %d %s", asked, answer.status, answer.text)
        raise
    _log.debug("%s: %d", asked, response.status)
    return response


class _Notes(logging.Handler):
    """Makes one line of what aiohttp would print with a traceback, whenever a stranger likes."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Note the kind of failure; its text holds what the stranger sent."""
        kind = record.exc_info[0] if record.exc_info else None
        self._note(f"a request failed ({kind.__name__ if kind else record.msg})")


def _to_notes(note: Callable[[str], None]) -> logging.Logger:
    # Not a registered one: it belongs to one server, and nothing passes on to others.
    logger = logging.Logger("keycast.signaling")
    logger.addHandler(_Notes(note))
    return logger


async def _body(request: web.Request) -> str:
    """Return the request's text. A body over the limit is answered 413, a slow one 408, odd bytes 400."""
    with contextlib.suppress(UnicodeDecodeError):
        try:
            return (await asyncio.wait_for(request.read(), _BODY_SECONDS)).decode()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="The offer took too long to arrive.") from error
    raise web.HTTPBadRequest(text="The session description is not text.")
