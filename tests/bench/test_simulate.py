import numpy as np
import pytest

from bench.harness.simulate import Simulation
from models.build import SHIPPED, TABLES
from models.forecast.baselines import Hold
from models.lite.layout import DIMENSIONS, LAYOUT
from sender.schedule import Adaptive, Alternate, Scheduler
from shared.codec.keypoint_codec import CodedCodec, PaperCodec
from shared.codec.tables import CodecTables
from shared.concealment import Concealer, Kind
from shared.constants import Schedule
from shared.keypoints import Floats

CODEC_TABLES = CodecTables.load(SHIPPED / "lite" / TABLES)
RAMP = (np.arange(48, dtype=np.float32)[:, None] / 100).repeat(60, axis=1)


def run(simulation: Simulation, keypoints: Floats = RAMP) -> tuple[list[int], list[float], str]:
    shown = list(simulation.run(keypoints))
    kinds = "".join(kind.value[0] for _, _, kind in shown)
    return [n for n, _, _ in shown], [float(points[0]) for _, points, _ in shown], kinds


def alternate(per_message: int = 6) -> Scheduler:
    return Alternate(Schedule(6, 6), per_message)


def test_a_call_shows_every_frame_and_holds_what_did_not_ship() -> None:
    simulation = Simulation(alternate(), PaperCodec(DIMENSIONS), Concealer(Hold(), LAYOUT), per_message=6)
    numbers, values, kinds = run(simulation)
    assert numbers == list(range(48))
    assert kinds == ("o" * 6 + "f" * 6) * 4
    assert values[:6] == pytest.approx(RAMP[:6, 0])
    assert values[6:12] == pytest.approx([RAMP[5, 0]] * 6)
    sent = simulation.sent
    assert (sent.messages, sent.shipped, sent.payload_bytes) == (4, 24, 24 * 240)
    assert sent.payload_kbps == pytest.approx(28.8)
    assert sent.kinds == {Kind.OBSERVED: 24, Kind.FORECAST: 24}
    assert sent.payload_bytes < sent.wire_up_bytes < sent.payload_bytes + 4 * 130 + 100


def test_no_frame_is_shown_before_its_message_could_have_come() -> None:
    """What is shown of a frame must not depend on frames captured after it would have left."""
    changed = RAMP.copy()
    changed[30:] += 0.4
    both = [
        run(Simulation(alternate(), PaperCodec(DIMENSIONS), Concealer(Hold(), LAYOUT), per_message=6), k)[1]
        for k in (RAMP, changed)
    ]
    assert both[0][:30] == both[1][:30]
    assert both[0][30:] != both[1][30:]


def test_lost_messages_are_forecast_and_copies_mend_the_past() -> None:
    lossy = Simulation(
        alternate(), PaperCodec(DIMENSIONS), Concealer(Hold(), LAYOUT), per_message=6, loss=1.0
    )
    assert list(lossy.run(RAMP)) == []
    assert lossy.sent.lost == lossy.sent.messages == 4
    codec = CodedCodec(CODEC_TABLES)
    plain = Simulation(alternate(), codec, Concealer(Hold(), LAYOUT), per_message=6)
    copied = Simulation(alternate(), codec, Concealer(Hold(), LAYOUT), per_message=6, redundancy=1)
    run(plain)
    run(copied)
    assert copied.sent.messages == plain.sent.messages
    assert copied.sent.payload_bytes > plain.sent.payload_bytes


def test_dead_reckoning_ships_less_of_a_face_that_moves_less() -> None:
    def shipped(speed: float) -> int:
        scheduler = Adaptive(Concealer(Hold(), LAYOUT), CODEC_TABLES.sensitivity, 0.02, 6)
        simulation = Simulation(scheduler, CodedCodec(CODEC_TABLES), Concealer(Hold(), LAYOUT), per_message=6)
        run(simulation, RAMP * speed)
        return simulation.sent.messages

    assert shipped(0.0) <= 2
    assert shipped(0.0) < shipped(0.1) < shipped(2.0) == 8


def test_a_delay_turns_forecasts_into_frames_between_known_ones() -> None:
    errors, kinds = [], []
    for delay in (0, 3, 6):
        simulation = Simulation(
            alternate(), PaperCodec(DIMENSIONS), Concealer(Hold(), LAYOUT), per_message=6, delay=delay
        )
        numbers, values, shown = run(simulation)
        assert numbers == list(range(48))
        errors.append(float(np.abs(np.array(values) - RAMP[:, 0])[:42].mean()))
        kinds.append(shown[:24])
    assert kinds == [("o" * 6 + "f" * 6) * 2, ("o" * 6 + "fffiii") * 2, ("o" * 6 + "i" * 6) * 2]
    assert errors[0] > 1.5 * errors[1] > 0
    # A ramp is a line: nothing is left to be wrong.
    assert errors[2] == pytest.approx(0, abs=1e-6)
