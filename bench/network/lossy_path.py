"""A path between two ends of a real call that counts every byte and can be as bad as asked.

It listens where a receiver would, hands the set-up on to the real one, and names itself in place of both
ends in the session descriptions that pass: the ends then send all their datagrams to it. Neither end needs
to know, and no rights are needed. Both ends are on this machine.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import aiohttp
from aiohttp import web

from bench.network.impairment import Lane, PathImpairment
from shared.errors import KeycastError
from shared.transport.sdp import MAX_SDP_BYTES, first_ipv4, with_candidate

_HOST = "127.0.0.1"
_IP_UDP = 28
_ENDS_SECONDS = 2.0
_ON = ("Authorization", "Content-Type")
_BACK = ("Location", "Content-Type", "WWW-Authenticate")
Address = tuple[str, int]


@dataclass
class Counts:
    """Traffic that entered one direction: IP bytes, datagrams, and how many of these were lost on the way."""

    bytes: int = 0
    packets: int = 0
    dropped: int = 0


class _Endpoint(asyncio.DatagramProtocol):
    """The socket that stands for the other end; hears one address only and is closed to strangers."""

    def __init__(self) -> None:
        self.end: Address | None = None
        self.deliver: Callable[[bytes], None] = lambda _: None
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls) -> Self:
        """Return a new one, on a free port of this machine."""
        _, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(_HOST, 0))
        return endpoint

    @property
    def port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr == self.end:
            self.deliver(data)

    def send(self, data: bytes) -> None:
        if self._transport is not None and self.end is not None:
            self._transport.sendto(data, self.end)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class _Direction:
    """One direction: what comes in at one endpoint leaves by the other when its lane says so."""

    def __init__(self, lane: Lane, counts: Counts) -> None:
        self.lane = lane
        self._counts = counts
        self._in_flight: list[tuple[float, int, bytes, _Endpoint]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, data: bytes, endpoint: _Endpoint) -> None:
        loop = asyncio.get_running_loop()
        size = len(data) + _IP_UDP
        self._counts.bytes += size
        self._counts.packets += 1
        arrivals = self.lane.arrivals(size, loop.time())
        self._counts.dropped += not arrivals
        for at in arrivals:
            heapq.heappush(self._in_flight, (at, self._order, data, endpoint))
            self._order += 1
        self._deliver()

    def _deliver(self) -> None:
        """Send all that is due, and be back for the next; one timer, so that equal times keep their order."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._in_flight and self._in_flight[0][0] <= loop.time():
            _, _, data, endpoint = heapq.heappop(self._in_flight)
            endpoint.send(data)
        if self._in_flight:
            self._timer = loop.call_at(self._in_flight[0][0], self._deliver)

    def stop(self) -> None:
        self._in_flight.clear()
        if self._timer is not None:
            self._timer.cancel()


class ImpairedPath:
    """A stand-in for the receiver at `target_url`, to be called at `url`; an async context manager.

    `up` counts from sender to receiver, `down` the other way, over all calls. Random is the same for the same
    `seed`. Where an end has several addresses, its first IPv4 one is used; checks that it makes from others
    are not answered and not counted.
    """

    def __init__(
        self, target_url: str, impairment: PathImpairment | None = None, seed: int = 0, port: int = 0
    ) -> None:
        self.up, self.down = Counts(), Counts()
        self._seed = seed
        self._target = target_url
        self._port = port
        how = impairment or PathImpairment()
        self._directions = tuple(
            _Direction(Lane(how, 2 * seed + number), counts)
            for number, counts in enumerate((self.up, self.down))
        )
        self._endpoints: tuple[_Endpoint, ...] = ()
        self._http: aiohttp.ClientSession | None = None
        application = web.Application(client_max_size=MAX_SDP_BYTES)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_ENDS_SECONDS)

    def impair(self, impairment: PathImpairment) -> None:
        """Be as bad as `impairment` from the next datagram on; cuts count from there."""
        for number, direction in enumerate(self._directions):
            direction.lane = Lane(impairment, 2 * self._seed + number)

    @property
    def url(self) -> str:
        """Where to call instead of the receiver."""
        return f"http://{_HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        """Start listening on a free port of 127.0.0.1, or on `port`."""
        self._http = aiohttp.ClientSession()
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, self._port).start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is still on its way is lost."""
        await self._runner.cleanup()
        for direction in self._directions:
            direction.stop()
        self._close_endpoints()
        if self._http is not None:
            await self._http.close()

    def _close_endpoints(self) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        self._endpoints = ()

    async def _forward(self, request: web.Request) -> web.Response:
        """Hand a request on; of a set-up, both descriptions name this path instead of the two ends."""
        body = await request.read()
        try:
            if request.method == "POST" and request.path == "/whip":
                return await self._set_up(request, body.decode())
            return _response(*await self._ask(request, body))
        except (aiohttp.ClientError, KeycastError, UnicodeDecodeError) as error:
            raise web.HTTPBadGateway(text=f"The path to the receiver failed: {error}") from error

    async def _ask(self, request: web.Request, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Return the receiver's status, body and headers."""
        assert self._http is not None
        headers = {name: request.headers[name] for name in _ON if name in request.headers}
        url = f"{self._target}{request.path}"
        async with self._http.request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            kept = {name: response.headers[name] for name in _BACK if name in response.headers}
            return response.status, await response.read(), kept

    async def _set_up(self, request: web.Request, offer: str) -> web.Response:
        """Open endpoints for a new call; the one before it goes on unless the receiver takes this one."""
        endpoints = here, there = await _Endpoint.open(), await _Endpoint.open()
        kept = False
        try:
            here.end = first_ipv4(offer)
            status, answer, headers = await self._ask(
                request, with_candidate(offer, _HOST, there.port).encode()
            )
            if status == 201:
                there.end = first_ipv4(answer.decode())
                answer = with_candidate(answer.decode(), _HOST, here.port).encode()
                self._connect(here, there)
                kept = True
            return _response(status, answer, headers)
        finally:
            if not kept:
                for endpoint in endpoints:
                    endpoint.close()

    def _connect(self, here: _Endpoint, there: _Endpoint) -> None:
        self._close_endpoints()
        up, down = self._directions
        here.deliver = lambda data: up.take(data, there)
        there.deliver = lambda data: down.take(data, here)
        self._endpoints = here, there


def _response(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, headers=headers)
