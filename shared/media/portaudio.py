"""Access to microphone and loudspeaker: the package sounddevice over PortAudio, an extra of keycast."""

from __future__ import annotations

from typing import Any

from shared.errors import RequestError


def portaudio() -> Any:  # noqa: ANN401 - the package has no types
    """Return the module sounddevice. Raise RequestError where it or PortAudio is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise RequestError(
            "Microphone and loudspeaker need the package sounddevice: pip install 'keycast[audio]'."
        ) from error
    except OSError as error:
        raise RequestError(
            "Microphone and loudspeaker need PortAudio, which was not found: apt install libportaudio2."
        ) from error
    return sounddevice


def device_named(name: str | None) -> int | str | None:
    """Return what sounddevice calls a device: its number, a part of its name, or None for the default."""
    return int(name) if name is not None and name.isascii() and name.isdigit() else name
