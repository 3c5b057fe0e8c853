"""The lite network's training objective: one module, so that one process or many can run it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.detector import TORSO, Detector
from models.lite.geometry import warp
from models.lite.layout import COUNT
from models.lite.network import GRID, LiteNetwork, Motion, Points, Source, Window
from models.perceptual import Perceptual
from models.training.backbones.face_code import FaceCode
from models.training.backbones.face_losses import closed_loop, emphasis, flow_loss, lids_loss, still_loss
from models.training.backbones.found_points import driving_of, known, mostly_held, one_of, replaced
from models.training.backbones.losses import AffineWarp, equivariance, pyramid_l1, separation_loss
from models.training.backbones.optical_flow import Seen, body_motion, seen_flow, seen_loss, torso_loss
from shared.keypoints import Floats

_WINDOW = GRID // 2
_EMPHASIS = 8.0
# Sensor noise that detection is trained with, up to this standard deviation, in levels of [0, 1].
_NOISE = 0.03
# How far from where they should be patches are cut, in half pictures.
_JITTER = 0.012
_JUDGE_EVERY = 200
# How much each point of the whole picture's look counts when it imitates another: eyes and mouth are found
# again in patches, the torso moves most of the picture.
_PLACES = (1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 3.0, 1.0, 4.0, 3.0)
_SHAPES = (0.2, 0.2, 1.0, 0.2, 0.2, 0.2, 1.0, 0.2, 1.5, 1.0)
_FARTHEST_SHAPE = 2.0
# A point outside of the picture counts less: hardly anything tells where it is.
_OUTSIDE = 0.05
ONLY = {
    "whole": ("detector.whole",),
    "patches": ("detector.eyes", "detector.mouth"),
    "motion": ("motion",),
    "rendering": ("motion", "generator"),
    "body": ("detector.whole", "motion", "generator"),
}
"""What may be learned by itself, and the modules that it is."""
KEEPING = ("motion", "rendering")
"""Those that leave what is detected as it is."""
# How often, where a part is learned, a frame is drawn by what its landmarks say instead of what is found.
_TOLD = 0.25


def random_window(generator: torch.Generator) -> Window:
    """Return a 128x128 part of the picture: half the time near the middle, where faces are, else anywhere."""
    steps = (GRID - _WINDOW) // 4 + 1
    low, high = (2, steps - 2) if torch.rand((), generator=generator) < 0.5 else (0, steps)
    top, left = torch.randint(low, high, (2,), generator=generator).tolist()
    return Window(4 * top, 4 * left, _WINDOW)


class LiteObjective(nn.Module):
    """Reconstruct a driving frame from another frame of the same clip, and learn what the points mean.

    10 pyramid L1 of the rendered window + 5 of the whole warped source at 64x64 + 6 SqueezeNet feature
    distance. Where landmarks are known also 20 L1 of the points' places and 4 of their Jacobians (see
    `FaceCode`), both for the first look and for the patches, 20 L1 of the flow at landmarks, 20 of where the
    lids are, 5 of the flow where nothing moves, and 2 of what the detector's patches find in the rendered
    frame; eyes and mouth count up to nine times. Detection and motion see the whole picture; only the
    generator, the costly part, is trained on a window of it, at the true scale.

    `canonical` (175, 3) is the face that landmarks are measured against, or None without landmarks: then
    points are found by the rendering, by 10 and 5 equivariance and by 5 separation, as in FOMM.

    With `only` one of `ONLY` a part of the network is learned, by the losses that tell it something: where
    it draws, a quarter of the time from the points that the landmarks stand for: they are steadier than
    found ones, and teach what each number means.

    With a `teacher`, another detector, and `only` the whole picture's look, that imitates the teacher's.

    Landmarks say nothing of clothes and hair. With `follow` optical flow does, on a CPU: 10 of how far the
    flow is from it, and of the torso 20 and 4 of how far place and Jacobian are from moving as it does.
    """

    places: Tensor
    shapes: Tensor

    def __init__(
        self,
        network: LiteNetwork,
        perceptual: Path | None,
        canonical: Floats | None,
        *,
        only: str | None = None,
        follow: bool = False,
        teacher: Detector | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.teacher = None if teacher is None else teacher.requires_grad_(False)
        for name, counts in (("places", _PLACES), ("shapes", _SHAPES)):
            self.register_buffer(name, torch.tensor(counts) / sum(counts), persistent=False)
        self.only = only
        self.follow = follow
        if only:
            network.requires_grad_(False)
            for part in ONLY[only]:
                network.get_submodule(part).requires_grad_()
        self.perceptual = Perceptual(perceptual) if perceptual else None
        self.code = None if canonical is None else FaceCode(canonical)
        self.judge = copy.deepcopy(network.detector).requires_grad_(False)
        self._calls = 0

    def forward(
        self, source: Tensor, driving: Tensor, window: Window | None, landmarks: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted losses of source pictures (B, 3, 256, 256) and N driving frames of each.

        `driving` is (B, N, 3, 256, 256), all in [0, 1]; `landmarks` (B, 1 + N, 175, 2) are those of source
        and driving, NaN where they are not known. The sum of the losses is minimised.
        """
        frames = driving.flatten(0, 1)
        pictures = torch.cat([source, frames])
        faces = torch.cat([landmarks[:, 0], landmarks[:, 1:].flatten(0, 1)])
        if self.only == "whole":
            return self._imitate(pictures)
        if self.only == "patches":
            return self._look_closely(pictures, faces)
        if self.only in KEEPING:
            found = self._told(self._kept(pictures), landmarks, faces)
            if self.only == "motion":
                return self._move(source, frames, landmarks, found)[2]
            return self.draw(source, frames, window, landmarks, found)
        found, losses = self.detect(pictures, faces)
        if self.only:
            found = self._told(found, landmarks, faces)
        return losses | self.draw(source, frames, window, landmarks, found)

    def _imitate(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return how far the look at whole pictures (B, 3, 256, 256) is from the teacher's."""
        assert self.teacher is not None
        # In float32 always: what is imitated is not to be rounded.
        with torch.no_grad(), torch.autocast(pictures.device.type, enabled=False):
            wanted = self.teacher.eval().whole(pictures)
        found = self.network.detector.whole(_noisy(pictures))
        inside = (wanted.value.abs().amax(-1) < 1) * (1 - _OUTSIDE) + _OUTSIDE
        of_value = (found.value - wanted.value).abs().mean(-1) * inside
        of_shape = (found.jacobian - wanted.jacobian).abs().clamp(max=_FARTHEST_SHAPE).mean((-1, -2))
        return {
            "value": 20 * (of_value * self.places).sum(1).mean(),
            "shape": 3 * (of_shape * self.shapes).sum(1).mean(),
        }

    @torch.no_grad()
    def _kept(self, pictures: Tensor) -> Points:
        """Return the points of pictures (B, 3, 256, 256) by the kept detector."""
        found: Points = self.network.detector.eval()(pictures)
        return found

    def _told(self, found: Points, landmarks: Tensor, faces: Tensor) -> Points:
        """Return what was found, a quarter of the time as landmarks (B, 1 + N, 175, 2) have it.

        `found`, and `faces` (B + B N, 175, 2), are of sources, then of driving frames.
        """
        if self.code is None:
            return found
        told = known(landmarks) & (torch.rand(len(landmarks), device=landmarks.device) < _TOLD)
        told = torch.cat([told, told.repeat_interleave(landmarks.shape[1] - 1)])
        wanted = self.code.points(torch.nan_to_num(faces))
        return Points(
            replaced(found.value, wanted.value, told), replaced(found.jacobian, wanted.jacobian, told)
        )

    def detect(self, pictures: Tensor, landmarks: Tensor) -> tuple[Points, dict[str, Tensor]]:
        """Return the points of pictures (B, 3, 256, 256), and their losses against landmarks (B, 175, 2)."""
        detector = self.network.detector
        noisy = _noisy(pictures)
        rough = detector.whole(noisy)
        fine = detector.refine(noisy, rough, None if self.code is None else self._near(rough, landmarks))
        if self.code is None:
            return fine, _unlabelled(detector, pictures, rough)
        losses = self._against(landmarks, "rough", rough) | self._against(landmarks, "fine", fine)
        return Points(*map(mostly_held, fine)), losses

    def _look_closely(self, pictures: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
        """Return the losses of the detector's patches, cut near where landmarks (B, 175, 2) say.

        The other points are those that landmarks stand for, and cost nothing.
        """
        assert self.code is not None
        wanted = self.code.points(torch.nan_to_num(landmarks))
        told = torch.ones_like(landmarks[:, 0, 0], dtype=torch.bool)
        points = Points.from_flat(torch.zeros_like(pictures[:, 0, 0, : 6 * COUNT]))
        true = Points(
            replaced(points.value, wanted.value, told), replaced(points.jacobian, wanted.jacobian, told)
        )
        near = true.value + _JITTER / 2 * (torch.randn_like(true.value) + torch.randn_like(true.value[:, :1]))
        return self._against(landmarks, "fine", self.network.detector.refine(_noisy(pictures), true, near))

    def _against(self, landmarks: Tensor, name: str, points: Points) -> dict[str, Tensor]:
        assert self.code is not None
        value, jacobian = self.code.losses(points, landmarks)
        return {f"{name}_value": 20 * value, f"{name}_shape": 4 * jacobian}

    def _near(self, rough: Points, landmarks: Tensor) -> Tensor:
        """Return where patches are cut (B, 10, 2): near where the points are said to be, or really are."""
        assert self.code is not None
        value = rough.value.detach()
        told = known(landmarks) & (torch.rand_like(value[:, 0, 0]) < 0.5)
        value = replaced(value, self.code.points(torch.nan_to_num(landmarks)).value, told)
        return value + _JITTER * torch.randn_like(value)

    def draw(
        self, source: Tensor, driving: Tensor, window: Window | None, landmarks: Tensor, found: Points
    ) -> dict[str, Tensor]:
        """Return the losses of rendering; `found` are the points of sources, then of driving frames (B N)."""
        encoded, motion, losses = self._move(source, driving, landmarks, found)
        frame, _ = self.network.generator(encoded, motion, window)
        top, left, size = window or Window()
        rows, columns = slice(4 * top, 4 * (top + size)), slice(4 * left, 4 * (left + size))
        weight = 1 + _EMPHASIS * emphasis(landmarks[:, 1:].flatten(0, 1), driving.shape[-1])
        wanted, counts = driving[:, :, rows, columns], weight[:, :, rows, columns]
        losses["pixels"] = 10 * pyramid_l1(frame, wanted, weight=counts)
        if self.perceptual:
            losses["features"] = 6 * self.perceptual(frame, wanted, counts)
        if self.code is not None:
            whole = driving.clone()
            whole[:, :, rows, columns] = frame
            losses["loop"] = 2 * closed_loop(self._judge(), whole, driving_of(found, len(driving)))
        return losses

    def _move(
        self, source: Tensor, driving: Tensor, landmarks: Tensor, found: Points
    ) -> tuple[Source, Motion, dict[str, Tensor]]:
        """Return what is known of each driving frame's source, its motion, and what that loses."""
        times = len(driving) // len(source)
        of_source = Points(found.value[: len(source)], found.jacobian[: len(source)])
        of_driving = driving_of(found, len(driving))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.only != "motion"):
            encoded = self.network.encode(source, of_source).repeat(times)
        motion = self.network.motion(encoded, of_driving)
        faces = landmarks[:, 1:].flatten(0, 1)
        small = F.avg_pool2d(driving, driving.shape[-1] // GRID)
        counts = 1 + _EMPHASIS * emphasis(faces, GRID)
        losses = {"warp": 5 * pyramid_l1(warp(encoded.small, motion.flow), small, 3, counts)}
        if self.code is not None:
            pairs = torch.stack([landmarks[:, 0].repeat_interleave(times, 0), faces], dim=1)
            losses["flow"] = 20 * flow_loss(motion.flow, pairs)
            # Where lids are follows from the points, which are what they are.
            parts = self.network.motion.parts(Points(*(each.detach() for each in of_driving)))
            losses["lids"] = 20 * lids_loss(parts, faces)
            losses["still"] = 5 * still_loss(motion.flow, encoded.small, small, faces)
        if self.follow:
            before = Points(*(each.repeat_interleave(times, 0) for each in of_source))
            seen = seen_flow(source.repeat_interleave(times, 0), driving)
            losses["seen"] = 10 * seen_loss(motion.flow, seen)
            losses |= self._torsos(seen, faces, before, of_driving)
        return encoded, motion, losses

    def _torsos(self, seen: Seen, faces: Tensor, before: Points, now: Points) -> dict[str, Tensor]:
        """Return how far torsos are from moving as is seen below faces, where they are learned by that."""
        if self.code is None or not now.value.requires_grad:
            return {}
        labelled = self.code.points(torch.nan_to_num(faces)).value
        eyes, chin = labelled[:, :2].mean(1), labelled[:, -1]
        motion = body_motion(seen, chin, (chin - eyes).norm(dim=-1), known(faces))
        value, shape = torso_loss(one_of(before, TORSO), one_of(now, TORSO), motion)
        return {"torso_value": 20 * value, "torso_shape": 4 * shape}

    def _judge(self) -> Detector:
        """Return a copy of the detector that rests: its batch norms are not moved by what is rendered."""
        if self._calls % _JUDGE_EVERY == 0:
            self.judge.load_state_dict(self.network.detector.state_dict())
        self._calls += 1
        return self.judge.eval()


def _noisy(pictures: Tensor) -> Tensor:
    """Add sensor noise, to each picture as much as chance has it."""
    return pictures + torch.randn_like(pictures) * (_NOISE * torch.rand_like(pictures[:, :1, :1, :1]))


def _unlabelled(detector: Detector, pictures: Tensor, found: Points) -> dict[str, Tensor]:
    """Return what keeps points useful where nothing defines them: equivariance and distance."""
    half = (len(pictures) + 1) // 2
    affine = AffineWarp(half, pictures)
    warped = detector.whole(affine.warp(pictures[:half]))
    value, jacobian = equivariance(Points(found.value[:half], found.jacobian[:half]), warped, affine)
    return {
        "value": 10 * value,
        "jacobian": 5 * jacobian.clamp(max=4),
        "separation": 5 * separation_loss(found.value),
    }
