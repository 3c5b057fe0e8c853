"""Token authentication: in a header for senders, in a cookie exchanged for it for the viewer page."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from aiohttp import web
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from shared.clock import Clock
from shared.protocol.guesses import Guesses

_FOREIGN = ("cross-site", "same-site")
_TOO_MANY = "Too many wrong tokens; wait a minute."


class Authenticator:
    """Compares tokens in constant time; an address that is wrong again and again has to wait.

    What a request of another site's page gives is neither right nor wrong: it is refused and not counted, so
    that no site can use up a visitor's attempts. `trust` hears of each request that has shown the token. For
    `viewers` it makes passes, which takes some tenth of a second at the beginning. `owner` is the token of
    who sits here, where there is one: it opens the page and more of it, but no call.
    """

    def __init__(
        self,
        token: str,
        clock: Clock,
        trust: Callable[[web.Request], None] = lambda _: None,
        note: Callable[[str], None] = lambda _: None,
        *,
        viewers: bool = True,
        owner: str = "",
    ) -> None:
        self._token = token.encode()
        self._pass = pass_of(token) if viewers else secrets.token_hex()
        # Without an owner they are nobody's. That pass is as random as the token, and of no longer life.
        self._owner, self._owner_pass = (owner or secrets.token_hex()).encode(), secrets.token_hex()
        self._clock = clock
        self._trust = trust
        self._note = note
        self._guesses = Guesses()

    def check_header(self, request: web.Request) -> None:
        """Return where the request's `Authorization` holds the token; else raise the answer to it."""
        self._check(request, request.headers.get("Authorization", ""), b"Bearer " + self._token)

    def check_word(self, request: web.Request, word: str) -> bool:
        """Say whether `word`, from the request's body, is the owner's token; raise where it is neither."""
        self._check(request, word, self._token, self._owner)
        return hmac.compare_digest(word.encode(errors="replace"), self._owner)

    def is_owner(self, request: web.Request, name: str) -> bool:
        """Say whether the request's cookie `name`, a pass, is the owner's."""
        given = request.cookies.get(name, "")
        return hmac.compare_digest(given.encode(errors="replace"), self._owner_pass.encode())

    def has_pass(self, request: web.Request, name: str) -> bool:
        """Say whether the request's cookie `name` is a pass. Raise 403, or 429, as for tokens.

        A wrong one is as bad as a wrong token: whoever guesses could try there instead. None is no guess.
        """
        given = request.cookies.get(name)
        if given is None:
            refuse_foreign(request)
            return False
        try:
            self._check(request, given, self._pass.encode(), self._owner_pass.encode())
        except web.HTTPUnauthorized:
            return False
        return True

    def give_pass(
        self, response: web.StreamResponse, name: str, *, secure: bool, owner: bool = False
    ) -> None:
        """Have the browser keep a pass in the cookie `name` until it is closed; scripts cannot read it."""
        value = self._owner_pass if owner else self._pass
        response.set_cookie(name, value, path="/", httponly=True, samesite="Strict", secure=secure)

    def _check(self, request: web.Request, given: str, *wanted: bytes) -> None:
        refuse_foreign(request)
        # Of the connection itself: what a header says of where it came from, anyone can write.
        address, now = request.remote or "", self._clock.now()
        if self._guesses.blocked(address, now):
            raise web.HTTPTooManyRequests(text=_TOO_MANY)
        # All are compared, whichever it is.
        if not sum([hmac.compare_digest(given.encode(errors="replace"), one) for one in wanted]):
            for group in self._guesses.failed(address, now):
                self._note(str(group))
            raise web.HTTPUnauthorized(text="Wrong token.", headers={"WWW-Authenticate": "Bearer"})
        self._guesses.right(address)
        self._trust(request)


def pass_of(token: str) -> str:
    """Return the pass that stands for `token`: good for watching alone, and for as long as the token is.

    Who has a pass can try tokens until one gives it, with nobody counting. So each costs 32 MiB and some
    tenth of a second (scrypt, RFC 7914): a token that a person thought of would otherwise not last long.
    """
    slow = Scrypt(salt=b"keycast viewer", length=32, n=2**15, r=8, p=1)
    return slow.derive(token.encode()).hex()


def refuse_foreign(request: web.Request) -> None:
    """Raise 403 for what a browser sends on behalf of another origin. Programs send neither header."""
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin.partition("://")[2] != request.host
    if foreign or request.headers.get("Sec-Fetch-Site") in _FOREIGN:
        raise web.HTTPForbidden(text="Cross-site requests are not allowed.")
