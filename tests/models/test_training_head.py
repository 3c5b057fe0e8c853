"""Training the head finder: scenes whose faces are where they say, targets that can be read back, a run."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from models.build import SHIPPED, one_thread
from models.checkpoint import load
from models.head.finder import NetworkHeadFinder, peaks
from models.head.network import STRIDE, HeadNetwork
from models.training.__main__ import main
from models.training.heads.head_command import loss_of, targets, tensor_of
from models.training.heads.head_faces import SIDE, Faces, Labeller, load_faces
from models.training.heads.head_scenes import SHAPES, Scene, Scenes, scrambled, shuffled, turn
from sender.demo import pose_at
from shared.errors import RequestError
from shared.keypoints import Floats
from shared.portrait.portrait import Portrait

pytestmark = pytest.mark.slow


def faces_of(colour: tuple[int, int, int] = (255, 0, 0)) -> Faces:
    """Return pictures of one box each, in which a face is a box of one colour."""
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    picture[30:90, 45:85] = colour
    box = np.array([65 / SIDE, 60 / SIDE, 40 / SIDE, 60 / SIDE], np.float32)
    return Faces(np.stack([picture] * 3), np.stack([box] * 3))


@pytest.mark.parametrize("shape", SHAPES)
def test_scenes_are_pictures_with_places_in_them(shape: tuple[int, int]) -> None:
    scenes, random = Scenes(faces_of()), np.random.default_rng(0)
    counts = []
    for _ in range(60):
        scene = scenes.make(shape, random)
        assert scene.picture.shape == (*shape, 3)
        assert scene.picture.dtype == np.uint8
        assert scene.faces.shape[1] == 3
        assert np.isfinite(scene.faces).all()
        assert ((scene.faces[:, :2] >= 0) & (scene.faces[:, :2] <= (shape[1], shape[0]))).all()
        counts.append(len(scene.faces))
    assert set(counts) == {0, 1, 2}


def test_the_face_is_where_the_scene_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.heads.head_scenes.filmed", lambda picture, _: picture)
    monkeypatch.setattr("models.training.heads.head_scenes.recoloured", lambda piece, _: piece)
    scenes, random = Scenes(faces_of((255, 0, 255))), np.random.default_rng(1)
    off = []
    for _ in range(200):
        scene = scenes.make(SHAPES[0], random)
        red, green, blue = (scene.picture[..., channel].astype(int) for channel in range(3))
        rows, columns = np.nonzero((red > 230) & (blue > 230) & (green < 25))
        if len(scene.faces) == 1 and len(rows) > 30:
            x, y, size = scene.faces[0]
            off.append((abs(np.median(columns) - x) / size, abs(np.median(rows) - y) / size))
    assert len(off) > 40
    assert np.median(off, axis=0) == pytest.approx((0, 0), abs=0.06)


def test_scenes_repeat_exactly() -> None:
    scenes = Scenes(faces_of())
    one, two = (scenes.make(SHAPES[1], np.random.default_rng((0, 7))) for _ in range(2))
    assert (one.picture == two.picture).all()
    assert (one.faces == two.faces).all()


def test_turning_takes_the_place_along() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[10:13, 40:43] = 255
    turned, (x, y) = turn(picture, (41.5 / 64, 11.5 / 64), 25.0)
    rows, columns = np.nonzero(turned[..., 0] > 128)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((64 * x, 64 * y), abs=0.7)


def test_textures_keep_the_colours_and_lose_the_picture() -> None:
    picture, random = faces_of().pictures[0], np.random.default_rng(3)
    texture = scrambled(picture, (72, 128), random)
    assert texture.shape == (72, 128, 3)
    assert texture.mean((0, 1)) == pytest.approx(picture.mean((0, 1)), abs=12)
    tiles = shuffled(picture, (72, 128), random)
    assert tiles.shape == (72, 128, 3)
    assert np.isfinite(texture).all()
    assert np.isfinite(tiles).all()


def cells_of(scenes: list[Scene], grid: tuple[int, int]) -> torch.Tensor:
    """Return what a perfect network would say."""
    heat, places, _ = targets(scenes, grid)
    sure = torch.where(heat == 1, 9.0, -9.0)
    return torch.cat([sure[:, None], places], 1)


def test_targets_are_read_back_as_the_faces() -> None:
    faces: list[Floats] = [
        np.array([[40.0, 30.0, 20.0], [100.5, 51.2, 33.0]], np.float32),
        np.zeros((0, 3), np.float32),
        np.array([[127.9, 71.9, 9.0]], np.float32),
    ]
    scenes = [Scene(np.zeros((72, 128, 3), np.uint8), these) for these in faces]
    found = peaks(cells_of(scenes, (9, 16)))
    for these, heads in zip(faces, found, strict=True):
        read = sorted(head[:3] for head in heads)
        assert np.array(read).reshape(-1, 3) == pytest.approx(these, abs=0.01)


def test_the_loss_is_least_for_the_truth_and_teaches() -> None:
    scenes, random = Scenes(faces_of()), np.random.default_rng(5)
    batch = [scenes.make(SHAPES[0], random) for _ in range(8)]
    truth = cells_of(batch, (9, 16))
    assert float(loss_of(truth, batch)) < 0.01
    assert float(loss_of(torch.zeros_like(truth), batch)) > 1
    torch.manual_seed(0)
    network = HeadNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    with one_thread():
        for _ in range(12):
            loss = loss_of(network(tensor_of(batch)), batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def portrait_clip(folder: Path, start: float) -> Path:
    folder.mkdir()
    portrait = Portrait()
    with av.open(str(folder / "demo.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "14"})
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for index in range(9):
            frame = av.VideoFrame.from_ndarray(portrait.draw(pose_at(start + index / 4)))
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return folder


def test_the_command_trains_stops_and_goes_on(
    tmp_path: Path, face_detector: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.heads.head_command.measure.__defaults__", (32,))
    clips, others = portrait_clip(tmp_path / "a", 0.0), portrait_clip(tmp_path / "b", 2.0)
    words = ["head", "--clips", str(clips), "--validate", str(others), "--faces", str(face_detector)]

    def train(steps: int, output: str) -> dict[str, torch.Tensor]:
        more = ["--output", str(tmp_path / output), "--steps", str(steps), "--batch", "4", "--every", "2"]
        assert main([*words, *more]) == 0
        NetworkHeadFinder.load(tmp_path / output / "weights")
        return load(tmp_path / output / "weights").tensors

    # The schedule depends on the steps in all, so a run that ends early is stood in for by its saved state.
    whole = train(2, "run")
    assert "step 2  loss" in capsys.readouterr().out
    again = train(2, "run")
    assert "step" not in capsys.readouterr().out
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    longer = train(3, "run")
    assert not all(torch.equal(whole[name], longer[name]) for name in whole)
    found = load_faces([clips], None, Labeller(face_detector), tmp_path / "run")
    assert len(found) == 8
    assert found.boxes[:, 2] == pytest.approx(0.37, abs=0.06)
    (tmp_path / "run" / "state.pt").write_bytes(b"nothing")
    assert main([*words, "--output", str(tmp_path / "run")]) == 2


def test_what_is_no_face_detector_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.onnx"
    file.write_bytes(b"nothing")
    with pytest.raises(RequestError, match="not a YuNet face detector"):
        Labeller(file)
    with pytest.raises(RequestError, match="There is no face detector"):
        Labeller(tmp_path / "missing.onnx")


def test_the_shipped_weights_are_of_this_network() -> None:
    assert load(SHIPPED / "head", "head").config["side"] % STRIDE == 0
