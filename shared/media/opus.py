"""Opus (RFC 6716) for a voice: 48 kHz, mono, packets of 60 ms in calls, through libopus itself.

PyAV has an encoder and a decoder of Opus as well, but no way to ask them to conceal a packet that is missing
(from what came before it, or from the coarse copy that the next one carries), nor to keep silent in pauses.
So libopus is called here: the one that comes with PyAV, or the system's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.errors import KeycastError, RequestError

Sound = npt.NDArray[np.int16]
"""Samples (n,), mono, 48000 per second."""

RATE = 48_000
SAMPLES = 2880
"""Of a packet: 60 ms, the longest that Opus codes at once."""
MIN_KBPS, MAX_KBPS = 6, 64
MAX_BYTES = 480
"""Of a packet at `MAX_KBPS`."""
_VOIP, _OK = 2048, 0
_SET_BITRATE, _SET_MAX_BANDWIDTH, _SET_INBAND_FEC, _SET_PACKET_LOSS = 4002, 4004, 4012, 4014
_SET_DTX, _SET_SIGNAL, _GET_LOOKAHEAD = 4016, 4024, 4027
_WIDEBAND, _VOICE = 1103, 3001
_MAX_SAMPLES = 5760
# A packet this short says that there is nothing to say (opus_encode's documentation).
_SILENT_BYTES = 2
# Samples of one frame at 48 kHz, by the five high bits of a packet's first byte (RFC 6716, 3.1).
_FRAME_SAMPLES = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


def samples_of(packet: bytes) -> int:
    """Return how many samples (at 48 kHz) a mono packet codes, by its first bytes; 0 where it is not one."""
    if not packet or packet[0] & 0x04:
        return 0
    told = packet[1] & 0x3F if len(packet) > 1 else 0
    return (1, 2, 2, told)[packet[0] & 0x03] * _FRAME_SAMPLES[packet[0] >> 3]


class OpusEncoder:
    """Codes `samples` (60 ms) at a time at about `kbps` (6 to 64); a decoder gives them `delay` late."""

    def __init__(self, kbps: float, samples: int = SAMPLES) -> None:
        if not MIN_KBPS <= kbps <= MAX_KBPS:
            least, most = MIN_KBPS, MAX_KBPS
            raise RequestError(
                f"The audio bitrate must be {least} to {most} kbps, not {kbps:g}; change --audio-kbps."
            )
        self._samples = samples
        self._library = _library()
        error = ctypes.c_int()
        self._state = self._library.opus_encoder_create(RATE, 1, _VOIP, ctypes.byref(error))
        _check(error.value)
        self._set(_SET_BITRATE, round(1000 * kbps))
        # For sound above 8 kHz Opus leaves its coder of voices, whose packets alone can carry a copy.
        self._set(_SET_MAX_BANDWIDTH, _WIDEBAND)
        self._set(_SET_SIGNAL, _VOICE)
        self._set(_SET_DTX, 1)
        self._set(_SET_INBAND_FEC, 1)
        delay = ctypes.c_int32()
        _check(self._library.opus_encoder_ctl(self._state, _GET_LOOKAHEAD, ctypes.byref(delay)))
        self.delay = delay.value

    def expect_loss(self, percent: int) -> None:
        """Have packets carry a coarse copy of the one before, as good as a loss of `percent` is worth."""
        self._set(_SET_PACKET_LOSS, min(max(percent, 0), 100))

    def encode(self, sound: Sound) -> bytes:
        """Return the packet of as many samples; b"" in a pause, when nothing needs to be sent."""
        given = np.ascontiguousarray(sound, np.int16)
        if given.shape != (self._samples,):
            raise ValueError(f"a packet takes {self._samples} samples, not {given.shape}")
        out = ctypes.create_string_buffer(MAX_BYTES)
        length = self._library.opus_encode(self._state, given.ctypes.data, self._samples, out, MAX_BYTES)
        _check(min(length, 0))
        return out.raw[:length] if length > _SILENT_BYTES else b""

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_encoder_destroy(self._state)

    def _set(self, request: int, value: int) -> None:
        _check(self._library.opus_encoder_ctl(self._state, request, ctypes.c_int32(value)))


class OpusDecoder:
    """Turns packets, one after the other, back into sound, and fills in those that are missing."""

    def __init__(self) -> None:
        self._library = _library()
        error = ctypes.c_int()
        self._state = self._library.opus_decoder_create(RATE, 1, ctypes.byref(error))
        _check(error.value)

    def decode(self, packet: bytes) -> Sound:
        """Return a packet's 2880 samples. Raise KeycastError where it is none, or of another length."""
        if samples_of(packet) != SAMPLES:
            raise KeycastError("A sound packet is not 60 ms of mono Opus.")
        return self._decode(packet, 0)

    def conceal(self) -> Sound:
        """Return 2880 samples in place of a packet that is missing; longer gaps fade to the room's noise."""
        return self._decode(None, 0)

    def recover(self, following: bytes) -> Sound:
        """Return the missing packet before `following` from the copy that this carries, or concealed.

        Raise KeycastError where `following` is no packet.
        """
        return self._decode(following, 1)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_decoder_destroy(self._state)

    def _decode(self, packet: bytes | None, recover: int) -> Sound:
        out = np.zeros(_MAX_SAMPLES, np.int16)
        # With less room, a longer packet would be refused; concealment fills the room it is given.
        size = len(packet) if packet is not None else 0
        count = self._library.opus_decode(self._state, packet, size, out.ctypes.data, SAMPLES, recover)
        _check(min(count, 0))
        return out[:SAMPLES]


def has_opus() -> bool:
    """Say whether there is a libopus to code and decode with."""
    try:
        _library()
    except RequestError:
        return False
    return True


@cache
def _library() -> ctypes.CDLL:
    """Return libopus. Raise RequestError where there is none."""
    for name in _names():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        _declare(library)
        return library
    raise RequestError("Sound needs libopus, which was not found; install it (apt install libopus0).")


def _names() -> list[str]:
    found = find_spec("av")
    bundled: list[str] = []
    if found is not None and found.origin:
        package = Path(found.origin).parent
        folders = (package.parent / "av.libs", package / ".dylibs")
        bundled = [str(file) for folder in folders for file in sorted(folder.glob("*opus*"))]
    system = ctypes.util.find_library("opus")
    return [*bundled, *([system] if system else [])]


def _declare(library: ctypes.CDLL) -> None:
    pointer, number, small = ctypes.c_void_p, ctypes.c_int, ctypes.c_int32
    for name, result, arguments in (
        ("opus_encoder_create", pointer, (small, number, number, pointer)),
        ("opus_encoder_destroy", None, (pointer,)),
        ("opus_encode", small, (pointer, pointer, number, ctypes.c_char_p, small)),
        ("opus_decoder_create", pointer, (small, number, pointer)),
        ("opus_decoder_destroy", None, (pointer,)),
        ("opus_decode", number, (pointer, ctypes.c_char_p, small, pointer, number, number)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    # The others are distinguished by what is asked, so their types are given with each call.
    library.opus_encoder_ctl.restype = number
    library.opus_encoder_ctl.argtypes = (pointer, number)


def _check(error: int) -> None:
    if error != _OK:
        raise KeycastError(f"libopus failed (error {error}).")
