"""`sender`: send a camera, a video file or the demo portrait to a receiver, as keypoints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shared.command import add_call_arguments, run_command
from shared.eventloop import run_async


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    commands = argparse.ArgumentParser(prog="sender", description=__doc__)
    add = commands.add_argument
    add("--source", required=True, help="cam0, cam1, a device path, a video file, or demo")
    add("--connect", metavar="URL", help="the receiver's address; default: the receiver on this machine")
    add("--token", help="the pairing token that the receiver shows")
    presets = "saver: coded, a block a message; balanced (default): coded, three frames; paper: raw float32"
    add("--preset", choices=("saver", "balanced", "paper"), help=presets)
    policies = "alternate (default): by --schedule; adaptive: when the receiver's forecast has drifted"
    add("--policy", choices=("alternate", "adaptive"), default="alternate", help=policies)
    add("--schedule", metavar="N-M", default="6-6", help="ship N frames, skip M, repeat (default 6-6)")
    drift = "how far a forecast's picture may be off before adaptive ships, in [0, 1] (default 0.02)"
    add("--drift", type=float, default=0.02, metavar="ERROR", help=drift)
    add("--quality", type=int, metavar="N", help="of coded keypoints, 0 (finest) to 15 (default 6)")
    copies = "earlier messages that each one carries a coarse copy of, 0 (default) to 3"
    add("--redundancy", type=int, default=0, metavar="N", help=copies)
    share = "frames that share a message: fewer is sooner, more is leaner"
    add("--frames-per-message", type=int, metavar="N", help=share)
    add("--crop", metavar="X,Y,SIZE", help="the square to send; default: the centre square")
    further = "source pictures that the receiver may choose from, 1 to 8 (default 4)"
    add("--gallery", type=int, default=4, metavar="N", help=further)
    add("--source-kbps", type=float, default=2.0, metavar="KBPS", help="for them, over a minute (default 2)")
    add("--loop", action="store_true", help="start a video file again when it ends")
    add_call_arguments(commands)
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)

    def work() -> int:
        # Imported here, so that --help and wrong arguments answer at once.
        from sender.app import SenderOptions, run
        from sender.crop import Crop
        from sender.gallery import GalleryOptions
        from sender.presets import Sending
        from shared.config import Schedule

        options = SenderOptions(
            source=given.source,
            url=given.connect,
            token=given.token,
            sending=Sending(
                preset=given.preset,
                policy=given.policy,
                schedule=Schedule.parse(given.schedule),
                frames_per_message=given.frames_per_message,
                quality=given.quality,
                threshold=given.drift,
                redundancy=given.redundancy,
            ),
            crop=Crop.parse(given.crop) if given.crop else None,
            loop=given.loop,
            gallery=GalleryOptions(given.gallery, given.source_kbps),
            backbone=given.backbone,
            checkpoint=given.checkpoint,
            device=given.device,
            threads=given.threads,
            stats=given.stats,
        )
        return run_async(run(options))

    return run_command(work, given.debug)


if __name__ == "__main__":
    sys.exit(main())
