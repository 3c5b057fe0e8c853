"""`receiver`: take a keycast call and show it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.forecast.names import BEST, FALLBACK, NAMES
from shared.runtime.command import add_call_arguments, run_command
from shared.runtime.environment import TOKEN, from_environment
from shared.runtime.eventloop import run_async
from shared.transport.servers import add_ice_arguments, chosen_ice


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="receiver", description=__doc__)
    add = commands.add_argument
    listen = "default: this machine only; 0.0.0.0 for all networks"
    add("--listen", metavar="HOST:PORT", default="127.0.0.1", help=listen)
    token = f"the pairing token a sender must give; default: ${TOKEN}, or a new one, shown at start"
    add("--token", help=token)
    add("--tls-cert", type=Path, metavar="FILE", help="speak https with this certificate (PEM)")
    add("--tls-key", type=Path, metavar="FILE", help="the private key of --tls-cert")
    view = "default: the viewer page, and a window where there is a screen; web: the page alone"
    add("--view", choices=("window", "web", "none"), help=view)
    keep = "keep the video, calls after each other: .mp4, or .npy for pictures without loss; repeatable"
    add("--output", type=Path, metavar="FILE", action="append", default=[], help=keep)
    camera = "also be a camera for other programs: the first there is, or such as /dev/video9"
    add("--virtual-camera", nargs="?", const="", metavar="DEVICE", help=camera)
    wide = "of WIDTHxHEIGHT, such as 1280x720, the picture in the middle; default: as large as the call's"
    add("--virtual-camera-size", metavar="SIZE", help=wide)
    add("--no-audio", dest="audio", action="store_false", help="refuse the call's sound")
    ear = "the device that plays sound: its number or name, or none; default: any, unless --view none"
    add("--speaker", metavar="NAME", help=ear)
    add("--avatar", type=Path, metavar="IMAGE", help="animate this picture instead of the sender's")
    best = f"fills in missing frames; default: {BEST} where its weights fit the backbone's, else {FALLBACK}"
    add("--forecaster", choices=NAMES, help=best)
    delay = "least time for jitter and drawing (default 50); from 200 on, skipped frames are interpolated"
    add("--playout-delay", type=float, default=50.0, metavar="MS", help=delay)
    add("--once", action="store_true", help="exit when a call has ended, instead of serving the next sender")
    add_ice_arguments(commands)
    add_call_arguments(commands)
    return commands


def _camera_size(given: argparse.Namespace) -> tuple[int, int] | None:
    from receiver.sinks.virtual_camera import parse_size
    from shared.errors import RequestError

    if given.virtual_camera_size is None:
        return None
    if given.virtual_camera is None:
        raise RequestError("There is no virtual camera to be of that size; add --virtual-camera.")
    return parse_size(given.virtual_camera_size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        # Imported here, so that --help and wrong arguments answer at once.
        from receiver.app import run
        from receiver.options import ReceiverOptions
        from shared.transport.pairing import listen_address

        host, port = listen_address(given.listen)
        options = ReceiverOptions(
            host=host,
            port=port,
            token=given.token or from_environment(TOKEN),
            tls_cert=given.tls_cert,
            tls_key=given.tls_key,
            view=given.view,
            outputs=tuple(given.output),
            virtual_camera=given.virtual_camera,
            virtual_camera_size=_camera_size(given),
            avatar=given.avatar,
            forecaster=given.forecaster,
            backbone=given.backbone,
            checkpoint=given.checkpoint,
            device=given.device,
            threads=given.threads,
            playout_delay=given.playout_delay / 1000,
            stats=given.stats,
            compact=given.compact,
            once=given.once,
            audio=given.audio,
            speaker=given.speaker,
            ice=chosen_ice(given),
        )
        return run_async(run(options))

    return run_command(work, given.debug)


if __name__ == "__main__":
    sys.exit(main())
