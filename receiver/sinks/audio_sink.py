"""Interface of sinks that take sound in addition to pictures."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from shared.media.opus import Sound


@runtime_checkable
class AudioSink(Protocol):
    """Takes sound by sample number, 48000 per second, mono; sample 1600 n is the moment of frame n.

    All is called from one thread, next to the one that writes pictures.
    """

    lead: float
    """Seconds before it is heard that sound is wanted; 0 where it is only kept."""

    def expect_sound(self) -> None:
        """Make ready for sound: a call has some."""
        ...

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:
        """Take samples from `first` on, ascending, to be heard at `heard_at` (monotonic seconds)."""
        ...
