"""The engines of the lite network agree, and OpenVINO does not tell on its users."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models.build import SHIPPED, one_thread, use_threads
from models.lite.backbone import EngineName, LiteBackbone, Precision
from models.openvino.engine import OpenVinoEngine
from models.openvino.files import GraphFiles
from models.openvino.keep import keep_graphs
from models.stored import read
from sender.demo import DemoSource
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, Pictures
from tests.tiny_lite import save_lite, unsettled

# Looked for, not imported: the import reports itself, which the engine prevents.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine"),
]
ENGINES: list[tuple[EngineName, Precision]] = [
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with its graphs: to convert them takes seconds, to read them none."""
    folder = save_lite(tmp_path_factory.mktemp("lite"), unsettled())
    keep_graphs(folder)
    return folder


@pytest.fixture(scope="module")
def served(kept: Path) -> Callable[..., LiteBackbone]:
    """Return a backbone of those weights; the same one for all tests, since compiling takes seconds."""

    @cache
    def load(precision: Precision, engine: EngineName) -> LiteBackbone:
        return LiteBackbone.load(kept, "cpu", precision, engine)

    def serve(precision: Precision = "float32", engine: EngineName = "openvino") -> LiteBackbone:
        return load(precision, engine)

    return serve


@pytest.fixture(scope="module")
def alone(kept: Path) -> LiteBackbone:
    """Another backbone of those weights."""
    return LiteBackbone.load(kept, "cpu", "float32", "openvino")


