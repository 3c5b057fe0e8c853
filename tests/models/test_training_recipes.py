import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.build import load_backbone
from models.fomm.config import PUBLISHED, FommConfig
from models.fomm.model import load_fomm
from models.training import backbone
from models.training.recipes import FommRecipe, LiteRecipe, fomm_sizes
from models.training.video import timed_pictures
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose

torch.set_num_threads(1)
TINY_FOMM = FommConfig(
    image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
    generator_expansion=8, generator_down_blocks=1, generator_bottleneck_blocks=2,
)  # fmt: skip
FULL = ["--model", "fomm", "--adversarial", "--use-kp", "--bf16"]


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
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"--model fomm --output {tmp_path} --cache {tmp_path / 'cache'} --device cpu"
    short = options(*line.split(), "--pictures", "400", "--batch", "4", "--rate", "5e-3", clips=people)
    assert backbone.train(short, TINY_FOMM) == 0
    assert "2 clips to train on, 2 to validate on" in capsys.readouterr().out
    # Nearer to the driving pictures than the source picture is.
    after = json.loads((tmp_path / "validation.jsonl").read_text())
    assert after["share"] < 0.85
    assert after["worse"] == 0
    assert load_fomm(tmp_path / "weights").config == TINY_FOMM
    served = load_backbone("fomm", tmp_path / "weights", "cpu")
    clip = [picture for _, picture in timed_pictures(people / "test" / "ann#1")]
    source, driving = fitted_to(64, clip[7]), fitted_to(64, clip[22])
    served.set_source(source)
    followed, still = (served.render(served.detect(picture[None]))[0] for picture in (driving, source))
    assert distance(followed, driving) < 0.9 * distance(still, driving)


def fitted_to(size: int, picture: Pictures) -> Pictures:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))


def distance(one: Pictures, other: Pictures) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_what_options_leave_out_is_as_published() -> None:
    lite = options()
    recipe = backbone._recipe(lite, None)
    assert isinstance(recipe, LiteRecipe)
    assert (lite.batch, lite.rate, recipe.length(7)) == (12, 5e-4, 60_000)
    assert lite.output == Path("runs/lite")
    fomm = options("--model", "fomm")
    recipe = backbone._recipe(fomm, None)
    assert isinstance(recipe, FommRecipe)
    assert recipe.config == PUBLISHED["vox-256"]
    assert (fomm.batch, fomm.rate, recipe.length(7)) == (20, 2e-4, 7 * 75 * 100)
    assert fomm.output == Path("runs/fomm")
    assert [recipe.factor(done) for done in (0, 0.59, 0.6, 0.89, 0.9, 1)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    adversarial = FommRecipe(options(*FULL, "--rate", "2e-4"), TINY_FOMM)
    assert (adversarial.length(7), adversarial.factor(0.95)) == (7 * 75 * 150, 1)
    run, _ = adversarial.start(torch.device("cpu"), 1)
    (group,) = run.optimiser.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.5, 0.999), 0)


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
