"""Recorded passes: what is copied where, on any machine; the recording itself where there is a GPU."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from models.facade import EngineBackbone
from models.fomm.backbone import FommBackbone, FommEngine
from models.fomm.config import FommConfig
from models.fomm.plain import untrained_fomm
from models.graphs import Replay, StaticPass, overwrite, record_cuda, recorded, tensors
from models.lite.backbone import LiteBackbone
from models.lite.layout import LAYOUT
from models.lite.network import LiteNetwork
from models.lite.torch_engine import LiteTorchEngine
from models.torch_engine import TorchEngine

SMALL = FommConfig(
    detector_blocks=2, detector_max_features=32, motion_blocks=2, motion_max_features=32,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Kept:
    pair: Pair
    scale: Tensor


def kept(value: float) -> Kept:
    return Kept(Pair(torch.full((2,), value), torch.full((2,), 10 * value)), torch.full((1,), 2.0))


def function(kept: Kept, varying: Tensor) -> Tensor:
    return (kept.pair.first + kept.pair.second) * kept.scale + varying


def record(run: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
    """Do without a GPU what a graph does with one: replay on the same memory, into the same result."""
    result = run().clone()
    return lambda: (result.copy_(run()), None)[1], result


def test_the_tensors_of_a_source_come_in_one_order() -> None:
    assert [float(t[0]) for t in tensors(kept(1))] == [1, 10, 2]
    with pytest.raises(TypeError, match="not str"):
        list(tensors((torch.zeros(1), "words")))


def test_overwriting_keeps_the_memory_and_refuses_another_shape() -> None:
    target = kept(1)
    places = [t.data_ptr() for t in tensors(target)]
    overwrite(target, kept(3))
    assert [float(t[0]) for t in tensors(target)] == [3, 30, 2]
    assert [t.data_ptr() for t in tensors(target)] == places
    with pytest.raises(ValueError, match=r"for \(2,\), not \(1,\)"):
        overwrite(torch.zeros(2), torch.zeros(1))


def test_a_pass_takes_what_varies_and_what_is_kept() -> None:
    source = kept(1)
    run = StaticPass(function, source, torch.zeros(2), record)
    assert run(torch.full((2,), 5.0)).tolist() == [27, 27]
    assert run(torch.full((2,), 6.0)).tolist() == [28, 28]
    run.keep(kept(2))
    assert run(torch.zeros(2)).tolist() == [44, 44]
    # The caller's tensors are its own.
    assert source.pair.first.tolist() == [1, 1]


def test_a_network_that_cannot_be_recorded_is_run_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    def failing(_: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with caplog.at_level(logging.WARNING):
        assert recorded(function, kept(1), torch.zeros(2), failing) is None
    assert caplog.messages == [
        "Frames are rendered without a CUDA graph, which is slower: "
        "operation not permitted when stream is capturing"
    ]
    assert recorded(lambda _, x: x, "no tensors", torch.zeros(2), record) is None


def test_a_recording_that_gives_other_results_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(run: Callable[[], Tensor], by: float) -> tuple[Replay, Tensor]:
        replay, result = record(run)
        return lambda: (replay(), result.add_(by), None)[2], result

    for by in (0.1, torch.nan):
        found = recorded(function, kept(1), torch.zeros(2), lambda run, by=by: wrong(run, by))
        assert found is None
    assert caplog.messages == [
        "Frames are rendered without a CUDA graph, which is slower: it gives other results"
    ] * 2  # fmt: skip
    assert recorded(function, kept(1), torch.zeros(2), lambda run: wrong(run, 1e-5)) is not None


class FakeStreams:
    """Stands in for torch.cuda where recording is concerned: `current` is the stream of this thread.

    As torch's own, the recording puts the thread back on its stream only where it ends well.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> None:
        self.current, self.fails = "usual", fails
        self.recorded: dict[str, object] = {}
        for name, stand_in in (
            ("current_stream", lambda: Stream(self.current)),
            ("set_stream", lambda stream: setattr(self, "current", stream.name)),
            ("Stream", lambda: Stream("recording")),
            ("stream", self.on),
            ("CUDAGraph", lambda: SimpleNamespace(replay=lambda: None)),
            ("graph", self.graph),
        ):
            monkeypatch.setattr(torch.cuda, name, stand_in)

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    @contextmanager
    def graph(self, _graph: object, **more: object) -> Iterator[None]:
        self.recorded = more
        before, self.current = self.current, "recording"
        yield
        if self.fails:
            raise RuntimeError(self.fails)
        self.current = before