def engine_of(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine(GraphFiles(folder, read(folder, expect="lite").fingerprint), 256)


def moved(keypoints: Floats, seed: int = 1) -> Floats:
    noise = np.random.default_rng(seed).normal(0, 0.03, keypoints.shape)
    return keypoints + noise.astype(np.float32)


def frames(count: int) -> Pictures:
    return np.random.default_rng(0).integers(0, 256, (count, 256, 256, 3), np.uint8)


@pytest.fixture(scope="module")
def portrait() -> Pictures:
    source = DemoSource()
    try:
        found = [source.frame(n) for n in (0, 25, 50)]
    finally:
        source.close()
    return np.stack([frame for frame in found if frame is not None])


def worst(one: Pictures, other: Pictures) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_frame_by_frame_is_the_whole_batch(
    engine: EngineName, precision: Precision, served: Callable[..., LiteBackbone]
) -> None:
    net, clip = served(precision, engine), frames(3)
    assert (net.engine, net.precision) == (engine, precision)
    whole = net.detect(clip)
    np.testing.assert_allclose(np.concatenate([net.detect(frame[None]) for frame in clip]), whole, atol=1e-5)
    source = net.encode(clip[0])
    np.testing.assert_allclose(source.keypoints, whole[0], atol=1e-4)
    drawn = net.render(source, moved(whole))
    single = np.concatenate([net.render(source, points[None]) for points in moved(whole)])
    assert worst(single, drawn) <= 1
    assert worst(drawn[:1], drawn[1:2]) > 10


@pytest.mark.parametrize("weights", ["random", "shipped"])
def test_both_engines_find_and_draw_the_same(
    weights: str, portrait: Pictures, served: Callable[..., LiteBackbone]
) -> None:
    def shipped(precision: Precision, engine: EngineName) -> LiteBackbone:
        return LiteBackbone.load(SHIPPED / "lite", "cpu", precision, engine)

    load = served if weights == "random" else shipped
    plain, fast, half = (
        load("float32", "torch"), load("float32", "openvino"), load("bfloat16", "openvino"),
    )  # fmt: skip
    assert plain.fingerprint == fast.fingerprint == half.fingerprint
    keypoints = plain.detect(portrait)
    np.testing.assert_allclose(fast.detect(portrait), keypoints, atol=1e-4)
    expected, exact, rough = (
        net.render(net.encode(portrait[0]), moved(keypoints)) for net in (plain, fast, half)
    )
    assert expected.std() > 5
    assert worst(exact, expected) <= 1
    difference = np.abs(rough.astype(int) - expected)
    assert difference.max() <= 8
    assert difference.mean() < 0.5


def test_a_new_source_and_a_warm_up_in_between_do_not_mix(
    served: Callable[..., LiteBackbone], alone: LiteBackbone
) -> None:
    net, (first, second) = served(), frames(2)
    net.warmup()
    kept = net.encode(first)
    points = moved(kept.keypoints[None])
    of_first = net.render(kept, points)
    net.warmup()
    np.testing.assert_array_equal(net.render(kept, points), of_first)
    of_second = net.render(net.encode(second), points)
    np.testing.assert_array_equal(of_second, alone.render(alone.encode(second), points))
    assert worst(of_second, of_first) > 10


def test_sources_do_not_mix(served: Callable[..., LiteBackbone], alone: LiteBackbone) -> None:
    net, pictures = served(), frames(3)
    points = moved(net.detect(pictures[:1]))
    sources = [net.encode(picture) for picture in pictures]
    net.warmup()
    for index in (2, 0, 1, 2):
        expected = alone.render(alone.encode(pictures[index]), points)
        np.testing.assert_array_equal(net.render(sources[index], points), expected)
    with pytest.raises(RequestError, match="encoded by another network"):
        alone.render(sources[0], points)


def test_many_owners_may_use_one_network_at_once(served: Callable[..., LiteBackbone]) -> None:
    net, pictures = served(), frames(4)
    alone = [net.encode(picture) for picture in pictures]
    points = moved(net.detect(pictures[:1]))
    expected = [net.render(source, points) for source in alone]

    def own(index: int) -> bool:
        source = net.encode(pictures[index])
        found = net.detect(pictures[index][None])[0]
        same = [np.array_equal(net.render(source, points), expected[index]) for _ in range(5)]
        return all(same) and np.allclose(found, source.keypoints, atol=1e-4)

    with ThreadPoolExecutor(4) as owners:
        assert all(owners.map(own, range(4)))


def test_a_source_that_nobody_holds_is_freed(
    served: Callable[..., LiteBackbone], alone: LiteBackbone
) -> None:
    net, (first, second) = served(), frames(2)
    source = net.encode(first)
    points = source.keypoints[None].copy()
    net.render(source, points)
    freed = weakref.ref(source)
    del source
    assert freed() is None
    expected = alone.render(alone.encode(second), points)
    np.testing.assert_array_equal(net.render(net.encode(second), points), expected)


def test_pictures_drawn_before_stay_as_they_were(served: Callable[..., LiteBackbone]) -> None:
    net = served()
    source = net.encode(frames(1)[0])
    before = net.render(source, source.keypoints[None])
    kept = before.copy()
    net.render(source, moved(source.keypoints[None]))
    np.testing.assert_array_equal(before, kept)


def test_extreme_keypoints_still_give_a_picture(served: Callable[..., LiteBackbone]) -> None:
    net = served("bfloat16")
    source = net.encode(frames(1)[0])
    for value in (0.0, 1e4, -1e4):
        assert net.render(source, np.full((1, 60), value, np.float32)).shape == (1, 256, 256, 3)


def test_openvino_is_the_choice_on_a_cpu(kept: Path) -> None:
    assert LiteBackbone.load(kept, "cpu").engine == "openvino"
    assert LiteBackbone.load(kept, "cpu", engine="torch").engine == "torch"


def test_without_openvino_torch_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    net = LiteBackbone.of(unsettled(), engine="auto")
    assert net.engine == "torch"
    assert "OpenVINO cannot be used here" in caplog.text
    assert net.detect(frames(1)).shape == (1, 60)
    with pytest.raises(KeycastError, match="install it, or use the torch engine"):
        LiteBackbone.of(unsettled(), engine="openvino")


def test_what_openvino_cannot_run_torch_goes_on_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unable(*_: object) -> None:
        raise RuntimeError("Check failed\nno such operation")

    monkeypatch.setattr("models.openvino.convert._converted", unable)
    net = LiteBackbone.of(unsettled(), engine="auto")
    net.warmup(render=False)
    assert net.engine == "torch"
    assert "OpenVINO cannot run this network (no such operation)" in caplog.text
    assert net.detect(frames(1)).shape == (1, 60)
    with pytest.raises(KeycastError, match="use the torch engine"):
        LiteBackbone.of(unsettled(), engine="openvino").warmup()


def test_an_openvino_that_reads_no_networks_from_torch_leaves_them_to_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino.frontend.pytorch.ts_decoder", None)
    net = LiteBackbone.of(unsettled(), engine="auto")
    net.warmup(render=False)
    assert net.engine == "torch"
    assert "cannot read networks from torch" in caplog.text
    with pytest.raises(KeycastError, match=r"install openvino 2026\.4"):
        LiteBackbone.of(unsettled(), engine="openvino").warmup()


def test_only_what_is_used_is_compiled(kept: Path) -> None:
    engine = engine_of(kept)
    net = LiteBackbone(engine)
    assert engine.compiled == ()
    net.warmup(render=False)
    assert engine.compiled == ("detect",)
    net.detect(frames(1))
    assert engine.compiled == ("detect",)
    other = engine_of(kept)
    net = LiteBackbone(other)
    net.warmup(detect=False)
    source = net.encode(frames(1)[0])
    net.render(source, source.keypoints[None])
    assert other.compiled == ("encode", "render")


def test_arrays_in_any_order_of_memory_are_taken(served: Callable[..., LiteBackbone]) -> None:
    net, clip = served(), frames(2)
    mirrored = clip[:, :, ::-1]
    mirrored.flags.writeable = False
    np.testing.assert_array_equal(net.detect(mirrored), net.detect(mirrored.copy()))
    source = net.encode(mirrored[0])
    expected = net.render(source, source.keypoints[None])
    points = np.asfortranarray(source.keypoints[None].astype(np.float64))
    points.flags.writeable = False
    np.testing.assert_array_equal(net.render(source, points), expected)


def test_openvino_is_for_cpus() -> None:
    with pytest.raises(RequestError, match="CPUs only"):
        LiteBackbone.of(unsettled(), device="meta", engine="openvino")


@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_as_were_chosen(threads: int, kept: Path) -> None:
    engine = engine_of(kept)
    use_threads(threads)
    try:
        assert engine.stage("detect").threads == threads
    finally:
        use_threads(1)


def test_openvino_reports_nothing_to_anybody() -> None:
    LiteBackbone.of(unsettled(), engine="openvino").warmup(render=False)
    assert "openvino" in sys.modules
    assert not [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module]


def test_a_signal_after_an_engine_was_let_go_is_handled(kept: Path) -> None:
    code = f"""
import signal
from pathlib import Path
from models.lite.backbone import LiteBackbone
backbone = LiteBackbone.load(Path({str(kept)!r}), engine="openvino")
backbone.warmup()
del backbone
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=root
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
