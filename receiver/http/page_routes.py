"""The viewer page's routes: its files for anybody, the call for who has shown the token.

`/` and its files hold nothing of any call. `/login` exchanges the token for a cookie, `/session` says whether
the browser has one, and `/live` is the WebSocket that carries the call (see `viewer`). An end that sends as
well has an owner's token beside the call's: with it one may also mute, hold and hang up, and sees oneself.
Who was given the call's token is the other side, and may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import PurePath

from aiohttp import web

from receiver.http.authenticator import Authenticator, refuse_foreign
from receiver.http.feeds import Feeds
from receiver.http.origin import host_of
from receiver.http.viewer import Figures, Viewer
from shared.runtime.controls import Controls
from shared.transport.pairing import MAX_TOKEN

MAX_VIEWERS = 8
INDEX = "page.html"
_BODY_SECONDS = 5.0
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Content a receiver shows in browsers: `files` by name, and live what `feeds` and `figures` give.

    `controls` are those of an end that sends as well, for its owner.
    """

    def __init__(
        self, files: Mapping[str, bytes], feeds: Feeds, figures: Figures, controls: Controls | None = None
    ) -> None:
        self._files = files
        self._feeds = feeds
        self._figures = figures
        self._controls = controls
        self._viewers: set[Viewer] = set()

    def serve(self, application: web.Application, authenticator: Authenticator, *, secure: bool) -> None:
        """Add the routes to `application`, which is served over TLS where `secure`."""
        routes = _Routes(self, authenticator, secure=secure)
        router = application.router
        for name in self._files:
            router.add_get("/" if name == INDEX else f"/{name}", _file(name, self._files[name]))
        router.add_get("/session", routes.session)
        router.add_post("/login", routes.login)
        router.add_get("/live", routes.live)
        application.on_shutdown.append(self._leave)

    @property
    def full(self) -> bool:
        """Whether a further viewer has to wait."""
        return len(self._viewers) >= MAX_VIEWERS

    async def watch(self, request: web.Request, *, owner: bool = False) -> web.WebSocketResponse:
        """Serve a viewer that has been let in, as the `owner` where it is."""
        viewer = Viewer(self._feeds, self._figures, self._controls if owner else None)
        self._viewers.add(viewer)
        try:
            return await viewer.serve(request)
        finally:
            self._viewers.discard(viewer)

    async def _leave(self, _: web.Application) -> None:
        await asyncio.gather(*(viewer.close() for viewer in self._viewers))


class _Routes:
    """Lets viewers in."""

    def __init__(self, page: Page, authenticator: Authenticator, *, secure: bool) -> None:
        self._page = page
        self._authenticator = authenticator
        self._secure = secure

    def _cookie(self, request: web.Request) -> str:
        """Return the cookie's name: with the port, since the ports of a host share their cookies."""
        port = host_of(request)[1]
        return f"__Host-keycast-{port}" if self._secure else f"keycast-{port}"

    async def session(self, request: web.Request) -> web.Response:
        """Say whether `/live` would answer: `access` is open, full, token (is needed) or wait (a minute)."""
        name = self._cookie(request)
        try:
            known = self._authenticator.has_pass(request, name)
        except web.HTTPTooManyRequests:
            return web.json_response({"access": "wait"})
        if known:
            return web.json_response({"access": "full" if self._page.full else "open"})
        response = web.json_response({"access": "token"})
        if name in request.cookies:
            # Of an earlier token; it must not be counted again and again.
            response.del_cookie(name, path="/", httponly=True, samesite="Strict", secure=self._secure)
        return response

    async def login(self, request: web.Request) -> web.Response:
        """Exchange the token, the whole of the body, for the cookie: 204, 401, or 429 for a minute."""
        refuse_foreign(request)
        if request.content_length is None or request.content_length > MAX_TOKEN:
            raise web.HTTPRequestEntityTooLarge(MAX_TOKEN, request.content_length or 0)
        try:
            word = await asyncio.wait_for(request.read(), _BODY_SECONDS)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="The token took too long to arrive.") from error
        owner = self._authenticator.check_word(request, word.decode(errors="replace"))
        response = web.Response(status=204)
        self._authenticator.give_pass(response, self._cookie(request), secure=self._secure, owner=owner)
        return response

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Carry the call."""
        if not self._authenticator.has_pass(request, self._cookie(request)):
            raise web.HTTPUnauthorized(text="A token is required.")
        if self._page.full:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} viewers are watching already.")
        return await self._page.watch(
            request, owner=self._authenticator.is_owner(request, self._cookie(request))
        )


def _file(name: str, content: bytes) -> _Handler:
    kind = _TYPES[PurePath(name).suffix]

    async def answer(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=content, content_type=kind, charset="utf-8")
        # A stranger has no further business on this connection.
        response.force_close()
        return response

    return answer
