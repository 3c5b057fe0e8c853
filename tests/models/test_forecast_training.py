import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.harness.media import write_mp4
from models import checkpoint
from models.forecast.build import load_forecaster
from models.forecast.config import NetworkConfig
from models.forecast.gru import GruConfig
from models.forecast.grunf import GruNfConfig
from models.forecast.likelihood import surprise
from models.forecast.linear import Linear, LinearConfig, fit
from models.forecast.networks import load_density
from models.forecast.nf import NfConfig
from models.forecast.simlpe import SimlpeConfig
from models.forecast.vae import VaeConfig
from models.forecast.vrnn import VrnnConfig
from models.lite.layout import LAYOUT
from models.training.data.tracks import Track, Tracks, save_track
from models.training.forecasters import forecaster_command as forecaster
from models.training.forecasters.forecaster_augment import augment
from models.training.forecasters.forecaster_command import main
from models.training.forecasters.forecaster_run import Settings, Training
from models.training.forecasters.forecaster_validation import Figures, Validation
from models.training.run import load_state, save_state
from shared.errors import RequestError
from shared.keypoints import Floats

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
TINY: dict[str, NetworkConfig] = {
    "gru": GruConfig(layers=1, hidden=24, inner=24),
    "vae": VaeConfig(lag=6, inner=24, latent=8),
    "nf": NfConfig(lag=6, blocks=2, depth=2, inner=24),
    "simlpe": SimlpeConfig(length=12, blocks=2, width=24),
    "vrnn": VrnnConfig(hidden=24, features=24, inner=24, latent=4),
    "gru-nf": GruNfConfig(layers=1, hidden=24, blocks=2, depth=2, inner=24),
}
every = pytest.mark.parametrize("name", list(TINY))


def oscillation(person: int, count: int = 90) -> Floats:
    """One person's points swing at one rate, each with its own phase; a little noise on top."""
    rng = np.random.default_rng(person)
    phase = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2, 60)
    swing = 0.2 * np.sin(0.35 * np.arange(count)[:, None] + phase)
    noise = rng.normal(scale=0.002, size=(count, 60))
    return (rng.uniform(-0.5, 0.5, 60) + swing + noise).astype(np.float32)


def tracks(people: range) -> Tracks:
    clips = tuple(Track(f"clip{person}", f"person{person}", oscillation(person)) for person in people)
    return Tracks(clips, 0, 0, "beef", LAYOUT)


def settings(name: str, steps: int = 60) -> Settings:
    return Settings(name, TINY[name], steps, None, batch=16, rate=1e-2, augmented=False)


def start(name: str, steps: int = 60) -> Training:
    return Training(settings(name, steps), tracks(range(12)), torch.device("cpu"))


@every
def test_a_short_training_beats_holding_still(name: str) -> None:
    validation = Validation(tracks(range(50, 54)))
    run = start(name)
    untrained = validation.of_network(run.network).against(validation.hold)
    for _ in range(60):
        run.advance()
    trained = validation.of_network(run.network).against(validation.hold)
    assert untrained > 0.9
    print(name, untrained, trained)
    assert trained < (0.6 if name == "simlpe" else 0.5)


@every
def test_a_resumed_run_takes_the_same_steps(name: str, tmp_path: Path) -> None:
    through, first, second = start(name, 6), start(name, 6), start(name, 6)
    losses = [through.advance() for _ in range(6)]
    for _ in range(3):
        first.advance()
    first.judge(0.5)
    save_state(tmp_path / "state.pt", first.state())
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    second.restore(state)
    assert [second.advance() for _ in range(3)] == losses[3:]
    assert second.best == 0.5
    for key, value in through.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[key], value, rtol=0, atol=0)


def test_the_spread_of_a_decoder_can_be_chosen(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folder, tmp_path / "run", "--spread", "unit")) == 0
    assert checkpoint.load(tmp_path / "run" / "weights").config["spread"] == "unit"
    assert main(["--model", "gru", "--tracks", str(folder), "--spread", "unit"]) == 2
    assert "--spread only applies to vrnn" in capsys.readouterr().err


def test_the_best_weights_are_kept() -> None:
    run = start("vrnn")
    run.advance()
    assert run.judge(0.8)
    kept = {key: value.clone() for key, value in run.network.state_dict().items()}
    run.advance()
    assert not run.judge(0.9)
    assert run.stale == 1
    assert not torch.equal(run.network.state_dict()["cell.bias_hh"], kept["cell.bias_hh"])
    for key, value in kept.items():
        torch.testing.assert_close(run.best_weights[key], value, rtol=0, atol=0)


def test_another_run_or_a_damaged_one_is_not_resumed() -> None:
    run = start("vrnn")
    state = run.state()
    with pytest.raises(RequestError, match="other settings"):
        start("vrnn", 7).restore(state)
    with pytest.raises(RequestError, match="damaged"):
        run.restore({"settings": state["settings"]})


