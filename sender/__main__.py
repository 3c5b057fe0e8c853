"""`sender`: send a camera, a video file or the demo portrait to a receiver, as keypoints."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from sender.arguments import add_sending_arguments
from shared.runtime.command import add_call_arguments, run_command
from shared.runtime.environment import TOKEN, from_environment
from shared.runtime.eventloop import run_async
from shared.transport.servers import add_ice_arguments, chosen_ice


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="sender", description=__doc__)
    add = commands.add_argument
    add("--source", help="cam0, cam1, a device path, a video file, or demo")
    add("--list-cameras", action="store_true", help="say which cameras there are, and exit")
    add("--connect", metavar="URL", help="the receiver's address; default: the receiver on this machine")
    add("--token", help=f"the pairing token that the receiver shows; default: ${TOKEN}")
    add("--tls-ca", type=Path, metavar="FILE", help="trust this certificate (PEM) of an https receiver too")
    faceless = "send no picture, only motion; the receiver shows its own --avatar"
    add("--anonymous", action="store_true", help=faceless)
    square = "the square to send, or 'centre'; default: around the head, following where it settles"
    add("--crop", metavar="X,Y,SIZE", help=square)
    add("--loop", action="store_true", help="start a video file again when it ends")
    patience = "call again for so long when the connection is lost; 0: not at all; default: for ever"
    add("--give-up", type=float, default=math.inf, metavar="SECONDS", help=patience)
    add_sending_arguments(commands)
    add_ice_arguments(commands)
    add_call_arguments(commands)
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    commands = parser()
    given = commands.parse_args(arguments)
    if given.list_cameras:
        return run_command(_list_cameras, given.debug)
    if given.source is None:
        commands.error("the following arguments are required: --source")

    def work() -> int:
        # Imported here, so that --help and wrong arguments answer at once.
        from sender.app import SenderOptions, run
        from sender.crop import parse_crop
        from sender.gallery import GalleryOptions
        from sender.presets import Sending
        from shared.constants import Schedule

        options = SenderOptions(
            source=given.source,
            url=given.connect,
            token=given.token or from_environment(TOKEN),
            tls_ca=given.tls_ca,
            anonymous=given.anonymous,
            size=given.size,
            sending=Sending(
                preset=given.preset,
                policy=given.policy,
                schedule=Schedule.parse(given.schedule) if given.schedule else None,
                frames_per_message=given.frames_per_message,
                quality=given.quality,
                threshold=given.drift,
                redundancy=given.redundancy,
            ),
            crop=parse_crop(given.crop) if given.crop else None,
            loop=given.loop,
            gallery=GalleryOptions(given.gallery, given.source_kbps),
            backbone=given.backbone,
            checkpoint=given.checkpoint,
            device=given.device,
            threads=given.threads,
            stats=given.stats,
            compact=given.compact,
            max_kbps=given.max_kbps,
            give_up=given.give_up,
            audio=given.audio,
            audio_kbps=given.audio_kbps,
            ice=chosen_ice(given),
        )
        return run_async(run(options))

    return run_command(work, given.debug)


def _list_cameras() -> int:
    from sender.cameras import describe_cameras

    print("\n".join(describe_cameras()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
