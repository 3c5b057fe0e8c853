"""A GPU that fails, played by a network on the CPU: at load, at warm-up, in a call, by giving no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import build, devices
from models.devices import choose_device, device_facts, device_words, gpu_trouble
from models.facade import EngineBackbone
from models.fomm import precision
from models.fomm.backbone import FommEngine
from models.fomm.config import FommConfig
from models.fomm.plain import untrained_fomm
from models.fomm.precision import engine_in, trusted_engine
from models.fomm.serving import Precision
from models.gpu import GuardedBackbone, gpu_failures_explained, on_gpu
from models.graphs import recorded, tensors
from models.lite.backbone import LiteBackbone
from models.lite.layout import LAYOUT
from models.lite.torch_engine import LiteTorchEngine
from models.nth.backbone import NthEngine
from models.nth.plain import untrained_nth
from models.torch_engine import TorchEngine
from models.tps.backbone import TpsEngine
from models.tps.plain import untrained_tps
from shared.errors import KeycastError, RequestError
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from tests.gpu_stand_in import waits
from tests.tiny_lite import unsettled
from tests.tiny_published import NTH, TPS

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of ..."
SMALL_FOMM = FommConfig(
    detector_blocks=2, detector_max_features=32, motion_blocks=2, motion_max_features=32,
    generator_expansion=8, generator_max_features=16, generator_bottleneck_blocks=1,
)  # fmt: skip
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@dataclass
class Faults:
    """What goes wrong from now on: in which stage, and how."""

    stage: str = ""
    how: Callable[[], object] = lambda: None

    def at(self, stage: str) -> None:
        if stage == self.stage:
            self.how()


def full() -> None:
    raise torch.OutOfMemoryError(OUT_OF_MEMORY)


class Shades(TorchEngine[tuple[Tensor]]):
    """Draws its source's colour, shifted by the first keypoint number; `processor` is what it says it is."""

    def __init__(self, processor: str, faults: Faults) -> None:
        super().__init__("cpu", 8)
        self.processor, self.faults = processor, faults
        self._may_record = processor == "cuda"

    def _detect(self, pictures: Tensor) -> Tensor:
        self.faults.at("detect")
        return pictures.mean(dim=(1, 2, 3))[:, None].expand(-1, 60)

    def _encode(self, picture: Tensor) -> tuple[tuple[Tensor], Tensor]:
        self.faults.at("encode")
        return (picture.clone(),), picture.mean(dim=(1, 2, 3))[:, None].expand(-1, 60)

    def _draw(self, source: tuple[Tensor], keypoints: Tensor) -> Tensor:
        self.faults.at("draw")
        drawn = source[0] + keypoints[:, :1, None, None]
        return drawn * float("nan") if self.faults.stage == "black" and self.processor == "cuda" else drawn


