import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.build import load_backbone
from models.checkpoint import load
from models.clips.video import timed_pictures
from models.fomm.config import PUBLISHED, FommConfig
from models.fomm.model import load_fomm
from models.landmarks.landmark_files import save_canonical, save_clip
from models.training.backbones import backbone_command as backbone
from models.training.backbones.lite import LiteObjective
from models.training.backbones.recipes import FommRecipe, LiteRecipe, fomm_sizes
from models.training.backbones.recipes import save_lite as save_lite_weights
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose
from tests.drawn_face import face
from tests.tiny_lite import TINY, save_lite, unsettled

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
TINY_FOMM = FommConfig(
    image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
    generator_expansion=8, generator_down_blocks=1, generator_bottleneck_blocks=2,
)  # fmt: skip
FULL = ["--model", "fomm", "--adversarial", "--use-kp", "--bf16"]

CPU = torch.device("cpu")


def options(*line: str, clips: Path = Path("clips")) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    backbone.add_arguments(parser)
    return parser.parse_args(["--clips", str(clips), *line])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with train and test: folders of frames of two drawn people who move a lot."""
    root, portrait = tmp_path_factory.mktemp("people"), Portrait()
    for step in range(30):
        angle = 2 * math.pi * step / 30
        sway = 0.35 * math.sin(angle), 0.1 * math.cos(angle)
        pose = Pose(yaw=0.5 * math.sin(angle), sway=sway, mouth=0.5 + 0.5 * math.cos(2 * angle))
        picture = portrait.draw(pose)
        for name, seen in (("ann#1", picture), ("ben#1", picture[:, ::-1][..., [2, 0, 1]])):
            for part in ("train", "test"):
                (root / part / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(seen)).save(root / part / name / f"{step}.jpg")
    return root


def test_the_full_network_learns_to_follow(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"--model fomm --output {tmp_path} --cache {tmp_path / 'cache'} --device cpu"
    short = options(*line.split(), "--pictures", "240", "--batch", "4", "--rate", "5e-3", clips=people)
    assert backbone.train(short, TINY_FOMM) == 0
    assert "2 clips to train on, 2 to validate on" in capsys.readouterr().out
    # Nearer to the driving pictures than the source picture is.
    after = json.loads((tmp_path / "validation.jsonl").read_text())
    assert after["share"] < 0.85
    assert after["worse"] == 0
    assert load_fomm(tmp_path / "weights").config == TINY_FOMM
    # To time its precisions takes seconds; one round chooses one too.
    monkeypatch.setattr("models.fomm.serving._ROUNDS", 1)
    served = load_backbone("fomm", tmp_path / "weights", "cpu")
    clip = [picture for _, picture in timed_pictures(people / "test" / "ann#1")]
    source, driving = fitted_to(64, clip[7]), fitted_to(64, clip[22])
    kept = served.encode(source)
    followed, still = (served.render(kept, served.detect(picture[None]))[0] for picture in (driving, source))
    assert distance(followed, driving) < 0.9 * distance(still, driving)


def fitted_to(size: int, picture: Pictures) -> Pictures:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))


def distance(one: Pictures, other: Pictures) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_what_options_leave_out_is_as_published() -> None:
    lite = options()
    recipe = backbone._recipe(lite, None, CPU)
    assert isinstance(recipe, LiteRecipe)
    assert (lite.batch, lite.rate, recipe.length(7, CPU)) == (12, 7e-4, 60_000)
    assert lite.output == Path("runs/lite")
    fomm = options("--model", "fomm")
    recipe = backbone._recipe(fomm, None, CPU)
    assert isinstance(recipe, FommRecipe)
    assert recipe.config == PUBLISHED["vox-256"]
    assert (fomm.batch, fomm.rate, recipe.length(7, CPU)) == (20, 2e-4, 7 * 75 * 100)
    assert fomm.output == Path("runs/fomm")
    assert [recipe.factor(done) for done in (0, 0.59, 0.6, 0.89, 0.9, 1)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    adversarial = FommRecipe(options(*FULL, "--rate", "2e-4"), TINY_FOMM)
    assert (adversarial.length(7, CPU), adversarial.factor(0.95)) == (7 * 75 * 150, 1)
    run, _ = adversarial.start(torch.device("cpu"), 1)
    (group,) = run.optimiser.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.5, 0.999), 0)


def test_the_lite_network_trains_on_windows_first() -> None:
    recipe = LiteRecipe(options("--rate", "1e-3", "--pictures", "240000"), TINY)
    generator = torch.Generator().manual_seed(0)
    assert recipe.window(0.84, generator) is not None
    assert recipe.window(0.85, generator) is None
    assert LiteRecipe(options("--whole-after", "0.2"), TINY).window(0.2, generator) is None
    # A short warm-up, of 200 steps or 5 % at most, then a cosine.
    assert recipe.factor(0.005) < 0.51
    assert recipe.factor(0.01) == pytest.approx(1)
    assert recipe.factor(1.0) == pytest.approx(0.02)


def test_the_lite_network_is_drawn_with_colours_that_there_are() -> None:
    network = unsettled()
    assert network.generator.detail[1].bias is not None  # type: ignore[union-attr]
    with torch.inference_mode():
        network.generator.detail[1].bias[:6] = 30.0  # type: ignore[index, union-attr]
        network.generator.detail[1].bias[6:12] = -30.0  # type: ignore[index, union-attr]
        pictures = torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(0))
        drawn = LiteRecipe(options(), TINY).render(network, pictures[:1], pictures[1:])
    assert drawn.shape == (2, 3, 256, 256)
    assert drawn.unique().tolist() == [0, 1]


def test_a_lite_run_starts_alike_in_all_its_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = save_lite(tmp_path / "given", unsettled(3))
    save_clip(tmp_path / "a.npz", "a.mp4", face()[None])
    save_canonical(tmp_path, np.pad(face(), ((0, 0), (0, 1))))
    line = ("--rate", "1e-3", "--init", str(given), "--landmarks", str(tmp_path))
    run, objective = LiteRecipe(options(*line), TINY).start(torch.device("cpu"), 1)
    assert isinstance(objective, LiteObjective)
    assert objective.code is not None
    assert objective.network is run.network
    wanted = unsettled(3).state_dict()
    for mine in (run.network.state_dict(), run.average.state_dict()):
        assert all(torch.equal(mine[name], tensor) for name, tensor in wanted.items())
    for name, tensor in objective.judge.state_dict().items():
        assert torch.equal(tensor, wanted[f"detector.{name}"])
    assert not caplog.text
    _, plain = LiteRecipe(options("--rate", "1e-3"), TINY).start(torch.device("cpu"), 1)
    assert isinstance(plain, LiteObjective)
    assert plain.code is None
    assert "Without --landmarks" in caplog.text
    # The adversary's weights would be the optimiser's too; here there is the network alone.
    moved = {id(p) for group in run.optimiser.param_groups for p in group["params"]}
    assert moved == {id(p) for p in run.network.parameters()}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--only rendering", "--only trains a part of the --init weights; give both or neither"),
        ("--only patches --init folder", "--only patches learns from --landmarks; give them"),
        (
            "--only patches --init folder --landmarks folder --optical-flow",
            "--only patches learns nothing from --optical-flow; leave it out",
        ),
        ("--only whole --init folder", "--only whole imitates the --teacher weights; give both or neither"),
        ("--teacher folder", "--only whole imitates the --teacher weights; give both or neither"),
        (
            "--only whole --teacher folder --optical-flow",
            "--only whole learns nothing from --optical-flow; leave it out",
        ),
    ],
)
def test_a_part_is_trained_only_with_what_it_takes(line: str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        LiteRecipe(options(*line.split()), TINY)


def test_a_larger_first_look_can_be_trained() -> None:
    assert LiteRecipe(options("--heat", "64"), TINY).config == replace(TINY, heat=64)
    assert LiteRecipe(options(), TINY).config == TINY


def test_a_run_has_the_sizes_of_the_weights_that_it_begins_with(tmp_path: Path) -> None:
    given = save_lite(tmp_path / "given", unsettled(config=replace(TINY, heat=64)))
    recipe = LiteRecipe(options("--rate", "1e-3", "--init", str(given)))
    run, _ = recipe.start(torch.device("cpu"), 1)
    assert recipe.config == run.network.config == replace(TINY, heat=64)
    with pytest.raises(RequestError, match="no checkpoint"):
        LiteRecipe(options("--init", str(tmp_path / "none")))


def test_weights_to_begin_with_must_fit(tmp_path: Path) -> None:
    wide = unsettled(config=replace(TINY, detail=8))
    for folder, reason in (
        (save_lite(tmp_path / "wide", wide), "does not fit"),
        (tmp_path / "none", "no checkpoint"),
    ):
        recipe = LiteRecipe(options("--rate", "1e-3", "--init", str(folder)), TINY)
        with pytest.raises(RequestError, match=reason) as caught:
            recipe.start(torch.device("cpu"), 1)
        assert "\n" not in str(caught.value)


def test_a_teacher_must_fit_but_for_what_imitates_it(tmp_path: Path) -> None:
    teacher = save_lite(tmp_path / "teacher", unsettled(config=replace(TINY, detail=8, heat=64)))
    recipe = LiteRecipe(options("--rate", "1e-3", "--only", "whole", "--teacher", str(teacher)), TINY)
    with pytest.raises(RequestError, match="The --teacher checkpoint does not fit this network") as caught:
        recipe.start(torch.device("cpu"), 1)
    assert "detector.whole" not in str(caught.value)


def test_a_checkpoint_names_its_detector_whatever_draws(tmp_path: Path) -> None:
    def saved(name: str, **changed: Tensor) -> tuple[str, str]:
        tensors = unsettled().state_dict() | {key.replace("__", "."): new for key, new in changed.items()}
        save_lite_weights(tmp_path / name, tensors, TINY, 7)
        made = load(tmp_path / name, expect="lite")
        assert made.config["pictures"] == 7
        return made.fingerprint, made.config["detector"]

    plain, detector = saved("plain")
    assert len(detector) == 16
    drawing = unsettled().generator.expand.weight.detach() + 1
    other, same = saved("drawing", generator__expand__weight=drawing)
    assert other != plain
    assert same == detector
    finding = unsettled().detector.whole.heatmaps.weight.detach() + 1
    assert saved("finding", detector__whole__heatmaps__weight=finding)[1] != detector


def test_sizes_come_by_name_or_file(tmp_path: Path) -> None:
    assert fomm_sizes("mgif-256").single_jacobian_map
    file = tmp_path / "sizes.json"
    file.write_text('{"image_size": 128, "generator_bottleneck_blocks": 2}')
    assert fomm_sizes(str(file)) == FommConfig(image_size=128, generator_bottleneck_blocks=2)
    for text in ("{", "[1]", '{"image_size": "64"}', '{"depth": 3}', '{"image_size": 60}'):
        file.write_text(text)
        with pytest.raises(RequestError) as caught:
            fomm_sizes(str(file))
        assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match="vox-256"):
        fomm_sizes("vox")


def test_small_pictures_have_no_adversary() -> None:
    with pytest.raises(RequestError, match="at least 61 pixels"):
        FommRecipe(options(*FULL), FommConfig(**{**asdict(TINY_FOMM), "image_size": 32}))
