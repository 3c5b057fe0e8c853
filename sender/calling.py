"""Set-up over HTTP, the sender's side: reach a receiver and return an open link."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Self

import aiohttp

from shared.errors import BusyError, KeycastError, PeerError, RequestError, WrongTokenError
from shared.runtime.logs import logger
from shared.transport.datachannel import OPEN_SECONDS, Link
from shared.transport.pairing import call_url, check_token
from shared.transport.sdp import MAX_SDP_BYTES
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.token_file import find

_log = logger("signaling")
_ATTEMPTS = 2
_HTTP_SECONDS = 10.0
_SESSION = re.compile(r"/session/[A-Za-z0-9_-]{1,64}")
_NOT_KEYCAST = "The server at {url} is not a keycast receiver; check the address."
_UNTRUSTED = (
    "The certificate of the receiver at {url} is not trusted here ({why}); "
    "give it, or that of the authority that signed it, with --tls-ca FILE."
)
_OTHER_SCHEME = (
    "The server at {url} closed the connection at once; use https:// for a receiver with --tls-cert, "
    "and http:// for one without."
)
_REFUSALS: dict[int, type[KeycastError]] = {
    401: WrongTokenError,
    409: BusyError,
    421: RequestError,
    429: KeycastError,
    503: KeycastError,
}
_SENTENCES = {
    401: "The receiver at {url} rejected the token; use --token with the one it shows.",
    409: "The receiver at {url} already has a call; wait until it has ended.",
    421: (
        "The receiver at {url} does not answer to that name; use its address, a name in its certificate, "
        "or the name it was given with --listen."
    ),
    429: "The receiver at {url} has seen too many wrong tokens; wait a minute and try again.",
    503: "The receiver at {url} only calls over a relay, and has none at the moment; check its output.",
}
_Response = aiohttp.ClientResponse


async def connect(
    url: str | None = None,
    token: str | None = None,
    ice: IceOptions = DIRECT,
    timeout: float = OPEN_SECONDS,
    *,
    compact: bool = True,
    voice: bool = False,
    two_way: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Link:
    """Return an open link to the receiver at `url` (None: on this machine).

    An https receiver's certificate is checked with `tls`; None: with the system's trust store.

    Without `token`, that of a receiver which serves on this machine is used (see `published`). `compact`,
    `voice` and `two_way` are the link's. A set-up that does not open within `timeout` seconds is tried once
    more. Raise RequestError where there is no receiver, or it or a TURN server refuses us; KeycastError where
    it is busy, or nothing opens.
    """
    url = call_url(url)
    if not token:
        token, url = _published(url)
    async with _Http(url, check_token(token), tls) as http:
        for _ in range(_ATTEMPTS):
            link = await _attempt(
                http, lambda: Link(ice, compact=compact, voice=voice, two_way=two_way), timeout
            )
            if link is not None:
                return link
    raise KeycastError(
        f"The receiver at {url} answers, but two attempts to connect to it timed out ({timeout:.0f} s each); "
        "a firewall may be blocking UDP between the two machines, and a TURN server helps (--ice-server)."
    )


def _published(url: str) -> tuple[str, str]:
    found = find(url)
    if found is None:
        raise RequestError(
            f"No receiver is known at {url}; start one first, or give the token that it shows with --token."
        )
    return found


class _Http:
    """Asks one receiver and no other: follows no redirect, uses no proxy, keeps no cookie, unpacks nothing.

    Whoever answers may mean harm: it chooses neither whom this machine talks to, nor how much it reads.
    """

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_HTTP_SECONDS),
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": "keycast",
                "Accept-Encoding": "identity",
            },
            connector=aiohttp.TCPConnector(ssl=tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def post(self, path: str, data: str, content_type: str) -> AbstractAsyncContextManager[_Response]:
        headers = {"Content-Type": content_type}
        return self._session.post(self.url + path, data=data, headers=headers, allow_redirects=False)

    def delete(self, path: str) -> AbstractAsyncContextManager[_Response]:
        return self._session.delete(self.url + path, allow_redirects=False)


async def _attempt(http: _Http, new_link: Callable[[], Link], seconds: float) -> Link | None:
    """Try one set-up; None where all went well but the link did not open."""
    link = new_link()
    try:
        answer, session = await _exchange(http, await link.offer())
        await _accept(link, http.url, answer)
        try:
            await link.opened(seconds)
        except KeycastError as error:
            _log.debug("%s answered, but: %s", http.url, error)
            # The receiver would hold its half open for seconds more, and call itself busy.
            await _forget(http, session)
            await link.close()
            return None
    except BaseException:
        await link.close()
        raise
    return link


async def _accept(link: Link, url: str, answer: str) -> None:
    try:
        await link.accept(answer)
    except PeerError as error:
        raise RequestError(_NOT_KEYCAST.format(url=url)) from error


async def _exchange(http: _Http, offer: str) -> tuple[str, str]:
    """Post the offer; return the answer and the path of its session."""
    url = http.url
    _log.debug("offering a call to %s", url)
    try:
        async with http.post("/whip", offer, "application/sdp") as response:
            _log.debug("%s answers %d", url, response.status)
            return await _read(response, url)
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or "it is not for this address"
        raise RequestError(_UNTRUSTED.format(url=url, why=why)) from error
    except (aiohttp.ClientConnectorSSLError, aiohttp.ServerDisconnectedError) as error:
        raise RequestError(_OTHER_SCHEME.format(url=url)) from error
    except aiohttp.ClientConnectionError as error:
        raise RequestError(
            f"No receiver answers at {url}; start one there, or check the address and the firewall."
        ) from error
    except TimeoutError as error:
        raise KeycastError(f"The receiver at {url} did not answer in time; try again.") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise RequestError(_NOT_KEYCAST.format(url=url)) from error


async def _read(response: _Response, url: str) -> tuple[str, str]:
    if response.status in _REFUSALS:
        raise _REFUSALS[response.status](_SENTENCES[response.status].format(url=url))
    session = response.headers.get("Location", "")
    is_answer = response.status == 201 and response.content_type == "application/sdp"
    if not is_answer or "Content-Encoding" in response.headers or not _SESSION.fullmatch(session):
        raise RequestError(_NOT_KEYCAST.format(url=url))
    body = b""
    async for piece in response.content.iter_chunked(4096):
        body += piece
        if len(body) > MAX_SDP_BYTES:
            raise RequestError(_NOT_KEYCAST.format(url=url))
    return body.decode(), session


async def _forget(http: _Http, session: str) -> None:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with http.delete(session):
            pass