class ShadesBackbone(EngineBackbone):
    name = "shades"

    def __init__(self, device: str, faults: Faults) -> None:
        super().__init__(Shades(device, faults if device == "cuda" else Faults()), LAYOUT, "beef")


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings that a machine without a GPU can make."""

    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        result = run().clone()
        return lambda: (result.copy_(run()), None)[1], result

    monkeypatch.setattr("models.torch_engine.recorded", lambda f, kept, row: recorded(f, kept, row, record))


def grey(level: int) -> Pictures:
    return np.full((8, 8, 3), level, np.uint8)


def shift(value: float) -> Floats:
    return np.full((1, 60), value / 255, np.float32)


def loader(faults: Faults) -> Callable[[str], Backbone]:
    def load(device: str) -> Backbone:
        if device == "cuda":
            faults.at("load")
        return ShadesBackbone(device, faults)

    return load


def level(picture: Pictures) -> int:
    return int(picture[0, 0, 0, 0])


@pytest.mark.parametrize("stage", ["load", "detect", "encode", "draw"])
def test_a_gpu_that_cannot_even_start_is_left_for_the_cpu(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = on_gpu(loader(Faults(stage, full)), insist=False)
    assert backbone.device == "cpu"
    assert caplog.messages == [
        "The GPU failed (CUDA out of memory. Tried to allocate 2.00 GiB); continuing on the CPU."
    ]
    assert level(backbone.render(backbone.encode(grey(100)), shift(3))) == 103


@pytest.mark.parametrize("stage", ["load", "draw"])
def test_who_insists_on_the_gpu_is_refused_in_one_sentence(stage: str) -> None:
    with pytest.raises(
        RequestError, match=r"^The GPU cannot run .* torch .* \(CUDA out of memory.*--device cpu"
    ) as told:
        on_gpu(loader(Faults(stage, full)), insist=True)
    assert "\n" not in str(told.value)


def test_frames_that_are_no_pictures_are_found_at_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    assert on_gpu(loader(Faults("black")), insist=False).device == "cpu"
    assert "the frame it draws is no picture" in caplog.text


@pytest.mark.parametrize("stage", ["detect", "encode", "draw"])
def test_a_gpu_that_fails_in_a_call_is_left_and_sources_come_along(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    faults = Faults()
    backbone = on_gpu(loader(faults), insist=False)
    assert (backbone.device, backbone.engine, backbone.precision) == ("cuda", "torch", "float32")
    assert (backbone.name, backbone.fingerprint, backbone.size) == ("shades", "beef", 8)
    first, second = (backbone.encode(grey(shade)) for shade in (100, 50))
    assert level(backbone.render(first, shift(1))) == 101
    faults.stage, faults.how = stage, full
    backbone.detect(grey(30)[None])
    third = backbone.encode(grey(30))
    # Recorded passes do not fail here: the batch is what finds out about drawing.
    both = np.concatenate([shift(1), shift(2)])
    for source, shade in ((first, 100), (second, 50), (third, 30), (first, 100)):
        assert [int(picture[0, 0, 0]) for picture in backbone.render(source, both)] == [shade + 1, shade + 2]
        assert source.keypoints[0] == pytest.approx(shade / 255, abs=1e-6)
    moved = backbone.transfer(first, shift(1)[0])(shift(3))
    assert moved.shape == (1, 60)
    assert backbone.device == "cpu"
    assert len(caplog.messages) == 1


def test_no_numbers_in_a_call_are_a_failure_too() -> None:
    faults = Faults()
    backbone = on_gpu(loader(faults), insist=False)
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    engine = backbone._backbone._engine  # type: ignore[attr-defined]
    engine._detect = lambda pictures: torch.full((len(pictures), 60), torch.nan)
    assert np.isfinite(backbone.detect(frames)).all()
    assert backbone.device == "cpu"


def test_who_insists_on_the_gpu_is_told_when_it_fails_in_a_call() -> None:
    faults = Faults()
    backbone = on_gpu(loader(faults), insist=True)
    faults.stage, faults.how = "detect", full
    with pytest.raises(
        KeycastError, match=r"^The GPU failed \(CUDA out of memory.*repeat the command with --device cpu\.$"
    ):
        backbone.detect(np.zeros((2, 8, 8, 3), np.uint8))


def test_a_source_of_another_network_is_refused() -> None:
    one, other = (on_gpu(loader(Faults()), insist=False) for _ in range(2))
    with pytest.raises(RequestError, match="encoded by another network"):
        one.render(other.encode(grey(1)), shift(1))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OUT_OF_MEMORY),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
    ],
)
def test_a_command_that_a_gpu_ends_says_so_in_one_sentence(error: RuntimeError) -> None:
    with (
        pytest.raises(KeycastError, match=r"^The GPU failed \(.*\); take a walk\.$") as told,
        gpu_failures_explained("take a walk"),
    ):
        raise error
    assert "\n" not in str(told.value)
    # What is no GPU's fault stays what it is.
    with pytest.raises(RuntimeError, match="shape"), gpu_failures_explained("take a walk"):
        raise RuntimeError("shape '[2]' is invalid")


# What `--device` means.


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with a GPU; what is wrong with it can be put into the list."""
    trouble: list[str] = [""]
    monkeypatch.setattr(devices, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(devices, "_torch_has_gpu", lambda: True)
    monkeypatch.setattr(devices, "gpu_trouble", lambda: trouble[0])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    return trouble


def test_a_gpu_that_does_not_compute_is_no_gpu(card: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    card[0] = "no kernel image is available for execution on the device"
    assert choose_device("auto") == "cpu"
    assert caplog.messages == [
        f"The GPU does not work with torch {torch.__version__} for CUDA 13.0 (no kernel image is "
        "available for execution on the device); continuing on the CPU."
    ]
    with pytest.raises(RequestError, match=r"does not work with torch .* for CUDA 13.0 \(no kernel"):
        choose_device("cuda")


def test_the_probe_says_what_torch_says() -> None:
    gpu_trouble.cache_clear()
    try:
        assert (gpu_trouble() == "") is torch.cuda.is_available()
    finally:
        gpu_trouble.cache_clear()


def test_a_probe_that_computes_wrongly_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape) * 2)  # noqa: ARG005
    gpu_trouble.cache_clear()
    try:
        assert gpu_trouble() == "it says that nine ones are 36"
    finally:
        gpu_trouble.cache_clear()