@dataclass
class Stream:
    name: str

    def wait_stream(self, other: Stream) -> None:
        assert other.name != self.name


def test_recording_uses_one_stream_and_lets_other_threads_be(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = FakeStreams(monkeypatch)
    passes: list[str] = []
    _, result = record_cuda(lambda: (passes.append(streams.current), torch.ones(1))[1])
    assert float(result) == 1
    assert passes == ["recording"] * 4
    assert streams.current == "usual"
    assert streams.recorded == {"stream": Stream("recording"), "capture_error_mode": "thread_local"}


def test_a_failed_recording_leaves_the_thread_on_its_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = FakeStreams(monkeypatch, "operation failed due to a previous error during capture")
    assert recorded(function, kept(1), torch.zeros(2)) is None
    assert streams.current == "usual"
    assert "previous error during capture" in caplog.text


# The facade's use of them.


class Shades(TorchEngine[tuple[Tensor]]):
    """Draws its source picture's colour, shifted by the first keypoint number; counts its own passes."""

    def __init__(self) -> None:
        super().__init__("cpu", 8)
        self.passes = 0
        self.encoded = 0

    def _detect(self, pictures: Tensor) -> Tensor:
        self.passes += 1
        return pictures.mean(dim=(1, 2, 3))[:, None].expand(-1, 60)

    def _encode(self, picture: Tensor) -> tuple[tuple[Tensor], Tensor]:
        self.encoded += 1
        return (picture.clone(),), self._detect(picture)

    def _draw(self, source: tuple[Tensor], keypoints: Tensor) -> Tensor:
        self.passes += 1
        return source[0] + keypoints[:, :1, None, None]


class ShadesBackbone(EngineBackbone):
    name = "shades"

    def __init__(self, records: bool = True) -> None:
        self.shades = Shades()
        self.shades._may_record = records
        super().__init__(self.shades, LAYOUT)


@pytest.fixture
def shades(monkeypatch: pytest.MonkeyPatch) -> ShadesBackbone:
    """A facade that records, with a recording that a machine without a GPU can replay."""
    monkeypatch.setattr(
        "models.torch_engine.recorded", lambda f, kept, varying: recorded(f, kept, varying, record)
    )
    return ShadesBackbone()


def grey(level: int, count: int = 1) -> np.ndarray:
    return np.full((count, 8, 8, 3), level, np.uint8)


def shift(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None].repeat(60, axis=1) / 255


def levels(pictures: np.ndarray) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_single_frames_and_batches_draw_the_same_source(shades: ShadesBackbone) -> None:
    for level in (100, 50):
        source = shades.encode(grey(level)[0])
        assert levels(shades.render(source, shift(1))) == [level + 1]
        assert levels(shades.render(source, shift(2))) == [level + 2]
        assert levels(shades.render(source, shift(3, 4))) == [level + 3, level + 4]


def test_warming_up_keeps_the_source_of_the_recording(shades: ShadesBackbone) -> None:
    source = shades.encode(grey(100)[0])
    shades.warmup()
    assert levels(shades.render(source, shift(1))) == [101]
    assert levels(shades.render(source, shift(1, 2))) == [101, 102]


def test_sources_do_not_mix_and_none_is_encoded_again(shades: ShadesBackbone) -> None:
    sources = {level: shades.encode(grey(level)[0]) for level in (100, 50, 150)}
    shades.warmup()
    encoded = shades.shades.encoded
    for level in (50, 100, 150, 100, 100):
        assert levels(shades.render(sources[level], shift(1))) == [level + 1]
        assert levels(shades.render(sources[level], shift(1, 2))) == [level + 1, level + 2]
    assert shades.shades.encoded == encoded


def test_a_source_that_nobody_holds_is_freed(shades: ShadesBackbone) -> None:
    source = shades.encode(grey(100)[0])
    shades.render(source, shift(1))
    freed = weakref.ref(source)
    del source
    assert freed() is None
    # Another one may lie where it lay, and is not taken for it.
    for level in range(50, 60):
        assert levels(shades.render(shades.encode(grey(level)[0]), shift(1))) == [level + 1]


def test_many_owners_may_render_at_once(shades: ShadesBackbone) -> None:
    def own(level: int) -> set[int]:
        source = shades.encode(grey(level)[0])
        return {levels(shades.render(source, shift(1)))[0] for _ in range(200)}

    with ThreadPoolExecutor(4) as owners:
        assert list(owners.map(own, (20, 60, 100, 140))) == [{21}, {61}, {101}, {141}]


def test_pictures_drawn_before_stay_as_they_were(shades: ShadesBackbone) -> None:
    source = shades.encode(grey(100)[0])
    before = shades.render(source, shift(1))
    shades.render(source, shift(50))
    assert levels(before) == [101]


def test_detections_of_one_picture_are_not_overwritten(shades: ShadesBackbone) -> None:
    first, second = (shades.detect(grey(level)) for level in (51, 102))
    both = shades.detect(np.concatenate([grey(51), grey(102)]))
    np.testing.assert_allclose(np.concatenate([first, second]), both)
    assert both[0, 0] == pytest.approx(51 / 255)


def test_what_cannot_be_recorded_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr("models.torch_engine.recorded", lambda *_: tried.append(1))
    backbone = ShadesBackbone()
    for level in (100, 50):
        assert levels(backbone.render(backbone.encode(grey(level)[0]), shift(1))) == [level + 1]
        backbone.detect(grey(level))
    assert tried == [1]


def test_a_cpu_records_nothing() -> None:
    backbone = ShadesBackbone(records=False)
    backbone.warmup()
    assert backbone.shades._drawing is None
    assert backbone.shades._detection is None


@gpu
@pytest.mark.parametrize("which", ["fomm", "lite"])
def test_a_gpu_replays_what_it_would_compute(which: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    backbone: FommBackbone | LiteBackbone = (
        FommBackbone(untrained_fomm(0, SMALL), "cuda", "auto")
        if which == "fomm"
        else LiteBackbone.of(LiteNetwork(), device="cuda")
    )
    engine = backbone._engine
    assert isinstance(engine, FommEngine | LiteTorchEngine)
    frames = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8)
    for picture in frames[:2]:
        source = backbone.encode(picture)
        keypoints = backbone.detect(frames)
        assert engine._drawing is not None
        batch = backbone.render(source, keypoints).astype(int)
        for row, together in zip(keypoints, batch, strict=True):
            assert np.abs(backbone.render(source, row[None])[0] - together).max() <= 2
    np.testing.assert_allclose(backbone.detect(frames[:1])[0], backbone.detect(frames)[0], atol=1e-3)
    assert not caplog.messages


@gpu
def test_a_real_recording_that_fails_leaves_the_gpu_usable(caplog: pytest.LogCaptureFixture) -> None:
    def waits(kept: Tensor, varying: Tensor) -> Tensor:
        return kept * float(varying.sum())  # no recording may wait for the GPU

    one = torch.ones(1, device="cuda")
    before = torch.cuda.current_stream()
    assert recorded(waits, one, one.clone()) is None
    assert torch.cuda.current_stream() == before
    assert len(caplog.messages) == 1
    run = recorded(lambda kept, varying: kept + varying, one, one.clone())
    assert run is not None
    assert float(run(5 * one)) == 6
