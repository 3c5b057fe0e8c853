"""Rendering in int8: what paints is, what says where pixels lie is not, and it draws what float32 does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from models.build import SHIPPED, one_thread
from models.lite.backbone import LiteBackbone
from models.openvino import compile_cache, engine, quantise
from models.openvino.__main__ import main
from models.openvino.cut import painting
from models.openvino.files import FOLDER, INT8, LIST, GraphFiles
from models.openvino.runtime import EngineError, Model
from models.openvino.stage import Stage
from models.stored import read
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures
from tests.tiny_lite import save_lite, unsettled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("nncf") is None, reason="nncf has no build for this machine"),
    pytest.mark.usefixtures("converted_once"),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip of smooth colours that wander, one that is too short, and one that is none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "broken.mp4").write_bytes(b"no video")
    for name, count in (("moving.mp4", 6), ("short.mp4", 1)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width = stream.height = 256
            stream.pix_fmt = "yuv420p"
            for index in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(10 * index), "rgb24")))
            container.mux(stream.encode(None))
    return folder


@pytest.fixture(scope="module")
def kept(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with graphs, rendering in int8 among them."""
    folder = save_lite(tmp_path_factory.mktemp("lite"), unsettled())
    assert main([str(folder), "--calibrate", str(clips)]) == 0
    return folder


def picture(shift: int) -> Pictures:
    y, x = np.mgrid[:256, :256] + shift
    waves = [np.sin(x / 17), np.sin(y / 23), np.sin((x + y) / 31)]
    return np.stack([128 + 100 * wave for wave in waves], axis=-1).astype(np.uint8)


def files(folder: Path) -> GraphFiles:
    return GraphFiles(folder, read(folder, expect="lite").fingerprint)


def drawn(folder: Path, precision: str) -> Pictures:
    backbone = LiteBackbone.load(folder, precision=precision, engine="openvino")  # type: ignore[arg-type]
    assert backbone.precision == precision
    keypoints = backbone.detect(np.stack([picture(0), picture(30)]))
    return backbone.render(backbone.encode(picture(0)), keypoints)


def test_it_draws_what_float32_draws(kept: Path) -> None:
    exact, int8 = drawn(kept, "float32").astype(int), drawn(kept, "int8")
    assert exact.std() > 5
    assert 0 < np.abs(exact - int8).mean() < quantise.LOOSEST


def test_what_says_where_pixels_lie_stays_as_it_is(kept: Path) -> None:
    exact, int8 = files(kept).model("render"), files(kept).model("render", int8=True)
    kinds = Counter(node.get_type_name() for node in int8.get_ops())
    names = painting(exact)
    convolutions = [node for node in exact.get_ops() if node.get_type_name() == "Convolution"]
    assert 0 < len(names) < len(convolutions)
    # Neither any of motion nor the last one, which makes colours.
    assert all("generator" in name for name in names)
    assert kinds["FakeQuantize"] > 0
    given = {node.get_friendly_name(): node for node in int8.get_ops()}
    rounded = {
        node.get_friendly_name() for node in convolutions if "i8" in _weights(given[node.get_friendly_name()])
    }
    assert rounded == {*names}


def _weights(convolution: object) -> str:
    """Return the types that the weights of a convolution go through, from where they are stored."""
    node, found = convolution.input(1).get_source_output().get_node(), []  # type: ignore[attr-defined]
    while True:
        found.append(str(node.get_element_type().get_type_name()))
        if not node.inputs():
            return " ".join(found)
        node = node.input(0).get_source_output().get_node()