def test_figures_of_holding_a_ramp_are_known() -> None:
    ramp = (np.arange(40, dtype=np.float32)[:, None] + np.zeros((1, 60), np.float32)) * np.float32(0.1)
    validation = Validation(Tracks((Track("a", "a", ramp),), 0, 0, "beef", LAYOUT))
    assert len(validation.past) == 2
    expected = 0.1 * np.sqrt(np.mean(np.arange(1, 7) ** 2))
    assert validation.hold.overall[6] == pytest.approx(expected, rel=1e-5)
    assert validation.hold.positions[6] == pytest.approx(expected, rel=1e-5)
    halves = Figures(*({n: value / 2 for n, value in validation.hold.overall.items()} for _ in range(2)))
    assert halves.against(validation.hold) == pytest.approx(0.5, rel=1e-5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tracks; the presets are tiny."""
    presets = {**TINY, "linear": LinearConfig(order=5)}
    monkeypatch.setattr(forecaster, "PRESETS", {name: {"call": config} for name, config in presets.items()})
    where = tmp_path / "tracks"
    where.mkdir()
    for person in range(5):
        save_track(where / f"{person}.npz", oscillation(person), 30.0, f"person{person}", "beef", LAYOUT)
    return where


def command(folder: Path, output: Path, *more: str) -> list[str]:
    return f"--model vrnn --tracks {folder} --output {output} --batch 4 --every 2 --steps 4".split() + list(
        more
    )


def test_the_command_leaves_weights_that_load(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert main(command(folder, output)) == 0
    assert checkpoint.load(output / "weights").config["tracks_of"] == "beef"
    learned = load_forecaster("vrnn", output / "weights")
    learned.observe(oscillation(9)[:6])
    assert learned.forecast(24).shape == (24, 60)
    lines = [json.loads(line) for line in (output / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]


def test_a_stop_saves_and_the_same_command_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advance = Training.advance

    def interrupted(run: Training) -> dict[str, float]:
        losses = advance(run)
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)
        return losses

    output = tmp_path / "run"
    monkeypatch.setattr(Training, "advance", interrupted)
    assert main(command(folder, output)) == 130
    assert "stopped at step 3" in capsys.readouterr().out
    assert main(command(folder, output)) == 0
    assert "resuming at step 3" in capsys.readouterr().out
    whole = tmp_path / "whole"
    monkeypatch.setattr(Training, "advance", advance)
    assert main(command(folder, whole)) == 0
    assert checkpoint.load(output / "weights").fingerprint == checkpoint.load(whole / "weights").fingerprint


def test_a_wrong_request_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "none", tmp_path / "run")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    other = tmp_path / "other"
    other.mkdir()
    save_track(other / "1.npz", oscillation(1), 30.0, "b", "cafe", LAYOUT)
    assert main(command(folder, tmp_path / "run", "--validate", str(other))) == 2
    assert "different detectors" in capsys.readouterr().err


def test_linear_autoregression_finds_the_process_that_made_a_clip() -> None:
    rng = np.random.default_rng(0)
    weights = 0.9 * np.linalg.qr(rng.normal(size=(60, 60)))[0]
    change = rng.normal(scale=0.01, size=60)
    changes = []
    for _ in range(3000):
        change = weights @ change + rng.normal(scale=0.01, size=60)
        changes.append(change)
    network = Linear(LinearConfig(order=1), 60)
    network.scaling.step.fill_(0.02)
    fit(network, [torch.from_numpy(np.cumsum(changes, axis=0).astype(np.float32))], ridge=0.0)
    found = network.map.weight.detach().numpy()
    np.testing.assert_allclose(found, weights, atol=0.08)
    assert np.abs(network.map.bias.detach().numpy()).max() < 0.05


def test_linear_autoregression_needs_a_clip_that_is_long_enough() -> None:
    with pytest.raises(ValueError, match="long enough"):
        fit(Linear(LinearConfig(order=5), 60), [torch.zeros(6, 60)], ridge=0.1)


def test_the_command_solves_the_linear_one(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "linear"
    assert main(f"--model linear --tracks {folder} --output {output}".split()) == 0
    learned = load_forecaster("linear", output / "weights")
    future = oscillation(9)[6:12]
    learned.observe(oscillation(9)[:6])
    held = np.abs(oscillation(9)[5] - future).mean()
    assert np.abs(learned.forecast(6) - future).mean() < held


def test_the_command_calibrates_surprise(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "flow"
    assert main(f"--model gru-nf --tracks {folder} --output {output} --batch 4 --steps 30".split()) == 0
    network = load_density("gru-nf", output / "weights")
    scores = np.concatenate([surprise(network, oscillation(person))[1:] for person in range(20, 26)])
    assert abs(np.median(scores)) < 1


def test_augmented_windows_move_as_another_camera_would_see_them() -> None:
    frames = torch.from_numpy(oscillation(0, 12))[None].expand(500, -1, -1)
    moved = augment(frames, torch.Generator().manual_seed(0), LAYOUT)
    assert moved.shape == frames.shape
    flipped = 0
    for before, after in zip(frames.double(), moved.double(), strict=True):
        errors = [_linear_error(side, after) for side in (before, before.flip(0))]
        assert min(errors) < 1e-5
        flipped += errors[1] < errors[0]
    assert 150 < flipped < 350


def _linear_error(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return how far `after` (T, 60) is from the best linear map of the plane of `before`."""
    plane, seen = (
        torch.cat([one[:, :20].reshape(-1, 2), one[:, 20:].reshape(-1, 2, 2).transpose(1, 2).reshape(-1, 2)])
        for one in (before, after)
    )
    found = torch.linalg.lstsq(plane, seen).solution
    return float((plane @ found - seen).abs().max())


def test_clips_become_tracks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "PRESETS", {"linear": {"call": LinearConfig(order=2)}})
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(2):
        pictures = np.random.default_rng(number).integers(0, 255, (40, 64, 64, 3), np.uint8)
        write_mp4(clips / f"{number}.mp4", iter(pictures))
    command = (
        f"--model linear --tracks {clips} --backbone lite --output {tmp_path / 'runs' / 'linear'}".split()
    )
    assert main(command) == 0
    made = sorted((tmp_path / "runs" / "tracks").rglob("*.npz"))
    assert [path.name for path in made] == ["0.npz", "1.npz"]
    before = [path.stat().st_mtime_ns for path in made]
    assert main(command) == 0
    assert [path.stat().st_mtime_ns for path in made] == before
