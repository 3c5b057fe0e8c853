"""Choice of the sound source for a picture source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sender.capture import is_camera
from sender.demo import DEMOS
from sender.demo_sound import DemoSound
from sender.microphone import Microphone
from sender.sound import FileSound, SoundSource
from shared.errors import RequestError
from shared.media.echo import EchoCanceller, echo_canceller

OWN, MICROPHONE, FILE = "auto", "mic", "file"


def is_microphone(spec: str, source: str) -> bool:
    """Say whether `open_sound` opens a microphone for these: only that hears an echo."""
    return spec not in (OWN, FILE) or (spec == OWN and is_camera(source))


def make_canceller(spec: str | None, source: str, notify: Callable[[str], None]) -> EchoCanceller | None:
    """Return what cleans the sound of `spec` and `source` of a loudspeaker's; None where it hears none.

    `notify` gets a sentence where there is no echo canceller here.
    """
    return echo_canceller(notify) if spec is not None and is_microphone(spec, source) else None


def open_sound(spec: str, source: str, loop: bool, canceller: EchoCanceller | None = None) -> SoundSource:
    """Open the sound for a video `source` (see `sender.capture.open_source`).

    `spec` "auto" is the file's own, or for a camera the microphone; "mic" any microphone and "file" the
    file's in every case; anything else is a microphone's number or a part of its name. `canceller` cleans
    what a microphone records. Raises RequestError, in one sentence, where there is nothing to open.
    """
    if is_microphone(spec, source):
        return Microphone(None if spec in (OWN, MICROPHONE) else spec, canceller)
    if is_camera(source):
        raise RequestError("A camera has no sound of its own; use the microphone: --audio mic.")
    return DemoSound(source) if source in DEMOS else FileSound(Path(source), loop)
