"""Opus through libopus: a voice there and back, pauses, losses, and packets that are none."""

import av
import numpy as np
import pytest

from shared.errors import KeycastError, RequestError
from shared.media.opus import MAX_BYTES, RATE, SAMPLES, OpusDecoder, OpusEncoder, Sound, samples_of

BLOCKS = 60


def voice(blocks: int = BLOCKS) -> Sound:
    """Something like vowels: a buzz whose pitch and formants wander, louder and softer."""
    t = np.arange(blocks * SAMPLES) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    low, high = 500 + 250 * np.sin(2 * np.pi * 2.1 * t), 1500 + 500 * np.sin(2 * np.pi * 1.7 * t)
    total = np.zeros_like(t)
    for k in range(1, 25):
        strength = 1 / (1 + ((k * pitch - low) / 120) ** 2) + 0.6 / (1 + ((k * pitch - high) / 180) ** 2)
        total += (strength + 0.02) * np.sin(k * phase)
    return np.asarray(3000 * total * np.clip(np.sin(2 * np.pi * 3.5 * t), 0, 1), np.int16)


def coded(sound: Sound, kbps: float = 18, loss: int = 0) -> list[bytes]:
    encoder = OpusEncoder(kbps)
    encoder.expect_loss(loss)
    return [encoder.encode(block) for block in sound.reshape(-1, SAMPLES)]


def spectra(sound: Sound) -> np.ndarray:
    frames = sound.astype(float).reshape(-1, 960) * np.hanning(960)
    return 20 * np.log10(np.abs(np.fft.rfft(frames))[:, :160] + 30)


def test_a_voice_comes_back_as_late_as_the_encoder_says() -> None:
    sound = voice()
    encoder, decoder = OpusEncoder(18), OpusDecoder()
    heard = np.concatenate([decoder.decode(encoder.encode(block)) for block in sound.reshape(-1, SAMPLES)])
    shifts = range(0, 700, 4)
    fits = [float(np.dot(heard[shift : 40000 + shift].astype(float), sound[:40000])) for shift in shifts]
    assert abs(shifts[int(np.argmax(fits))] - encoder.delay) <= 48
    delayed, original = heard[encoder.delay :], sound[: len(sound) - encoder.delay]
    assert np.corrcoef(delayed, original)[0, 1] > 0.8


def test_the_rate_is_about_what_was_asked_for() -> None:
    for kbps in (12, 18):
        size = sum(map(len, coded(voice(), kbps)))
        assert 0.4 * kbps < size * 8 / 1000 / (BLOCKS * 0.06) < 1.15 * kbps
    loud = np.random.default_rng(0).integers(-30000, 30000, SAMPLES, dtype=np.int16)
    assert 0 < len(OpusEncoder(64).encode(loud)) <= MAX_BYTES


def test_a_pause_costs_next_to_nothing() -> None:
    packets = coded(np.zeros(50 * SAMPLES, np.int16))
    assert packets[0]
    assert sum(not packet for packet in packets[10:]) >= 30


def test_other_decoders_read_it_too() -> None:
    sound = voice(20)
    decoder = av.CodecContext.create("libopus", "r")
    heard = [frame.to_ndarray() for packet in coded(sound) for frame in decoder.decode(av.Packet(packet))]
    assert sum(block.shape[-1] for block in heard) // 2 in range(19 * SAMPLES, 20 * SAMPLES + 1)


def test_a_copy_in_the_next_packet_is_better_than_a_guess() -> None:
    packets = coded(voice(), loss=20)
    lost = range(5, BLOCKS - 1, 7)
    whole = OpusDecoder()
    truth = [whole.decode(packet) if packet else whole.conceal() for packet in packets]

    def error(recover: bool) -> float:
        decoder, total = OpusDecoder(), 0.0
        for number, packet in enumerate(packets):
            if number not in lost:
                decoder.decode(packet) if packet else decoder.conceal()
                continue
            filled = decoder.recover(packets[number + 1]) if recover else decoder.conceal()
            total += float(np.abs(spectra(filled) - spectra(truth[number])).mean())
        return total / len(lost)

    guessed, copied = error(False), error(True)
    assert guessed < 15
    assert copied < 0.8 * guessed


def test_a_long_gap_fades() -> None:
    decoder = OpusDecoder()
    for packet in coded(voice(20)):
        if packet:
            decoder.decode(packet)
    levels = [float(np.abs(decoder.conceal().astype(float)).mean()) for _ in range(20)]
    assert levels[-1] < 0.2 * max(levels[0], 20.0) + 5


@pytest.mark.parametrize("junk", [b"", b"\xff" * 40, b"\x50" + bytes(30), b"\x5c" + bytes(30), b"\x5b\x00"])
def test_what_is_no_packet_of_ours_is_refused(junk: bytes) -> None:
    with pytest.raises(KeycastError):
        OpusDecoder().decode(junk)


def test_random_bytes_after_a_good_first_one_do_no_harm() -> None:
    random, decoder = np.random.default_rng(1), OpusDecoder()
    for _ in range(500):
        packet = b"\x58" + random.bytes(int(random.integers(0, MAX_BYTES)))
        for read in (decoder.decode, decoder.recover):
            try:
                assert read(packet).shape == (SAMPLES,)
            except KeycastError:
                continue


def test_lengths_by_the_first_bytes() -> None:
    assert samples_of(b"\x58") == samples_of(b"\x7b\x03") == SAMPLES
    assert samples_of(b"\x59") == 2 * SAMPLES
    assert samples_of(b"\x7b") == samples_of(b"") == 0


def test_wrong_rates_and_sizes_are_refused() -> None:
    for kbps in (5, 65, float("nan")):
        with pytest.raises(RequestError, match="--audio-kbps"):
            OpusEncoder(kbps)
    with pytest.raises(ValueError, match="2880"):
        OpusEncoder(18).encode(np.zeros(960, np.int16))
