"""`receiver`: take a keycast call and show it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from receiver.arguments import add_showing_arguments, camera_size
from sender.arguments import add_sending_arguments, add_source_arguments, stray_words
from shared.runtime.command import add_call_arguments, run_command
from shared.runtime.environment import TOKEN, from_environment
from shared.runtime.eventloop import run_async
from shared.transport.servers import add_ice_arguments, chosen_ice


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="receiver", description=__doc__)
    add = commands.add_argument
    listen = "the address to listen on; default: this machine only; 0.0.0.0: all networks"
    add("--listen", metavar="HOST:PORT", default="127.0.0.1", help=listen)
    token = f"the pairing token a sender must give; default: ${TOKEN}, or a new one, shown at start"
    add("--token", help=token)
    add("--tls-cert", type=Path, metavar="FILE", help="serve https with this certificate (PEM)")
    add("--tls-key", type=Path, metavar="FILE", help="the private key of --tls-cert")
    view = "default: the viewer page, and a window if there is a screen; web: only the page"
    add("--view", choices=("window", "web", "none"), help=view)
    add("--no-audio", dest="hear", action="store_false", help="refuse the call's sound")
    add_showing_arguments(commands)
    add("--once", action="store_true", help="exit when a call has ended, instead of serving the next sender")
    add_ice_arguments(commands)
    add_call_arguments(commands)
    reply = commands.add_argument_group("a face of your own", "sent to senders that show it (--view)")
    add_source_arguments(reply)
    add_sending_arguments(reply)
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    commands = parser()
    given = commands.parse_args(arguments)
    if given.source is None and (stray := stray_words(commands, given)):
        commands.error(f"{stray} only applies where a source is sent; add --source")

    def work() -> int:
        # Imported here, so that --help and wrong arguments answer at once.
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
            virtual_camera_size=camera_size(given),
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
            audio=given.hear,
            speaker=given.speaker,
            ice=chosen_ice(given),
        )
        if given.source is None:
            from receiver.app import run

            return run_async(run(options))
        from receiver import two_way
        from sender.options import sender_options

        return run_async(two_way.run(options, sender_options(given)))

    return run_command(work, given.debug)


if __name__ == "__main__":
    sys.exit(main())
