import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import load
from models.fomm.config import FommConfig
from models.landmarks.landmark_files import save_canonical, save_clip
from models.lite.backbone import LiteBackbone
from models.lite.network import LiteNetwork
from models.lite.torch_engine import load_network
from models.training.__main__ import main
from models.training.backbones import backbone_command as backbone
from models.training.backbones.backbone_run import Run, follow
from models.training.backbones.lite import KEEPING, ONLY
from models.training.backbones.recipes import FommRecipe
from models.training.run import load_state, save_state
from shared.errors import KeycastError, RequestError
from tests.drawn_face import face
from tests.tiny_lite import TINY, save_lite, unsettled

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
TINY_FOMM = FommConfig(
    image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
    generator_expansion=8, generator_down_blocks=1, generator_bottleneck_blocks=2,
)  # fmt: skip
SIZES = {"lite": TINY, "fomm": TINY_FOMM}
# The full network with an adversary that sees the keypoints.
FULL = ["--model", "fomm", "--adversarial", "--use-kp"]
# What a child process runs: the command, with a tiny network, saving after every step.
CHILD = """
import argparse, logging, sys
import torch
from models.fomm.config import FommConfig
from models.training.backbones import backbone_command as backbone
from models.training.backbones import backbone_loop
from tests.tiny_lite import TINY

torch.set_num_threads(1)
backbone_loop.SAVE_SECONDS = 0.0
parser = argparse.ArgumentParser()
backbone.add_arguments(parser)
options = parser.parse_args()
sizes = {
    "lite": TINY,
    "fomm": FommConfig(
        image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
        generator_expansion=8, generator_down_blocks=1, generator_bottleneck_blocks=2,
    ),
}
logging.basicConfig(level=logging.INFO)
sys.exit(backbone.train(options, sizes[options.model]))
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one clip: a textured disc that swings over a textured ground."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    ground, disc = (
        np.asarray(Image.fromarray(rng.integers(low, low + 90, (16, 16, 3), np.uint8)).resize((256, 256)))
        for low in (20, 150)
    )
    y, x = np.mgrid[:256, :256]
    with av.open(str(folder / "swing.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for index in range(16):
            shift = round(50 * math.sin(2 * math.pi * index / 16))
            inside = ((x - 128 - shift) ** 2 + (y - 128) ** 2 < 60**2)[..., None]
            picture = np.where(inside, np.roll(disc, shift, axis=1), ground)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    return folder


@pytest.fixture
def landmarks(clips: Path, tmp_path: Path) -> Path:  # noqa: ARG001
    """A folder with the landmarks of the clip, as if the disc were a face that speaks and blinks."""
    folder = tmp_path / "landmarks"
    folder.mkdir()
    faces = [
        np.add(0.6 * face(lips=0.01 * (n % 4), lids=0.1 * (n % 4)), (0.4 * math.sin(2 * math.pi * n / 16), 0))
        for n in range(16)
    ]
    save_clip(folder / "swing.npz", "swing.mp4", np.stack(faces).astype(np.float32))
    save_canonical(folder, np.pad(0.6 * face(), ((0, 0), (0, 1))))
    return folder


def arguments(clips: Path, output: Path, *more: str) -> list[str]:
    folders = f"--clips {clips} --validate {clips} --output {output} --cache {clips / 'cache'}"
    return [*folders.split(), "--device", "cpu", "--batch", "2", *more]


def options(clips: Path, output: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    backbone.add_arguments(parser)
    return parser.parse_args(arguments(clips, output, *more))


def validations(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "validation.jsonl").read_text().splitlines()]


def test_a_short_run_learns_and_leaves_all_that_it_promises(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backbone.train(options(clips, tmp_path, "--pictures", "2"), TINY) == 0
    assert backbone.train(options(clips, tmp_path, "--pictures", "80", "--rate", "5e-3"), TINY) == 0
    out = capsys.readouterr().out
    assert "1 clips to train on" in out
    shown = re.search(r"40/80 pictures, [\d.]+/s, ([^\r]*)", out)
    assert shown
    assert shown[1].split()[::2] == ["value", "jacobian", "separation", "warp", "pixels"]
    before, after = validations(tmp_path)
    assert (before["pictures"], after["pictures"]) == (2, 80)
    assert after["mae"] < 0.8 * before["mae"]
    with Image.open(tmp_path / "sheet-0000080.png") as sheet:
        assert sheet.size == (1536, 256)
    assert load(tmp_path / "weights").config["pictures"] == 80
    net = LiteBackbone.load(tmp_path / "weights", engine="torch")
    net.warmup()
    assert load_network(tmp_path / "weights").config == TINY


def test_landmarks_say_what_is_learned(
    clips: Path,
    landmarks: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = ["--landmarks", str(landmarks), "--whole-after", "0.5"]
    assert backbone.train(options(clips, tmp_path, *line, "--pictures", "40"), TINY) == 0
    assert re.search(
        r"40/40 pictures, [\d.]+/s, rough_value [\d.]+ rough_shape [\d.]+ fine_value [\d.]+",
        capsys.readouterr().out,
    )
    assert "faces will not" not in caplog.text
    # The same command goes on; with other landmarks than of these frames, none does.
    assert backbone.train(options(clips, tmp_path, *line, "--pictures", "44"), TINY) == 0
    assert steps_saved(tmp_path) == 22
    save_clip(landmarks / "swing.npz", "swing.mp4", np.stack([face()] * 3))
    with pytest.raises(RequestError, match=r"swing\.mp4 has 16 frames to train on, but landmarks of 3"):
        backbone.train(options(clips, tmp_path, *line, "--pictures", "48"), TINY)


def test_without_landmarks_a_run_says_what_is_lost(
    clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert backbone.train(options(clips, tmp_path, "--pictures", "2"), TINY) == 0
    assert "heads will move, faces will not" in caplog.text


def test_a_run_begins_with_given_weights_and_goes_on_with_its_own(clips: Path, tmp_path: Path) -> None:
    given = save_lite(tmp_path / "given", unsettled(3))
    line = ["--init", str(given), "--rate", "1e-9"]
    assert backbone.train(options(clips, tmp_path / "run", *line, "--pictures", "2"), TINY) == 0
    begun = load(tmp_path / "run" / "weights").tensors
    for name, parameter in unsettled(3).named_parameters():
        torch.testing.assert_close(begun[name].float(), parameter.detach(), atol=1e-3, rtol=1e-3)
    # Now the run has weights of its own: what it began with does not matter any more.
    save_lite(given, unsettled(4))
    assert backbone.train(options(clips, tmp_path / "run", *line, "--pictures", "4"), TINY) == 0
    gone_on = load(tmp_path / "run" / "weights").tensors
    name = "generator.expand.weight"
    torch.testing.assert_close(gone_on[name], begun[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("only", ONLY)
def test_a_part_learns_and_the_rest_stays_as_it_is(
    only: str, clips: Path, landmarks: Path, tmp_path: Path
) -> None:
    given = save_lite(tmp_path / "given", unsettled(3))
    # What other files go by, whatever it was made of.
    config = json.loads((given / "config.json").read_text())
    (given / "config.json").write_text(json.dumps({**config, "detector": "0123456789abcdef"}))
    line = ["--init", str(given), "--rate", "1e-2", "--only", only, "--landmarks", str(landmarks)]
    if only == "whole":
        line += ["--teacher", str(save_lite(tmp_path / "teacher", unsettled(4)))]
    assert backbone.train(options(clips, tmp_path / "run", *line, "--pictures", "4"), TINY) == 0
    begun, trained = load(given), load(tmp_path / "run" / "weights")
    assert (trained.config["detector"] == "0123456789abcdef") == (only in KEEPING)
    moved = {
        name
        for name, tensor in trained.tensors.items()
        if not tensor.equal(begun.tensors[name].to(tensor.dtype))
    }
    assert {part for part in ONLY[only] if any(name.startswith(part) for name in moved)} == set(ONLY[only])
    assert not [name for name in moved if not name.startswith(ONLY[only])]
    # Statistics of so few pictures are not the pictures' own.
    assert not [name for name in moved if "running" in name or "num_batches" in name]


def test_a_smaller_look_at_the_whole_picture_imitates_a_larger_one(clips: Path, tmp_path: Path) -> None:
    teacher = unsettled(3, replace(TINY, heat=64))
    line = ["--teacher", str(save_lite(tmp_path / "teacher", teacher)), "--only", "whole", "--rate", "1e-2"]
    assert backbone.train(options(clips, tmp_path / "run", *line, "--pictures", "4"), TINY) == 0
    trained = load(tmp_path / "run" / "weights")
    assert trained.config["network"]["heat"] == 32
    for name, tensor in teacher.state_dict().items():
        if not name.startswith("detector.whole."):
            assert trained.tensors[name].equal(tensor.to(trained.tensors[name].dtype)), name
    # What begins anew has no statistics but those of its pictures.
    assert int(trained.tensors["detector.whole.body.stem.1.num_batches_tracked"]) > 0


def test_ctrl_c_saves_and_the_same_command_goes_on(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advance = Run.advance

    def interrupted(run: Run[LiteNetwork], *inputs: object) -> object:
        losses = advance(run, *inputs)  # type: ignore[arg-type]
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)
        return losses

    monkeypatch.setattr(Run, "advance", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert backbone.train(options(clips, tmp_path, "--pictures", "12"), TINY) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopped after 6 pictures: run the same command to continue" in capsys.readouterr().out
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    assert (state["pictures"], state["step"]) == (6, 3)
    assert set(state) == {"network", "average", "optimiser", "pictures", "step", "seconds", "random"}
    assert backbone.train(options(clips, tmp_path, "--pictures", "12"), TINY) == 0
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    assert (state["pictures"], state["step"]) == (12, 6)


def child(line: list[str], **environment: str) -> subprocess.Popen[str]:
    # The repository itself, whatever else is installed.
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *line],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def steps_saved(output: Path) -> int:
    state = load_state(output / "state.pt")
    return int(state["step"]) if state else 0


def wait_for_steps(output: Path, count: int, *running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while steps_saved(output) < count:
        ended = [
            process.stdout.read() for process in running if process.poll() is not None and process.stdout
        ]
        assert not ended, ended
        assert time.monotonic() < deadline, "the run takes no steps"
        # To look is to read the whole state, which takes from the processes what it costs.
        time.sleep(0.5)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be gone at the end of the test, however it ends."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def test_a_run_that_is_killed_goes_on_from_its_last_save(
    clips: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    # While it saves after every step, a kill falls into a save as likely as not.
    process = child(arguments(clips, tmp_path, "--pictures", "100000"))
    started.append(process)
    wait_for_steps(tmp_path, 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = steps_saved(tmp_path)
    assert reached >= 4
    length = str(2 * reached + 4)
    assert backbone.train(options(clips, tmp_path, "--pictures", length), TINY) == 0
    assert steps_saved(tmp_path) == reached + 2


def test_two_processes_train_one_network_and_its_adversary_and_stop_together(
    clips: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    # They meet as under torchrun, where their parent listens, here at any free port.
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    met = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    met |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    line = arguments(clips, tmp_path, *FULL, "--pictures", "100000")
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        started.append(child(line, **met, **place))
    wait_for_steps(tmp_path, 2, *started)
    # Only the process that saves nothing is told to stop.
    started[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=180)[0] for process in started]
    assert [process.returncode for process in started] == [130, 130], outputs
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    assert state["pictures"] == 4 * state["step"]
    assert f"stopped after {state['pictures']} pictures" in outputs[0]
    assert validations(tmp_path)[-1]["pictures"] == state["pictures"]
    assert load(tmp_path / "weights").config["model"] == "fomm"


def test_a_damaged_or_foreign_state_is_one_sentence(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    assert main(["backbone", *arguments(clips, tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Could not resume from" in error
    assert error.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in error
    save_state(tmp_path / "state.pt", {"step": 3})
    with pytest.raises(RequestError, match="damaged, or for another --model or other network sizes"):
        backbone.train(options(clips, tmp_path), TINY)
    save_state(tmp_path / "state.pt", fresh().state())
    with pytest.raises(RequestError, match="other network sizes"):
        backbone.train(options(clips, tmp_path), replace(TINY, generator=(8, 8, 16)))


def test_an_adversary_is_part_of_its_run(clips: Path, tmp_path: Path) -> None:
    # In bfloat16 too, which most processors imitate slowly: in this run alone.
    wanted = options(clips, tmp_path, *FULL, "--bf16", "--pictures", "4")
    assert backbone.train(wanted, TINY_FOMM) == 0
    state = load_state(tmp_path / "state.pt")
    assert state is not None
    assert set(state) == {
        "network",
        "average",
        "optimiser",
        "pictures",
        "step",
        "seconds",
        "random",
        "critic",
    }
    recipe = FommRecipe(wanted, TINY_FOMM)
    run, _ = recipe.start(torch.device("cpu"), 1)
    assert run.critic is not None
    before = {name: tensor.clone() for name, tensor in run.critic.state_dict().items()}
    run.resume(state)
    moved = [
        name for name, tensor in run.critic.state_dict().items() if not torch.equal(tensor, before[name])
    ]
    assert len(moved) >= len(list(run.critic.parameters()))
    # A run without an adversary does not go on as one with it, nor one of another kind as either.
    for other in (["--model", "fomm"], ["--model", "lite"]):
        with pytest.raises(RequestError, match="another --model"):
            backbone.train(options(clips, tmp_path, *other), SIZES[other[1]])


@pytest.mark.parametrize(
    "wrong",
    [
        "--adversarial",
        "--sizes vox-256",
        "--model fomm --use-kp",
        "--model fomm --whole-after 0.5",
        "--model fomm --landmarks folder",
        "--model fomm --init folder",
        "--model fomm --only motion",
        "--model fomm --teacher folder",
        "--model fomm --heat 64",
        "--model fomm --optical-flow",
    ],
)
def test_options_of_another_model_are_refused(
    wrong: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backbone", *arguments(clips, tmp_path, *wrong.split())]) == 2
    assert wrong.split()[-1 if wrong.endswith(("kp", "al", "flow")) else -2] in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["--pictures 0", "--batch 0", "--rate nan", "--every 0", "--device tpu"])
def test_options_out_of_range_are_refused(
    wrong: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["backbone", *arguments(clips, tmp_path, *wrong.split())])
    assert caught.value.code == 2
    assert wrong.split(maxsplit=1)[0] in capsys.readouterr().err


def fresh() -> Run[LiteNetwork]:
    torch.manual_seed(0)
    network = LiteNetwork(TINY)
    return Run.of(network, torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True))


def batch(count: int, drivings: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Black sources, driving frames nearly so, and faces that are not known."""
    sources = torch.zeros(count, 3, 256, 256, dtype=torch.uint8)
    driving = torch.full((count, drivings, 3, 256, 256), 9, dtype=torch.uint8)
    return sources, driving, torch.full((count, 1 + drivings, 175, 2), torch.nan)


