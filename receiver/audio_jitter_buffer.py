"""Sound packets in, continuous sound out: what is missing is filled in. Pure; no clock is read."""

from __future__ import annotations

import numpy as np

from shared.errors import KeycastError
from shared.media.opus import RATE, SAMPLES, OpusDecoder, Sound
from shared.protocol.tally import VoiceTally

MAX_WAITING = 128
"""Packets: nearly eight seconds. What comes beyond is dropped."""
MAX_FILLED = 16
"""Packets in a row that are filled in, one second; the sender's pauses are shorter between two packets."""
_REMEMBERED = RATE // 2


class AudioJitterBuffer:
    """The sound of a call by sample number; sample 1600 n is the moment of frame n.

    Blocks that are late or missing are counted in `tally`.
    """

    def __init__(self, tally: VoiceTally | None = None) -> None:
        self._tally = tally or VoiceTally()
        self._decoder = OpusDecoder()
        self._waiting: dict[int, bytes] = {}
        self._next: int | None = None
        self._decoded, self._first = np.zeros(0, np.int16), 0
        self._missing = MAX_FILLED

    def put(self, number: int, payload: bytes) -> None:
        """Take in block `number`. One that is too late is counted, one too many dropped."""
        if self._next is not None and number < self._next:
            self._tally.late += 1
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[number] = payload

    def read(self, first: int, count: int) -> Sound:
        """Return samples `first` to `first + count - 1`; silence where there never was any.

        Reading on costs decoding once. After a jump back by over half a second there is silence, until new
        sound comes: nothing is decoded twice.
        """
        if self._next is None or not self._first <= first <= self._next * SAMPLES:
            self._seek(first // SAMPLES)
        while self._first + len(self._decoded) < first + count:
            self._append(self._decode_next())
        start = first - self._first
        sound = self._decoded[start : start + count].copy()
        gone = max(start - _REMEMBERED, 0)
        self._decoded, self._first = self._decoded[gone:], self._first + gone
        return sound

    def _seek(self, block: int) -> None:
        self._next = block
        self._decoded, self._first = np.zeros(0, np.int16), block * SAMPLES
        self._waiting = {number: data for number, data in self._waiting.items() if number >= block}

    def _append(self, sound: Sound) -> None:
        self._decoded = np.concatenate([self._decoded, sound])

    def _decode_next(self) -> Sound:
        assert self._next is not None
        number, self._next = self._next, self._next + 1
        payload = self._waiting.pop(number, None)
        if payload is not None:
            try:
                sound = self._decoder.decode(payload)
            except KeycastError:  # whole by its first bytes, and broken inside
                payload = None
        if payload is None:
            return self._fill(number)
        self._missing = 0
        return sound

    def _fill(self, number: int) -> Sound:
        """Return what stands in for a block that is not there: its copy, a guess, and in the end silence."""
        self._missing += 1
        following = self._waiting.get(number + 1)
        if self._missing > MAX_FILLED:
            return np.zeros(SAMPLES, np.int16)
        if following is not None:
            try:
                sound = self._decoder.recover(following)
            except KeycastError:
                return self._decoder.conceal()
            self._tally.recovered += 1
            return sound
        self._tally.filled += 1
        return self._decoder.conceal()
