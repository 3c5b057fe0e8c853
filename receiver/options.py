"""Options of a receiver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receiver.playout import DELAY_SECONDS, MAX_DELAY_SECONDS
from shared.errors import RequestError
from shared.transport.servers import DIRECT, IceOptions


@dataclass(frozen=True)
class ReceiverOptions:
    """Options from the command line; None means: choose."""

    host: str
    port: int
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    view: str | None = None
    outputs: tuple[Path, ...] = ()
    virtual_camera: str | None = None
    virtual_camera_size: tuple[int, int] | None = None
    avatar: Path | None = None
    forecaster: str | None = None
    backbone: str | None = None
    checkpoint: Path | None = None
    device: str = "auto"
    threads: int = 1
    playout_delay: float = DELAY_SECONDS
    stats: Path | None = None
    compact: bool = True
    once: bool = False
    audio: bool = True
    speaker: str | None = None
    ice: IceOptions = DIRECT


def check_showing(options: ReceiverOptions) -> None:
    """Raise RequestError where what comes cannot be shown as `options` say."""
    if not 0 <= options.playout_delay <= MAX_DELAY_SECONDS:
        most = MAX_DELAY_SECONDS * 1000
        raise RequestError(f"The playout delay must be from 0 to {most:.0f} ms; change --playout-delay.")