def test_apples_gpus_are_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from bench.__main__ import main

    with pytest.raises(RequestError, match="do not run on Apple's GPUs; choose --device auto or cpu"):
        choose_device("mps")
    assert main(["throughput", "--device", "mps"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: The networks do not run on Apple's GPUs")
    assert len(error.splitlines()) == 1


@pytest.mark.slow
def test_loading_insists_where_the_gpu_was_asked_for(
    card: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert card
    from models.lite.entry import ENTRY

    loaded: list[str] = []

    class Entry:
        @staticmethod
        def load(path: object, device: str) -> Backbone:
            loaded.append(device)
            if device == "cuda":
                raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED")
            return ENTRY.load(path, device)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "_entry", lambda _: Entry)
    backbone = build.load_backbone(device="auto")
    assert (backbone.device, loaded) == ("cpu", ["cuda", "cpu"])
    assert "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED" in caplog.text
    with pytest.raises(RequestError, match="cuDNN error"):
        build.load_backbone(device="cuda")
    loaded.clear()
    build.load_backbone(device="cpu")
    assert loaded == ["cpu"]


def test_what_runs_a_network_is_told() -> None:
    backbone = LiteBackbone.of(unsettled())
    assert build.network_words(backbone) == "lite on the CPU (torch, float32)"
    assert build.network_facts(backbone) == {
        "backbone": "lite", "engine": "torch", "precision": "float32", "device": "cpu",
    }  # fmt: skip


def test_a_gpu_is_told_by_name_driver_and_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(devices, "_driver_version", lambda: "580.65.06")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert device_words("cuda") == "NVIDIA H200"
    assert device_facts("cuda") == {
        "device": "cuda", "gpu": "NVIDIA H200", "gpu_driver": "580.65.06", "torch": torch.__version__,
        "cuda": "13.0",
    }  # fmt: skip


def test_a_machine_without_nvidias_library_has_no_drivers_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_MANAGEMENT", "no-such-library.so")
    assert devices._driver_version() == ""


# Precision.


class Rounded(Shades):
    """Draws in a precision that does to frames what `how` says of it."""

    def __init__(self, chosen: Precision, how: dict[str, float]) -> None:
        super().__init__("cuda", Faults())
        self.precision, self._off = chosen, how.get(chosen, 0.0)
        if np.isinf(self._off):
            raise RuntimeError("no arithmetic for it")

    def _draw(self, source: tuple[Tensor], keypoints: Tensor) -> Tensor:
        return super()._draw(source, keypoints) + self._off


@pytest.mark.parametrize(
    ("how", "chosen"),
    [
        ({}, "float16"),
        ({"float16": 0.001}, "float16"),
        ({"float16": 0.2}, "bfloat16"),
        ({"float16": np.nan}, "bfloat16"),
        ({"float16": np.inf}, "bfloat16"),
        ({"float16": np.nan, "bfloat16": np.inf}, "float32"),
        ({"float16": np.nan, "bfloat16": -0.5}, "float32"),
    ],
)
def test_half_precision_is_taken_where_it_draws_what_float32_draws(
    how: dict[str, float], chosen: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert trusted_engine(lambda half: Rounded(half, how)).precision == chosen
    assert len(caplog.messages) == {"float16": 0, "bfloat16": 1, "float32": 2}[chosen]


def test_only_a_gpu_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fastest_precision", lambda: "mixed")
    assert engine_in("auto", "cpu", lambda half: Rounded(half, {})).precision == "mixed"
    assert engine_in("bfloat16", "cuda", lambda half: Rounded(half, {})).precision == "bfloat16"
    assert engine_in("auto", "cuda", lambda half: Rounded(half, {})).precision == "float16"


@pytest.fixture
def tf32() -> Iterator[None]:
    """TF32 allowed, as torch does by default for convolutions."""
    places = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, allowed in zip(places, before, strict=True):
        place.allow_tf32 = allowed


@pytest.mark.usefixtures("tf32")
def test_an_engine_on_a_gpu_convolves_in_float32_itself_and_takes_larger_batches() -> None:
    class OnGpu(Shades):
        def __init__(self, device: str) -> None:
            TorchEngine.__init__(self, device, 8)

    assert OnGpu("cpu").max_batch == 16
    assert torch.backends.cudnn.allow_tf32
    assert OnGpu("cuda").max_batch == 64
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert NthEngine.gpu_batch == 8


def test_a_gpu_does_not_time_precisions_of_the_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []

    def time(engine: LiteTorchEngine) -> bool:
        timed.append(engine.processor)
        return False

    monkeypatch.setattr(LiteTorchEngine, "_is_faster_in_bfloat16", time)
    monkeypatch.setattr("models.lite.torch_engine.prepare", lambda network, _: network)
    assert LiteTorchEngine(unsettled(), "cuda", "auto").precision == "float32"
    assert not timed
    LiteTorchEngine(unsettled(), "cpu", "auto")
    assert timed == ["cpu"]


# On a GPU.


@gpu
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_the_shipped_network_runs_on_the_gpu_as_on_the_cpu(name: str) -> None:
    here, there = build.load_backbone(device=name), build.load_backbone(device="cpu")
    assert isinstance(here, GuardedBackbone)
    assert here.device == "cuda"
    frames = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8)
    np.testing.assert_allclose(here.detect(frames), there.detect(frames), atol=1e-4)
    assert "gpu_driver" in build.network_facts(here)


ENGINES: dict[str, Callable[[], TorchEngine[Any]]] = {
    "lite": lambda: LiteTorchEngine(unsettled(), "meta"),
    "fomm": lambda: FommEngine(untrained_fomm(0, SMALL_FOMM), "meta", "float16"),
    "tps": lambda: TpsEngine(untrained_tps(0, TPS), "meta", "float16"),
    "nth": lambda: NthEngine(untrained_nth(0, NTH), "meta", "float16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES))
@torch.inference_mode()
def test_a_pass_on_a_gpu_waits_for_nothing_and_can_be_recorded(name: str) -> None:
    engine = ENGINES[name]()
    picture = torch.rand(1, 3, engine.size, engine.size, device="meta")
    for seen_before in (False, True):
        with waits() as seen:
            source, keypoints = engine._encode(picture)
            drawn = engine._draw(source, engine._detect(picture))
        # What is kept on the GPU is brought there once, in the passes that warm up.
        assert not (seen_before and seen), seen
    assert drawn.shape == picture.shape
    # Positions are float32, whatever the renderer computes in; and a recording takes tensors alone.
    assert keypoints.dtype == torch.float32
    assert list(tensors(source))
