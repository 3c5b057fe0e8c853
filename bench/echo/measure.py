"""Measures one case: how much of the echo is gone, how soon, and what is left of the near voice."""

from __future__ import annotations

import time

import numpy as np

from bench.echo.cases import Case, sounds
from bench.echo.devices import cleaned, recorded
from bench.echo.signals import Signal, level_db, si_sdr_db
from shared.media.echo import EchoCanceller
from shared.media.opus import RATE, Sound

SETTLED_SECONDS = 2.0
LOWERED_DB = 25.0
_PIECE = RATE // 4
_AUDIBLE_DB = 40.0
"""A quarter of a second whose echo is softer does not count: it is pause."""


def measured(case: Case, seconds: float, seed: int) -> dict[str, float]:
    """Return the figures of a case, those that it has.

    `echo_lowered_db` and `worst_second_db`, from two seconds on (after the change midway where there is one);
    `lowered_in_s`, how long it takes until a quarter of a second of echo is lowered by 25 dB (`again_in_s`,
    after the change). Of the near voice, beside what the same processing makes of it where there is no echo:
    `near_level_db`, `near_correlation`, `near_si_sdr_db`, and `before_si_sdr_db`, which is of the microphone
    beside the voice itself.
    `noise_lowered_db` in the pauses, `voice_raised_db` from the microphone to the end of the line.
    """
    given = sounds(case, seconds, seed)
    ppm, half = case.devices.ppm, seconds / 2
    silent = given.near + given.noise
    microphone = recorded(given.echo + silent, ppm)
    canceller = EchoCanceller(gain_control=case.gain_control)
    began = time.process_time()
    out = cleaned(canceller, given.played, microphone, case.devices)
    figures = {
        "processor_ms_per_s": 1000 * (time.process_time() - began) / seconds,
        "drift_ppm": canceller.drift_ppm,
    }
    if case.far and not case.near:
        changed = 0 if case.then is None else round(half * RATE)
        figures |= _lowered(microphone[changed:], out[changed:])
        figures["lowered_in_s"] = _reached(microphone, out, 0.0)
        if case.then is not None:
            figures["again_in_s"] = _reached(microphone, out, half)
    if case.far and case.near:
        alone = EchoCanceller(gain_control=case.gain_control)
        wanted = cleaned(alone, np.zeros_like(given.played), recorded(silent, ppm), case.devices)
        figures |= _kept(out, wanted)
        figures["before_si_sdr_db"] = si_sdr_db(
            _settled(microphone), _settled(recorded(given.near, ppm)).astype(np.float64)
        )
    if not case.far:
        figures |= _improved(given.near, microphone, out)
    return figures


def _settled(sound: Signal | Sound) -> Signal | Sound:
    """Return what follows the first two seconds, without the last, which is still on its way."""
    return sound[round(SETTLED_SECONDS * RATE) : -RATE // 10]


def _lowered(microphone: Signal, out: Sound) -> dict[str, float]:
    before, after = _settled(microphone), _settled(out)
    seconds = [slice(at, at + RATE) for at in range(0, len(before) - RATE + 1, RATE)]
    return {
        "echo_lowered_db": level_db(before) - level_db(after),
        "worst_second_db": min(level_db(before[part]) - level_db(after[part]) for part in seconds),
    }


def _reached(microphone: Signal, out: Sound, since: float) -> float:
    """Return how long after `since` the echo is lowered by `LOWERED_DB`, or infinity; in seconds."""
    for at in range(round(since * RATE), len(out) - _PIECE, _PIECE):
        before, after = (level_db(sound[at : at + _PIECE]) for sound in (microphone, out))
        if before > _AUDIBLE_DB and before - after >= LOWERED_DB:
            return (at + _PIECE) / RATE - since
    return float("inf")


def _kept(out: Sound, wanted: Sound) -> dict[str, float]:
    heard, voice = _settled(out).astype(np.float64), _settled(wanted).astype(np.float64)
    return {
        "near_level_db": level_db(heard) - level_db(voice),
        "near_correlation": float(np.corrcoef(heard, voice)[0, 1]),
        "near_si_sdr_db": si_sdr_db(heard, voice),
    }


def _improved(near: Signal, microphone: Signal, out: Sound) -> dict[str, float]:
    voice, before, after = _settled(near), _settled(microphone), _settled(out)
    pieces = [slice(at, at + _PIECE) for at in range(0, len(voice) - _PIECE + 1, _PIECE)]
    loudness = [level_db(voice[part]) for part in pieces]
    # Steps of 10 dB below what is loud, a voice is still there; below that it is a pause.
    pauses = [part for part, level in zip(pieces, loudness, strict=True) if level < max(loudness) - 40]
    speaks = [part for part, level in zip(pieces, loudness, strict=True) if level > max(loudness) - 15]
    figures = {"voice_raised_db": _joined_db(after, speaks) - _joined_db(before, speaks)}
    if pauses:
        figures["noise_lowered_db"] = _joined_db(before, pauses) - _joined_db(after, pauses)
    return figures


def _joined_db(sound: Signal | Sound, parts: list[slice]) -> float:
    return level_db(np.concatenate([sound[part] for part in parts]))
