"""Graphs beside weights: they serve without torch, and are read as they were written and for these alone."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint, stored
from models.build import SHIPPED, one_thread
from models.engine import Encoded
from models.lite.backbone import LiteBackbone
from models.openvino.__main__ import main
from models.openvino.convert import shrink
from models.openvino.files import FOLDER, LIST, GraphFiles
from models.openvino.runtime import EngineError, compiled, openvino
from shared.keypoints import Pictures
from tests.tiny_lite import TINY, unsettled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine"),
    pytest.mark.usefixtures("converted_once"),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def save(folder: Path, seed: int = 0) -> str:
    weights = unsettled(seed).half().state_dict()
    return checkpoint.save(folder, weights, {"model": "lite", "network": TINY.to_map()})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with graphs."""
    folder = tmp_path_factory.mktemp("lite")
    save(folder)
    assert main([str(folder)]) == 0
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    for path in kept.rglob("*.*"):
        copy = tmp_path / path.relative_to(kept)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


def frames(count: int) -> Pictures:
    return np.random.default_rng(0).integers(0, 256, (count, 256, 256, 3), np.uint8)


def rendered(folder: Path) -> tuple[Pictures, Pictures]:
    """Draw in float32 and in bfloat16, from what is found in float32 always: once for both."""
    clip = frames(2)
    exact = LiteBackbone.load(folder, precision="float32", engine="openvino")
    half = LiteBackbone.load(folder, precision="bfloat16", engine="openvino")
    source, keypoints = exact.encode(clip[0]), exact.detect(clip)
    assert isinstance(source, Encoded)
    return exact.render(source, keypoints), half._engine.render(source, keypoints)


def test_a_kept_graph_draws_what_a_new_one_does_in_both_precisions(kept: Path, tmp_path: Path) -> None:
    save(tmp_path)
    for found, new in zip(rendered(kept), rendered(tmp_path), strict=True):
        assert found.std() > 1
        # The numbers are the same; what is folded into what, and so rounded when, is not.
        assert np.abs(found.astype(int) - new).max() <= 1


def test_a_kept_graph_needs_no_torch(kept: Path) -> None:
    code = f"""
import sys, numpy as np
from pathlib import Path
from models.build import load_backbone, load_tables
backbone = load_backbone(path=Path({str(kept)!r}))
backbone.warmup()
assert backbone.engine == "openvino" and load_tables(backbone, Path({str(kept)!r})) is None
print("torch" in sys.modules, backbone.fingerprint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", stored.read(kept).fingerprint], done.stderr


def test_only_numbers_that_lose_nothing_are_kept_in_half_the_bytes() -> None:
    ov = openvino()
    given = ov.op.Parameter(ov.Type.f32, ov.PartialShape([3]))
    half, full = np.array([0.5, 1e-7, -3.0], np.float16), np.array([0.1, 7e4, 1.0], np.float32)
    total = ov.opset8.add(ov.opset8.add(given, half.astype(np.float32)), full)
    model = ov.Model([total], [given], "toy")
    shrink(model)
    constants = [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant"]
    assert [node.get_element_type().to_dtype() for node in constants] == [np.float16, np.float32]
    one = np.ones(3, np.float32)
    np.testing.assert_array_equal(compiled(model, "float32").infer([one])[0], one + half + full)


def test_graphs_of_other_weights_are_left_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = save(folder, seed=1)
    with caplog.at_level(logging.DEBUG, "keycast.network"):
        backbone = LiteBackbone.load(folder)
    assert (backbone.engine, backbone.fingerprint) == ("openvino", expected)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "were made from other weights. Making them with torch" in caplog.text
    np.testing.assert_allclose(
        backbone.detect(frames(1)), LiteBackbone.load(folder, engine="torch").detect(frames(1)), atol=1e-4
    )


def test_graphs_of_another_form_are_made_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An older version's rendering says nothing of where its pixels come from."""
    listed = json.loads((folder / FOLDER / LIST).read_text())
    del listed["form"]
    (folder / FOLDER / LIST).write_text(json.dumps(listed))
    with caplog.at_level(logging.DEBUG, "keycast.network"):
        assert LiteBackbone.load(folder).engine == "openvino"
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "written by another version" in caplog.text


def test_without_graphs_they_are_made(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / FOLDER / LIST).unlink()
    with caplog.at_level(logging.DEBUG, "keycast.network"):
        assert LiteBackbone.load(folder).engine == "openvino"
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "There are no graphs" in caplog.text


@pytest.mark.parametrize("name", ["detect.xml", "render.bin"])
def test_a_graph_that_is_not_as_written_is_not_read(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = folder / FOLDER / name
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    for changed in (flipped, content[:-1], None):
        path.unlink()
        if changed is not None:
            path.write_bytes(changed)
        caplog.clear()
        backbone = LiteBackbone.load(folder)
        assert backbone.engine == "openvino"
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"{name} " in caplog.text
    assert backbone.detect(frames(1)).shape == (1, 60)


@pytest.mark.parametrize(
    "listed", ["", "[]", "{}", '{"sha256": 5}', '{"fingerprint": "f", "sha256": {}}', "[" * 9999]
)
def test_a_list_of_nothing_is_not_believed(
    folder: Path, caplog: pytest.LogCaptureFixture, listed: str
) -> None:
    (folder / FOLDER / LIST).write_text(listed)
    assert LiteBackbone.load(folder).engine == "openvino"
    assert "does not list the graphs" in caplog.text


def test_a_changed_file_is_refused_even_when_it_changes_late(folder: Path) -> None:
    files = GraphFiles(folder, stored.read(folder).fingerprint)
    backbone = LiteBackbone.load(folder, engine="auto")
    (folder / FOLDER / "detect.xml").write_text("<net/>")
    with pytest.raises(EngineError, match="is not the one that"):
        files.model("detect")
    # And a call goes on, in torch.
    backbone.warmup()
    assert backbone.engine == "torch"


def test_what_cannot_be_kept_is_one_sentence_and_changes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "no checkpoint folder" in capsys.readouterr().err
    before = (folder / FOLDER / LIST).read_text()
    monkeypatch.setattr("models.openvino.keep.KEYPOINTS", -1.0)
    assert main([str(folder)]) == 1
    assert "OpenVINO computes something else than torch" in capsys.readouterr().err
    assert (folder / FOLDER / LIST).read_text() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", FOLDER]


def test_the_shipped_weights_have_their_graphs() -> None:
    folder = SHIPPED / "lite"
    GraphFiles(folder, stored.read(folder).fingerprint)
    assert set(json.loads((folder / FOLDER / LIST).read_text())) == {"fingerprint", "form", "sha256"}
