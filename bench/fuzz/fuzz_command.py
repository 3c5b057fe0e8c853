"""`bench fuzz`: a million mutated packets against the decoder, or with `--transport` all other input.

Each is decoded or refused; nothing else may come out: no other error, no NaN, no number out of range, no more
memory than a block takes, no decoding that takes a second. For the transport see `bench.fuzz.fuzz_transport`.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench.fuzz import fuzz_transport
from bench.fuzz.fuzz_inputs import mutate
from models.build import SHIPPED, TABLES
from shared.codec.keypoint_codec import Block, CodedCodec, Copy
from shared.codec.packet import KeypointPacket
from shared.codec.quantization import MAX_MAGNITUDE
from shared.codec.tables import CodecTables
from shared.constants import MAX_PACKET
from shared.errors import KeycastError, PeerError, RequestError

MAX_BYTES = 4 << 20
MAX_SECONDS = 1.0


@dataclass
class Outcome:
    """Numbers of packets refused and decoded, and the CPU seconds that the slowest of them took."""

    refused: int = 0
    decoded: int = 0
    slowest: float = 0.0


def packets(tables: CodecTables, seed: int, count: int) -> Iterator[bytes]:
    """Give packets of `count` frames, sound ones changed at random, for ever."""
    chance = np.random.default_rng(seed)
    codec = CodedCodec(tables)
    sound: list[bytes] = []
    for _ in range(32):
        moves = chance.normal(0, 0.5, (count + 12, tables.dimensions)).cumsum(0)
        indices = np.rint(chance.normal(0, 8, tables.dimensions) + moves)
        track = tables.quantizer.restore(indices.astype(np.int64), codec.quality)
        copies = [Copy(back, track[12 - back]) for back in (1, 4, 6)] if chance.random() < 0.5 else []
        sound.append(KeypointPacket(600, 3, count, codec.encode(Block(track[12:], copies))).pack())
    while True:
        data = bytearray(sound[chance.integers(len(sound))])
        for _ in range(int(chance.integers(1, 6))):
            mutate(data, chance)
        yield bytes(data[: MAX_PACKET + 8])


def fuzz(tables: CodecTables, total: int, seed: int = 0, count: int = 6, progress: bool = False) -> Outcome:
    """Decode `total` mutated packets of `count` frames; KeycastError where one does what it must not."""
    outcome, codec = Outcome(), CodedCodec(tables)
    source = packets(tables, seed, count)
    for _ in tqdm(range(total), disable=not progress, unit="packet"):
        data = next(source)
        began = time.thread_time()
        try:
            packet = KeypointPacket.parse(data, 2**16 - 1)
            block = codec.decode(packet.payload, packet.count)
        except PeerError:
            outcome.refused += 1
        else:
            outcome.decoded += 1
            for frame in (block.frames, *(copy.frame for copy in block.copies)):
                if not bool(np.all(np.abs(frame) <= MAX_MAGNITUDE)):
                    raise KeycastError(f"The packet {data.hex()} decoded to invalid numbers.")
        outcome.slowest = max(outcome.slowest, time.thread_time() - began)
    if outcome.slowest > MAX_SECONDS:
        raise KeycastError(f"Decoding a packet took {outcome.slowest:.1f} s of CPU time.")
    return outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--packets", type=int, default=1_000_000, help="how many (default a million)")
    parser.add_argument("--seed", type=int, default=0)
    fuzz_transport.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Decode mutated packets and say what became of them. Returns the exit code."""
    if options.transport:
        return fuzz_transport.run(options)
    if options.packets < 1:
        raise RequestError(f"--packets must be 1 or more, not {options.packets}.")
    tables = CodecTables.load(SHIPPED / "lite" / TABLES)
    tracemalloc.start()
    fuzz(tables, min(options.packets, 2000), options.seed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if peak > MAX_BYTES:
        raise KeycastError(f"Decoding took {peak} bytes, over {MAX_BYTES}.")
    outcome = fuzz(tables, options.packets, options.seed + 1, progress=True)
    print(
        f"{outcome.refused} refused, {outcome.decoded} decoded to valid numbers, nothing else; the slowest "
        f"took {1000 * outcome.slowest:.1f} ms of CPU time, and at most {peak / 1e6:.1f} MB were in use"
    )
    return 0
