"""Inputs of `bench fuzz`: sound ones, changed at random, and those that led to something new again."""

from __future__ import annotations

from struct import pack

import numpy as np

Chance = np.random.Generator
_MAX_KEPT = 2048
_SPLICED = 0.1


def mutate(data: bytearray, chance: Chance) -> None:
    """Change something in `data`, in place: a bit, a byte, some more bytes, some fewer, or the rest of it."""
    at = int(chance.integers(len(data) + 1))
    match int(chance.integers(5)):
        case 0 if data:
            data[min(at, len(data) - 1)] ^= 1 << int(chance.integers(8))
        case 1 if data:
            data[min(at, len(data) - 1)] = int(chance.integers(256))
        case 2:
            data[at:at] = chance.bytes(int(chance.integers(1, 40)))
        case 3:
            del data[at : at + int(chance.integers(1, 40))]
        case _:
            data[at:] = chance.bytes(len(data) - at)


class Corpus:
    """Inputs to start from: the first ones given, and each that led to a behaviour not seen before."""

    def __init__(self, seeds: list[bytes], chance: Chance) -> None:
        self._inputs, self._chance = list(seeds), chance
        self._seen: set[object] = set()

    def __len__(self) -> int:
        return len(self._inputs)

    def next(self, most: int) -> bytes:
        """Return an input of at most `most` bytes: one of these, changed up to three times, or two in one."""
        data = bytearray(self._one())
        if self._chance.random() < _SPLICED:
            data[int(self._chance.integers(len(data) + 1)) :] = self._one()
        for _ in range(int(self._chance.integers(4))):
            mutate(data, self._chance)
        return bytes(data[:most])

    def learn(self, data: bytes, behaviour: object) -> None:
        """Keep `data` where nothing before has led to `behaviour`."""
        if behaviour not in self._seen and len(self._inputs) < _MAX_KEPT:
            self._seen.add(behaviour)
            self._inputs.append(data)

    def _one(self) -> bytes:
        return self._inputs[int(self._chance.integers(len(self._inputs)))]


def chunk(kind: int, flags: int, body: bytes) -> bytes:
    """Return an SCTP chunk (RFC 9260, 3.2), padded."""
    return pack("!BBH", kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def sctp_chunks(chance: Chance, received: int, sent: int) -> bytes:
    """Return one to five chunks of any kind, most of them possible.

    To a side that has received all up to number `received`, and had all up to `sent` confirmed.
    """
    kinds = (_data, _data, _sack, _sack, _forward, _init, _parameters, _parameters, _plain)
    count = 1 + int(chance.integers(5)) * int(chance.random() < 0.3)
    makers = [kinds[int(chance.integers(len(kinds)))] for _ in range(count)]
    return b"".join(make(chance, received, sent) for make in makers)


def _near(chance: Chance, number: int) -> int:
    far = int(chance.choice([0, 1, 1, 1, 2, 5, 300, 5000, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 3]))
    return (number + far) % 2**32


def _data(chance: Chance, received: int, _: int) -> bytes:
    # Most of them would not end a connection by themselves: what comes after is of interest, too.
    stream = 900 if chance.random() < 0.02 else int(chance.choice([0, 0, 2, 2, 2]))
    kind = int(chance.choice([50, 51, 56])) if chance.random() < 0.05 else 53
    flags = int(chance.integers(16)) if stream or chance.random() < 0.1 else 7
    opens = pack("!BBHLHH", 3, 0x81, 0, 0, 2, 0) + b"hi"
    message = opens if kind == 50 else chance.bytes(int(chance.choice([0, 1, 60, 60, 400, 1100])))
    header = pack("!LHHL", _near(chance, received), stream, int(chance.integers(4)), kind)
    return chunk(0, flags, header + message)


def _sack(chance: Chance, _: int, sent: int) -> bytes:
    count = 2 * int(chance.choice([0, 0, 1, 2, 250]))
    if chance.random() < 0.7:
        gaps = sorted(int(number) for number in chance.choice(np.arange(2, 9), min(count, 4), replace=False))
    else:
        gaps = [int(number) for number in chance.integers(0, 2 ** int(chance.integers(1, 17)), count)]
    counts = (len(gaps) // 2, 0) if chance.random() < 0.9 else (int(chance.integers(65536)), 3)
    return chunk(3, 0, pack("!LLHH", _near(chance, sent), 1 << 17, *counts) + pack(f"!{len(gaps)}H", *gaps))


def _forward(chance: Chance, received: int, _: int) -> bytes:
    count = int(chance.choice([0, 0, 1, 1, 2, 250]))
    streams = chance.integers(0, 2 ** int(chance.integers(2, 17)), 2 * count)
    return chunk(192, 0, pack("!L", _near(chance, received)) + streams.astype(">u2").tobytes())


def _init(chance: Chance, received: int, _: int) -> bytes:
    head = pack("!LLHHL", int(chance.integers(2**32)), 1 << 17, 65535, 65535, received)
    return chunk(int(chance.integers(1, 3)), 0, head + _list(chance, received))


def _parameters(chance: Chance, received: int, _: int) -> bytes:
    return chunk(int(chance.choice([4, 4, 4, 4, 5, 5, 5, 9, 9, 6, 130])), 0, _list(chance, received))


def _list(chance: Chance, received: int) -> bytes:
    listed = b""
    for _ in range(int(chance.choice([0, 1, 1, 2, 15, 40], p=[0.2, 0.3, 0.3, 0.1, 0.08, 0.02]))):
        kind = int(chance.choice([7, 13, 16, 17, 0x8008, 0xC000]))
        body = pack("!LLL", _near(chance, received), _near(chance, received), _near(chance, received))
        body += chance.bytes(2 * int(chance.integers(4)))
        length = 4 + len(body) if chance.random() < 0.95 else int(chance.choice([0, 3, 65535]))
        listed += pack("!HH", kind, length) + body + bytes(-len(body) % 4)
    return listed


def _plain(chance: Chance, received: int, _: int) -> bytes:
    kind = int(chance.choice([7, 8, 8, 10, 10, 11, 11, 14, 77, 77, 255]))
    return chunk(kind, int(chance.integers(256)), pack("!L", received) * int(chance.integers(8)))
