"""`sender`: send a camera, a video file or the demo portrait to a receiver, as keypoints."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from receiver.arguments import SHOWING_NAMES, add_showing_arguments, camera_size
from sender.arguments import add_sending_arguments, add_source_arguments, stray_words
from shared.runtime.command import add_call_arguments, run_command
from shared.runtime.environment import TOKEN, from_environment
from shared.runtime.eventloop import run_async
from shared.transport.servers import add_ice_arguments


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="sender", description=__doc__)
    add = commands.add_argument
    add_source_arguments(commands)
    add("--list-cameras", action="store_true", help="list the cameras and exit")
    add("--connect", metavar="URL", help="the receiver's address; default: the receiver on this machine")
    add("--token", help=f"the pairing token that the receiver shows; default: ${TOKEN}")
    add("--tls-ca", type=Path, metavar="FILE", help="also trust this certificate (PEM) of an https receiver")
    patience = "how long to keep calling again after a lost connection; 0: not at all; default: for ever"
    add("--give-up", type=float, default=math.inf, metavar="SECONDS", help=patience)
    add_sending_arguments(commands)
    add_ice_arguments(commands)
    add_call_arguments(commands)
    show = commands.add_argument_group("the other side's face", "for receivers that send one (--source)")
    where = "where to show it: window, web or window,web; none: only --output; default: a one-way call"
    show.add_argument("--view", type=_views, metavar="WHERE", help=where)
    page = "where --view web serves its page; default: this machine only, any free port"
    show.add_argument("--page", default="127.0.0.1:0", metavar="HOST:PORT", help=page)
    add_showing_arguments(show)
    return commands


def _views(text: str) -> frozenset[str]:
    views = frozenset(text.split(",")) - {"none"}
    if not views <= {"window", "web"}:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not window, web, none or a comma-separated list of these"
        )
    return views


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    commands = parser()
    given = commands.parse_args(arguments)
    if given.list_cameras:
        return run_command(_list_cameras, given.debug)
    if given.source is None:
        commands.error("the following arguments are required: --source")
    shows = given.view is not None or bool(given.output) or given.virtual_camera is not None
    if not shows and (stray := stray_words(commands, given, ("page", *SHOWING_NAMES))):
        commands.error(f"{stray} only applies where the other side is shown; add --view")

    def work() -> int:
        # Imported here, so that --help and wrong arguments answer at once.
        from sender.app import run
        from sender.options import sender_options

        options = sender_options(
            given,
            url=given.connect,
            token=given.token or from_environment(TOKEN),
            tls_ca=given.tls_ca,
            give_up=given.give_up,
        )
        if not shows:
            return run_async(run(options))
        from receiver.options import ReceiverOptions
        from sender import two_way
        from shared.transport.pairing import listen_address

        host, port = listen_address(given.page)
        views: frozenset[str] = given.view or frozenset()
        showing = ReceiverOptions(
            host=host,
            port=port,
            view="window" if "window" in views else "none",
            outputs=tuple(given.output),
            virtual_camera=given.virtual_camera,
            virtual_camera_size=camera_size(given),
            avatar=given.avatar,
            forecaster=given.forecaster,
            playout_delay=given.playout_delay / 1000,
            speaker=given.speaker,
        )
        return run_async(two_way.run(options, showing, page="web" in views))

    return run_command(work, given.debug)


def _list_cameras() -> int:
    from sender.cameras import describe_cameras

    print("\n".join(describe_cameras()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