def test_it_is_taken_where_the_cpu_computes_in_it(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for able, precision in ((True, "int8"), (False, "float32")):
        monkeypatch.setattr(engine, "computes_in_int8", lambda able=able: able)
        monkeypatch.setattr(engine, "computes_in_bfloat16", lambda: False)
        assert LiteBackbone.load(kept).precision == precision


def test_graphs_made_anew_without_clips_leave_none_and_say_so(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(kept, folder)
    assert main([str(folder)]) == 0
    assert "note: the int8 rendering graphs were removed" in capsys.readouterr().out
    assert not files(folder).has_int8
    assert not [path for path in (folder / FOLDER).iterdir() if path.name.startswith(INT8)]
    with pytest.raises(EngineError, match="These weights have no graph in int8"):
        LiteBackbone.load(folder, precision="int8")


def test_torch_does_not_pretend_to(kept: Path) -> None:
    with pytest.raises(RequestError, match="torch does not render in int8"):
        LiteBackbone.load(kept, precision="int8", engine="torch")


def test_a_graph_that_was_changed_is_not_read(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(kept, folder)
    path = folder / FOLDER / f"{INT8}.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert LiteBackbone.load(folder).precision != "int8"
    assert f"{path.name} is not the one that" in caplog.text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none", "There is no folder"),
        ("empty", "No video below"),
        ("short", "No clip has enough frames to calibrate with"),
    ],
)
def test_clips_that_are_of_no_use_are_one_sentence(
    name: str, sentence: str, clips: Path, tmp_path: Path
) -> None:
    for made in ("empty", "short"):
        (tmp_path / made).mkdir()
    shutil.copy(clips / "short.mp4", tmp_path / "short")
    with pytest.raises(RequestError, match=sentence):
        quantise._clips([tmp_path / name])


def test_a_graph_that_draws_something_else_is_refused(
    kept: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nncf.quantize", lambda model, *_, **__: model)
    assert quantise.quantised(files(kept), 256, [clips])[1] == 0
    monkeypatch.setattr(quantise, "LOOSEST", -1.0)
    with pytest.raises(KeycastError, match="In int8, pictures differ by"):
        quantise.quantised(files(kept), 256, [clips])


def test_what_nncf_does_not_take_is_one_sentence(
    kept: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nncf

    def refuse(*_: object, **__: object) -> None:
        raise nncf.UnsupportedModelError

    monkeypatch.setattr("nncf.quantize", refuse)
    with pytest.raises(KeycastError, match=r"NNCF cannot take this network \(UnsupportedModelError\)"):
        quantise.quantised(files(kept), 256, [clips])


def test_without_nncf_nothing_changes(
    kept: Path, clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (kept / FOLDER / LIST).read_bytes()
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert main([str(kept), "--calibrate", str(clips)]) == 2
    assert "--calibrate needs nncf; install keycast[int8]." in capsys.readouterr().err
    assert (kept / FOLDER / LIST).read_bytes() == before


def test_calibrating_tells_nobody() -> None:
    """NNCF would report its use, as OpenVINO would, through a package that is kept out."""
    code = """
import sys
from models.openvino.quantise import _nncf
nncf = _nncf()
print(sys.modules["openvino_telemetry"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["None"], done.stderr


def test_the_shipped_weights_render_in_int8_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert files(SHIPPED / "lite").has_int8
    monkeypatch.setattr(engine, "computes_in_int8", lambda: True)
    assert LiteBackbone.load(SHIPPED / "lite", engine="openvino").precision == "int8"


def test_where_int8_does_not_work_float32_does(
    kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(model: Model, precision: str, key: str | None) -> Stage:
        if precision == "int8":
            raise EngineError("It cannot be compiled.")
        return Stage(model, precision, key)

    monkeypatch.setattr(engine, "Stage", refuse)
    monkeypatch.setattr(engine, "computes_in_int8", lambda: True)
    backbone = LiteBackbone.load(kept)
    backbone.warmup()
    assert (backbone.engine, backbone.precision) == ("openvino", "float32")
    assert "It cannot be compiled. Going on in float32." in caplog.text
    with pytest.raises(EngineError, match="cannot be compiled"):
        LiteBackbone.load(kept, precision="int8", engine="openvino").warmup()


def test_a_second_start_takes_what_the_first_one_compiled(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_cache.platformdirs, "user_cache_path", lambda _name: tmp_path)
    first = drawn(kept, "int8")
    graphs = sorted((tmp_path / "graphs").iterdir())
    assert len(graphs) == 3
    taken = []
    monkeypatch.setattr(compile_cache, "keep", lambda *_: pytest.fail("compiled once more"))
    read_before = compile_cache.read
    monkeypatch.setattr(compile_cache, "read", lambda name: taken.append(name) or read_before(name))
    np.testing.assert_array_equal(drawn(kept, "int8"), first)
    assert sorted(taken) == [path.stem for path in graphs]
