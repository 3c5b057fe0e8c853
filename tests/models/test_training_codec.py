from pathlib import Path

import numpy as np
import pytest
import torch

from bench.harness.media import write_mp4
from models.build import TABLES, load_backbone, load_tables
from models.lite.layout import LAYOUT
from models.training.__main__ import main
from models.training.codec_tables.codec_command import fit, make_quantizer, sensitivity
from models.training.data.tracks import Track, Tracks, save_track
from shared.codec.keypoint_codec import Block, CodedCodec
from shared.codec.tables import CodecTables
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures
from tests.tiny_lite import save_lite, untrained

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
GENERATOR = np.random.default_rng(0)
# Three numbers matter a hundred times more than the others, and all move together.
SENSITIVITY = np.diag(np.where(np.arange(60) < 3, 1.0, 0.01))


def walk(seed: int, frames: int = 240) -> np.ndarray:
    generator = np.random.default_rng(seed)
    together = generator.normal(0, 0.01, (frames, 1)) @ np.ones((1, 60))
    steps = together + generator.normal(0, 0.001, (frames, 60))
    return np.clip(generator.uniform(-0.5, 0.5, 60) + steps.cumsum(0), -1, 1).astype(np.float32)


TRACKS = Tracks(tuple(Track(f"c{n}", f"p{n}", walk(n)) for n in range(6)), 0, 0, "abc", LAYOUT)


@pytest.fixture(scope="module")
def fitted() -> CodecTables:
    return fit(TRACKS, SENSITIVITY)


class Ramp:
    """Draws pictures whose first row is as bright as one number says, and the second as another."""

    name, size, layout = "ramp", 4, LAYOUT

    def detect(self, pictures: Pictures) -> Floats:
        return np.zeros((len(pictures), 60), np.float32)

    def encode(self, picture: Pictures) -> None:
        pass

    def render(self, _source: None, keypoints: Floats) -> Pictures:
        drawn = np.full((len(keypoints), 4, 4, 3), 100.0)
        drawn[:, 0] += 2550 * keypoints[:, 0, None, None]
        drawn[:, 1] += 5100 * keypoints[:, 1, None, None]
        return np.rint(drawn).astype(np.uint8)


def test_the_sensitivity_is_the_pictures_squared_error_by_that_of_each_number(tmp_path: Path) -> None:
    frames = [np.full((64, 64, 3), 90, np.uint8)] * 3
    assert write_mp4(tmp_path / "clip.mp4", frames) == 3
    found = sensitivity(Ramp(), [tmp_path / "clip.mp4"], 2, 0)  # type: ignore[arg-type]
    # A quarter of the picture changes, by ten times as much in [0, 1] as the number, or by twenty times.
    np.testing.assert_allclose(np.diag(found)[:3], [25.0, 100.0, 0.0], rtol=0.1)
    assert not found[0, 1]


def test_a_step_is_as_large_in_the_picture_whichever_way_it_goes() -> None:
    step = make_quantizer(TRACKS, SENSITIVITY).matrix.astype(np.float64) / 2.0**24
    errors = np.sqrt(np.diag(step.T @ SENSITIVITY @ step))
    # Or smaller, where an error would not show but would lead the forecasters astray.
    assert errors.max() < 1.01 * 2.0**-10
    assert errors.min() > 0.4 * 2.0**-10
    # So the numbers that matter are told more exactly.
    spread = np.sqrt(np.square(step).sum(1))
    assert spread[:3].max() < 0.2 * spread[3:].min()


def test_what_moves_together_is_told_once(fitted: CodecTables) -> None:
    """The walk's 60 numbers share one movement; the same movements each by itself take many more bytes."""
    apart = tuple(Track(clip.name, clip.person, shuffled(clip.frames)) for clip in TRACKS.clips)
    by_itself = fit(Tracks(apart, 0, 0, "abc", LAYOUT), SENSITIVITY)
    together, alone = (CodedCodec(tables, 2) for tables in (fitted, by_itself))
    blocks = [walk(100 + number, 6) for number in range(20)]
    ours = sum(len(together.encode(Block(block))) for block in blocks)
    theirs = sum(len(alone.encode(Block(shuffled(block)))) for block in blocks)
    assert ours < 0.8 * theirs


def shuffled(frames: np.ndarray) -> np.ndarray:
    """Let every number move as much as before, but each by itself."""
    steps = np.diff(frames, axis=0)
    signs = np.random.default_rng(5).choice([-1, 1], steps.shape)
    return np.concatenate([frames[:1], frames[:1] + np.cumsum(steps * signs, axis=0)]).astype(np.float32)


def test_fitted_tables_beat_those_of_other_tracks(fitted: CodecTables) -> None:
    wild = fit(
        Tracks(tuple(Track(c.name, c.person, 5 * c.frames) for c in TRACKS.clips), 0, 0, "abc", LAYOUT),
        SENSITIVITY,
    )
    blocks = [Block(walk(50 + n, 6)) for n in range(20)]
    assert sum(len(CodedCodec(fitted).encode(b)) for b in blocks) < sum(
        len(CodedCodec(wild).encode(b)) for b in blocks
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lite(tmp_path_factory.mktemp("weights"), untrained())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bench.harness.media import write_mp4

    folder = tmp_path_factory.mktemp("clips")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    write_mp4(folder / "a.mp4", [pictures[n % 2] for n in range(6)])
    return folder


def test_the_command_measures_fits_and_writes_tables_that_the_backbone_loads(
    weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = load_backbone("lite", weights, "cpu")
    assert load_tables(backbone, weights) is None
    for number in range(3):
        save_track(tmp_path / f"{number}.npz", walk(number), 30.0, f"p{number}", backbone.fingerprint, LAYOUT)
    line = f"codec --clips {clip} --tracks {tmp_path} --frames 1 --checkpoint {weights} --device cpu"
    assert main([*line.split(), "--output", str(weights / TABLES)]) == 0
    tables = load_tables(backbone, weights)
    assert tables is not None
    assert tables.hash in capsys.readouterr().out
    assert np.diag(tables.sensitivity).min() >= 0
    assert np.diag(tables.sensitivity).max() > 0
    # A repeat does not render again, and comes to the same.
    assert main([*line.split()[:2], "missing", *line.split()[3:], "--output", str(weights / TABLES)]) == 0
    again = load_tables(backbone, weights)
    assert again is not None
    np.testing.assert_array_equal(again.sensitivity, tables.sensitivity)


def test_tables_of_other_weights_are_refused(weights: Path, tmp_path: Path, fitted: CodecTables) -> None:
    (tmp_path / "w").mkdir()
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "w" / name).write_bytes((weights / name).read_bytes())
    fitted.save(tmp_path / "w" / TABLES)
    with pytest.raises(RequestError, match=r"for other weights \(abc\)"):
        load_tables(load_backbone("lite", tmp_path / "w", "cpu"), tmp_path / "w")


def test_tracks_of_another_detector_are_refused(
    weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_track(tmp_path / "a.npz", walk(1), 30.0, "p", "another", LAYOUT)
    line = (
        f"codec --clips {clip} --tracks {tmp_path} --checkpoint {weights} --device cpu --output {tmp_path}/t"
    )
    assert main(line.split()) == 2
    assert "another detector (another)" in capsys.readouterr().err


def test_the_shipped_tables_are_of_the_shipped_weights() -> None:
    tables = load_tables(load_backbone("lite", device="cpu"), None)
    assert isinstance(tables, CodecTables)
