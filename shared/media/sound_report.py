"""Figures on a call's sound, reported in the same words by both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.media.voice_packet import PACKET_OVERHEAD
from shared.runtime.stats import kbps


def sound_figures(packets: int, opus_bytes: int, seconds: float) -> dict[str, float]:
    """Return the figures of `packets` over `seconds`; zeros where there was no sound.

    `audio_kbps` are the bytes of Opus, `audio_wire_kbps` all IP bytes around them too, over IPv4.
    """
    return {
        "audio_packets": packets,
        "audio_bytes": opus_bytes,
        "audio_kbps": kbps(opus_bytes, seconds),
        "audio_wire_kbps": kbps(opus_bytes + packets * PACKET_OVERHEAD, seconds),
    }


def sound_line(figures: Mapping[str, Any]) -> list[str]:
    """Return a line for people where there was sound."""
    if not figures.get("audio_packets"):
        return []
    return [
        f"sound: Opus {figures['audio_kbps']:.1f} kbps, with headers {figures['audio_wire_kbps']:.1f} kbps"
    ]
