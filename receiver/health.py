"""`python -m receiver.health`: whether a receiver on this machine answers. For containers and services.

Exit code 0 where it does, 1 where it does not; its state, such as "listening", is printed.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from shared.errors import KeycastError
from shared.runtime.command import run_command
from shared.runtime.console import printable
from shared.runtime.environment import TOKEN, from_environment

_SECONDS = 3.0
_MAX_BYTES = 1 << 20


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="python -m receiver.health", description=__doc__)
    add = commands.add_argument
    add("--connect", metavar="URL", help="the receiver's address; default: the receiver on this machine")
    add("--tls-ca", type=Path, metavar="FILE", help="also trust this certificate (PEM) of an https receiver")
    add("--debug", action="store_true", help="show tracebacks")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        from shared.transport.pairing import call_url
        from shared.transport.tls import client_context
        from shared.transport.token_file import find

        url = call_url(given.connect)
        token = from_environment(TOKEN)
        if token is None:
            token, url = find(url) or ("", url)
        tls = client_context(given.tls_ca) if url.startswith("https:") else None
        print(printable(_state(url, token, tls)))
        return 0

    return run_command(work, given.debug)


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would take the token along."""

    def redirect_request(self, *_: object) -> None:
        """Have a redirect be an answer like any other: an error."""


def _state(url: str, token: str, tls: ssl.SSLContext | None) -> str:
    request = urllib.request.Request(f"{url}/stats", headers={"Authorization": f"Bearer {token}"})
    # Not by a proxy of the environment's: the receiver is on this machine.
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _Staying()]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_SECONDS) as answer:
            state = json.loads(answer.read(_MAX_BYTES))["state"]
    except urllib.error.HTTPError as error:
        raise KeycastError(
            f"The receiver at {url} refuses to report its state (HTTP {error.code})."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeycastError(f"No receiver answers at {url} ({getattr(error, 'reason', error)}).") from error
    return str(state)


if __name__ == "__main__":
    sys.exit(main())
