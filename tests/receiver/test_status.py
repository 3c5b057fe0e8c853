import numpy as np
import pytest

from receiver.latency import apart
from receiver.live import Live, listening
from receiver.panel import Panel, words
from receiver.status import status, strip
from shared.concealment import Kind
from tests.receiver.test_live import Call


def text(parts: list[tuple[str, str]]) -> str:
    return "".join(piece for piece, _ in parts)


def test_a_receiver_without_a_call_listens() -> None:
    assert status(listening(), blocks=True) == [("listening", "cyan")]


def test_a_call_in_one_line() -> None:
    figures = Call().play(10.0)
    line = text(status(figures, blocks=False))
    assert line.startswith("live  0:09  ")
    assert " fps  120 ms  up " in line
    assert line.endswith("loss 0 %")
    assert text(status(figures, blocks=True)) == line + "  " + "▃▃▃▃▃▃" + ("▇" * 6 + "▃" * 6) * 2
    assert line.isascii()


def test_a_latency_that_nobody_knows_is_a_dash() -> None:
    assert "fps  - ms  up" in text(status(Call().play(3.0, latency=None), blocks=False))
    parts = status(Call().play(3.0, latency=-7_200_000.0), blocks=False)
    assert ("  - ms (clocks 2 h apart)", "yellow") in parts


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "40 ms"), (12.4, "12 s"), (179, "3 min"), (7205, "2 h"), (2e6, "556 h")],
)
def test_how_far_clocks_are_apart(seconds: float, words: str) -> None:
    assert apart(seconds) == words


def test_the_state_has_its_colour() -> None:
    call = Call()
    call.play(2.2)
    hues = [status(call.play(0.9, arriving=False, held=held), False)[0] for held in (False, True)]
    assert hues == [("forecasting", "yellow"), ("stalled", "red")]


def test_a_strip_is_in_runs() -> None:
    assert strip("ooffih") == [("▇▇", "green"), ("▃▃", "yellow"), ("▅", "cyan"), ("▁", "red")]


def test_the_panel_covers_the_top_and_shows_each_kind() -> None:
    live = Live()
    for n, kind in enumerate([*[Kind.OBSERVED] * 60, *[Kind.FORECAST] * 30, *[Kind.HELD] * 30]):
        live.shown(n, kind, True, 100.0, n / 30)
    picture = np.full((512, 512, 3), 200, np.uint8)
    panel = Panel(512)
    panel.draw(picture, live.snapshot(4.0))
    assert (picture[46:] == 200).all()
    # The state in words, then a bar of four pixels for each frame; known ones are higher than guessed ones.
    assert picture[:30].max() > 150
    bars = picture[31:41, 10:490].reshape(10, 120, 4, 3).max(axis=2).astype(int)
    heights = (np.ptp(bars, axis=2) > 60).sum(axis=0)
    assert list(heights[[0, 59]]) == [10, 10]
    assert 3 <= heights[60] == heights[89] < 10
    assert 1 <= heights[90] == heights[119] < heights[60]
    green, red = bars[9, 0], bars[9, 119]
    assert green.argmax() == 1
    assert red.argmax() == 0


def test_the_panel_says_what_the_figures_are() -> None:
    figures = {
        **listening(),
        "fps_shown": 29.6,
        "latency_ms": 146.4,
        "wire_up_kbps": 7.66,
        "payload_kbps": 1.6,
    }
    assert words(figures) == "30 fps   146 ms   7.7 kbps (keypoints 1.6)   loss 0 %"
    unknown = {**figures, "latency_ms": None, "clocks_apart_s": 7205.0}
    assert words(unknown).startswith("30 fps   - ms (clocks 2 h apart)   7.7 kbps")


def test_figures_that_have_not_changed_are_not_drawn_anew() -> None:
    panel, figures = Panel(512), listening()
    one, two = (np.full((512, 512, 3), 90, np.uint8) for _ in range(2))
    panel.draw(one, figures)
    ink = panel._ink
    panel.draw(two, figures)
    assert panel._ink is ink
    np.testing.assert_array_equal(one, two)
