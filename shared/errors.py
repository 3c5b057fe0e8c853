"""User-facing errors. Each carries one sentence on what was wrong and what to do."""


class KeycastError(Exception):
    """Something failed while running; commands exit with 1."""

    exit_code = 1


class RequestError(KeycastError):
    """The request itself was wrong (an argument, a file, a device); commands exit with 2."""

    exit_code = 2


class WrongTokenError(RequestError):
    """The receiver refuses the token."""


class BusyError(KeycastError):
    """The receiver has a call already."""


class PeerError(KeycastError):
    """A message from the other side breaks the protocol; it is refused as a whole, never trusted in part."""


def described(error: Exception) -> str:
    """Return the sentence of a KeycastError; of a fault of ours, its type and the first line it says."""
    text = str(error).strip().split("\n")[0]
    if isinstance(error, KeycastError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
