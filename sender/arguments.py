"""Command-line arguments for sending keypoints and pictures, shared by the sender and `bench`."""

from __future__ import annotations

import argparse

from shared.constants import SIZES

Arguments = argparse.ArgumentParser | argparse._ArgumentGroup
_SOURCE_NAMES = ("anonymous", "crop", "loop")
_NAMES = (
    "preset", "policy", "schedule", "frames_per_message", "quality", "drift", "redundancy", "max_kbps",
    "gallery", "source_kbps", "size", "audio", "audio_kbps",
)  # fmt: skip


def add_source_arguments(parser: Arguments) -> None:
    """Declare `--source` and how pictures are taken from it."""
    add = parser.add_argument
    add("--source", help="cam0, cam1, a device path, a video file, or a drawn person: demo, demo2")
    faceless = "send no picture, only motion; the other side shows its own --avatar"
    add("--anonymous", action="store_true", help=faceless)
    square = "the square to send, or 'centre'; default: around the head, following it once it settles"
    add("--crop", metavar="X,Y,SIZE", help=square)
    add("--loop", action="store_true", help="start a video file again when it ends")


def add_sending_arguments(parser: Arguments) -> None:
    """Declare the arguments, from `--preset` to `--audio-kbps`."""
    add = parser.add_argument
    presets = (
        "saver: coded, one block per message; balanced (default): coded, three frames per message; "
        "paper: raw float32"
    )
    add("--preset", choices=("saver", "balanced", "paper"), help=presets)
    policies = (
        "when to send: alternate (default): by --schedule; adaptive (default with saver): when the "
        "receiver's forecast has drifted"
    )
    add("--policy", choices=("alternate", "adaptive"), help=policies)
    schedule = "ship N frames, skip M, repeat (default: 3-3 for balanced, else 6-6)"
    add("--schedule", metavar="N-M", help=schedule)
    share = "frames per message: fewer means less delay, more means less overhead"
    add("--frames-per-message", type=int, metavar="N", help=share)
    add("--quality", type=int, metavar="N", help="quality of coded keypoints, 0 (finest) to 15 (default 5)")
    drift = "error of the forecast picture at which adaptive sends, in [0, 1] (default 0.04, with saver 0.05)"
    add("--drift", type=float, metavar="ERROR", help=drift)
    copies = "earlier messages to repeat coarsely in each message, 0 (default) to 3"
    add("--redundancy", type=int, default=0, metavar="N", help=copies)
    most = "highest bitrate of keypoint messages, headers included; default: what the path allows"
    add("--max-kbps", type=float, metavar="KBPS", help=most)
    further = "source pictures that the receiver may choose from, 1 to 8 (default 4)"
    add("--gallery", type=int, default=4, metavar="N", help=further)
    for_them = "bitrate of source pictures, over a minute (default 1.6; saver 0.8, except for new scenes)"
    add("--source-kbps", type=float, metavar="KBPS", help=for_them)
    side = "side of source pictures and of the video shown, in pixels (default: the network's own, 256)"
    add("--size", type=int, choices=SIZES, help=side)
    sound = (
        "also send sound: the file's own, or with a camera the microphone; or WHAT: mic, file or a "
        "microphone's name"
    )
    add("--audio", nargs="?", const="auto", metavar="WHAT", help=sound)
    add("--audio-kbps", type=float, default=18.0, metavar="KBPS", help="Opus bitrate, 6 to 64 (default 18)")


def sending_words(given: argparse.Namespace) -> list[str]:
    """Return the words of a sender's command line that say the same as `given`."""
    named = ((f"--{name.replace('_', '-')}", getattr(given, name)) for name in _NAMES)
    return [word for name, value in named if value is not None for word in (name, str(value))]


def stray_words(
    parser: argparse.ArgumentParser,
    given: argparse.Namespace,
    names: tuple[str, ...] = (*_SOURCE_NAMES, *_NAMES),
) -> str:
    """Return the first of `names` that `given` says other than `parser` does, as an option; "" for none.

    By default those that say how to send.
    """
    for name in names:
        if getattr(given, name) != parser.get_default(name):
            return f"--{name.replace('_', '-')}"
    return ""
