"""`python -m models.training rehearse`: verify a rented machine, then train on it, within a time limit."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from models.clips.layouts import training_part
from models.devices import choose_device, device_words
from models.training.backbones import backbone_command
from models.training.data import drawn
from models.training.data.frames import fill_cache
from models.training.rehearsal.machine_checks import training_line
from models.training.run import positive_float, positive_int
from shared.errors import RequestError
from shared.runtime.command import add_device_argument

# Of the whole time: what checking may take, and what training leaves for its beginning and its last weights.
_CHECKING, _MARGIN = 0.3, 0.06
_MIN_MINUTES = 0.02
_FRAMES_OF_DRAWN = 24
_VALIDATE_MINUTES = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--minutes", type=positive_float, default=8.0, help="total duration (default: 8)")
    add("--clips", nargs="+", type=Path, help="folders of clips (default: draw people to train on)")
    add("--validate", nargs="+", type=Path, help="folders of clips of other people")
    add("--landmarks", nargs="+", type=Path, metavar="FOLDER", help="as for `models.training backbone`")
    add("--stills", type=Path, help="a folder of JPEG portraits")
    add("--perceptual", type=Path, help="SqueezeNet v1.1 convolutions as safetensors")
    add("--init", type=Path, metavar="FOLDER", help="start from these weights instead of from scratch")
    add(
        "--people",
        type=positive_int,
        default=40,
        help="how many people to draw without --clips (default: 40)",
    )
    add("--batch", type=positive_int, help="pictures per step")
    add("--rate", type=positive_float, help="highest learning rate")
    add("--fomm", type=Path, metavar="FILE", help="a published checkpoint to verify")
    add(
        "--output",
        type=Path,
        default=Path("runs/rehearsal"),
        help="folder for everything (default: runs/rehearsal)",
    )
    add("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded frames")
    add("--skip-verify", action="store_true", help="only train")
    add_device_argument(parser)


def rehearse(options: argparse.Namespace) -> int:
    """Verify in a process of its own while clips are drawn or decoded here, then train for what is left.

    Weights are left every minute. Returns 0; 1 where a check has failed, 130 where it was stopped.
    """
    began = time.monotonic()
    device = choose_device(options.device)
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {output} ({error}); choose another --output.") from error
    print(f"rehearsal of {options.minutes:g} minutes on {device_words(device)}", flush=True)
    checking = None if options.skip_verify else _checking(options, device)
    try:
        if options.clips is None:
            _draw(options)
        fill_cache(training_part(options.clips), options.cache, 0, 1)
        failed = checking is not None and _finished(checking, began, options.minutes)
    finally:
        if checking is not None and checking.poll() is None:
            checking.kill()
            checking.wait()
    left = options.minutes * (1 - _MARGIN) - (time.monotonic() - began) / 60
    code = backbone_command.train(_training(options, device, max(left, _MIN_MINUTES)))
    if code == 0 and failed:
        print(f"not all checks have passed: see {output / 'verify.json'}")
    return code or int(failed)


def _checking(options: argparse.Namespace, device: str) -> subprocess.Popen[bytes]:
    """Begin to verify. A GPU that is left in a bad state by it is so for that process alone."""
    seconds = 60 * options.minutes * _CHECKING
    line = ["--device", device, "--seconds", f"{seconds:.0f}", "--json", str(options.output / "verify.json")]
    if options.fomm is not None:
        line += ["--fomm", str(options.fomm)]
    command = [sys.executable, "-m", "models.training", "verify", *line]
    root = str(Path(__file__).parents[3])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def _finished(checking: subprocess.Popen[bytes], began: float, minutes: float) -> bool:
    """Wait for the checks, not for ever; return whether one has failed."""
    patience = 60 * minutes * 2 * _CHECKING - (time.monotonic() - began)
    try:
        return checking.wait(max(1.0, patience)) != 0
    except subprocess.TimeoutExpired:
        print("the checks took too long and were stopped", flush=True)
        return True


def _draw(options: argparse.Namespace) -> None:
    """Draw people to train on, and others to validate on; what is there is not drawn again."""
    for name, people, seed in (("drawn", options.people, 0), ("others", max(2, options.people // 10), 1)):
        folder = options.output / name
        parser = argparse.ArgumentParser()
        drawn.add_arguments(parser)
        asked = parser.parse_args(["--output", str(folder)])
        asked.people, asked.frames, asked.seed = people, _FRAMES_OF_DRAWN, seed
        drawn.draw(asked)
    options.clips = [options.output / "drawn"]
    options.validate = options.validate or [options.output / "others"]
    options.landmarks = options.landmarks or options.clips


def _training(options: argparse.Namespace, device: str, minutes: float) -> argparse.Namespace:
    """Return the options of `models.training backbone` for a run of so many minutes."""
    run = training_line(
        device, "--clips", *map(str, options.clips), "--minutes", f"{minutes:.4f}",
        "--every", f"{_VALIDATE_MINUTES}", "--cache", str(options.cache), "--output", str(options.output),
    )  # fmt: skip
    for name in ("validate", "landmarks", "stills", "perceptual", "init", "batch", "rate"):
        setattr(run, name, getattr(options, name))
    return run
