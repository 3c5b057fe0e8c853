"""The paper's figures for the bandwidth of keypoint calls, by its own formula.

Section 5.4 and Table 12 of the paper: every keypoint number is a 32-bit float, 30 frames per second; of the
frames that a forecaster supplies nothing is sent. Packet headers, the source picture and sound are not in it,
so that these rates are payload rates.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.harness.report import Value
from shared.constants import FPS, REFERENCE_KBPS, Schedule

BITS = 32
HALF = Schedule(6, 6)
"""The paper's pattern: six frames observed, six predicted."""


@dataclass(frozen=True)
class Model:
    """A motion-transfer network of Table 12: how many `numbers` describe a frame, and what is printed there.

    `printed_kbps` with every frame sent, and `printed_saving`, 500 kbps over the rate with half of them sent.
    """

    name: str
    numbers: int
    printed_kbps: float
    printed_saving: float


MODELS = (
    Model("First Order Motion Model", 60, 57.6, 17.36),
    # 500 / 48 is 10.42; the table says 10.40.
    Model("Thin-Plate Spline Motion Model", 100, 96.0, 10.40),
    Model("Neural Talking Head", 51, 48.96, 20.42),
)


def payload_kbps(numbers: int, duty: float = 1.0, fps: float = FPS, bits: int = BITS) -> float:
    """Return the paper's R = D x 32 x 30 / 1000 of `numbers` a frame, times the share of frames sent."""
    return numbers * bits * fps * duty / 1000


def saving(kbps: float) -> float:
    """Return how many times less `kbps` is than the 500 kbps of an ordinary call."""
    return REFERENCE_KBPS / kbps


def rows() -> list[dict[str, Value]]:
    """Return two rows for each network, for the table of `bench bandwidth`: all frames sent, and half."""
    return [_row(model, schedule) for model in MODELS for schedule in (Schedule(1, 0), HALF)]


def _row(model: Model, schedule: Schedule) -> dict[str, Value]:
    kbps = payload_kbps(model.numbers, schedule.duty)
    return {
        "source": "published", "backbone": model.name, "preset": "float32",
        "forecaster": "VRNN" if schedule.skip else "none",
        "policy": f"alternate {schedule}" if schedule.skip else "every frame",
        "payload_kbps": kbps, "savings_payload": saving(kbps),
    }  # fmt: skip