@pytest.mark.parametrize("size", [256, 64])
def test_an_objective_is_given_sources_with_all_their_driving_frames(size: int) -> None:
    run = fresh()
    run.size = size
    pictures, driving, faces = batch(2, drivings=3)
    pictures[1] = 255
    driving[1, 2] = 51
    faces[0] = 0.25
    given: list[torch.Tensor] = []

    def objective(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        given.extend(inputs)
        return {"none": next(run.network.parameters()).sum() * 0, "two": torch.tensor(2.0)}

    losses = run.advance(objective, (pictures, driving, faces), None, bf16=False)
    assert {name: float(loss) for name, loss in losses.items()} == {"none": 0, "two": 2}
    source, frames, window, landmarks = given
    assert source.shape == (2, 3, size, size)
    assert frames.shape == (2, 3, 3, size, size)
    assert window is None
    torch.testing.assert_close(landmarks, faces, equal_nan=True)
    assert source.mean((1, 2, 3)).tolist() == [0, 1]
    torch.testing.assert_close(frames[1].mean((1, 2, 3)), torch.tensor([9 / 255, 9 / 255, 0.2]))
    assert run.network.training
    assert run.step == 1


def test_a_resumed_run_is_the_run() -> None:
    run, other = fresh(), fresh()

    def objective(source: torch.Tensor, driving: torch.Tensor, *_more: object) -> dict[str, torch.Tensor]:
        return {"noise": (run.network.detector(source).flat() * torch.rand(60)).sum() * driving.mean()}

    run.advance(objective, batch(2), None, bf16=False)
    run.pictures = 2
    state = run.state()
    expected = torch.rand(3)
    other.resume(state)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert (other.pictures, other.step) == (2, 1)
    assert other.optimiser.state_dict()["state"]
    for mine, theirs in ((other.network, run.network), (other.average, run.average)):
        for name, tensor in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_step_without_a_finite_gradient_changes_nothing_and_many_end_the_run() -> None:
    run = fresh()
    before = {name: tensor.clone() for name, tensor in run.network.named_parameters()}

    def objective(*_inputs: object) -> dict[str, torch.Tensor]:
        return {"bad": next(run.network.parameters()).sum() * float("nan")}

    for _ in range(19):
        run.advance(objective, batch(1), None, bf16=False)
    for name, tensor in run.network.named_parameters():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    with pytest.raises(KeycastError, match="diverged"):
        run.advance(objective, batch(1), None, bf16=False)


def test_the_average_follows_slowly() -> None:
    average, network = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)
    network.weight.data.fill_(3.0)
    network.running_mean = torch.tensor([4.0])
    network.num_batches_tracked = torch.tensor(7)
    follow(average, network, 0.75)
    assert average.weight.item() == pytest.approx(1.5)
    assert average.running_mean is not None
    assert average.running_mean.item() == pytest.approx(1.0)
    assert average.num_batches_tracked == 7
