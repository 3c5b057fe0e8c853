"""A packet of each preset, byte for byte: what was sent yesterday must be readable tomorrow."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from models.build import SHIPPED, TABLES
from models.lite.layout import LAYOUT
from sender.presets import PRESETS, Sending, frames_per_message, make_codec
from shared.codec.keypoint_codec import QUALITY, Block, Codec, Copy
from shared.codec.packet import KeypointPacket
from shared.codec.tables import CodecTables
from shared.keypoints import Floats

CODEC_TABLES = CodecTables.load(SHIPPED / "lite" / TABLES)
# Of each, its bytes, and the first digits of SHA-256 of the frames that they stand for.
PACKETS: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[1] / "data" / "golden_packets.json").read_text()
)
FIRST, LATE_MS = 70_000, 9
CHANGED = (
    f"a packet is no longer coded as it was (constriction {version('constriction')}). Where a new version of "
    "it changed the bytes, bound it in pyproject.toml: older keycasts refuse this one by the tables' hash. "
    "Where keycast did, with the same tables (their hash is in the hello), raise PROTOCOL. Only then write "
    "golden_packets.json anew."
)


def block(count: int, copies: int) -> Block:
    """Points of the codec's grid, which are the same on every machine, some too far out for the tables."""
    n, k = np.mgrid[:18, : len(CODEC_TABLES.first)]
    indices = (n * (k % 5 - 2) + k * 37 % 23 - 11 + (k == 7) * 90).astype(np.int64)
    track: Floats = CODEC_TABLES.quantizer.restore(indices, QUALITY)
    return Block(
        track[12 : 12 + count], [Copy(3 * back, track[12 - 3 * back]) for back in range(1, copies + 1)]
    )


def digest(frames: Floats) -> str:
    return hashlib.sha256(frames.astype("<f4").tobytes()).hexdigest()[:16]


def codec_of(name: str) -> tuple[Codec, Block]:
    preset, copies = name.split(maxsplit=1)[0], 3 if name.endswith("with copies") else 0
    _, codec = make_codec(Sending(preset), CODEC_TABLES, LAYOUT)
    return codec, block(frames_per_message(Sending(preset), preset, codec), copies)


def test_every_preset_has_its_packet() -> None:
    assert {name.split()[0] for name in PACKETS} == set(PRESETS)


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_is_coded_as_it_always_was(name: str) -> None:
    codec, given = codec_of(name)
    packet = KeypointPacket(FIRST, LATE_MS, len(given.frames), codec.encode(given)).pack()
    assert packet.hex() == PACKETS[name][0], CHANGED


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_of_before_is_read(name: str) -> None:
    codec, given = codec_of(name)
    packet = KeypointPacket.parse(bytes.fromhex(PACKETS[name][0]), FIRST + 5)
    assert (packet.first, packet.late_ms, packet.count) == (FIRST, LATE_MS, len(given.frames))
    read = codec.decode(packet.payload, packet.count)
    assert digest(read.frames) == PACKETS[name][1], CHANGED
    off = CODEC_TABLES.quantizer.coordinates(read.frames, QUALITY)
    off -= CODEC_TABLES.quantizer.coordinates(given.frames, QUALITY)
    assert np.sqrt(np.square(off).mean()) < 0.5
    assert [copy.back for copy in read.copies] == [copy.back for copy in given.copies]
