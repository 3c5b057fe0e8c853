"""Augmented tracks: the same motion as other cameras would have seen it."""

import pytest
import torch
from torch import Tensor

from models.landmarks.points import mirrored
from models.lite.detector import TORSO
from models.lite.layout import LAYOUT
from models.lite.named import MIRROR
from models.training.backbones.face_code import LABELLED, FaceCode
from models.training.forecasters import forecaster_augment
from shared.keypoints import Floats
from tests.drawn_face import face

torch.set_num_threads(1)


def code_of(landmarks: Floats, torso: Tensor) -> Tensor:
    """Return the 60 numbers of a face; its torso, which has no landmarks, is at `torso`, upright."""
    found = FaceCode(face()).points(torch.from_numpy(landmarks)[None])
    value, jacobian = torch.zeros(1, 10, 2), torch.eye(2).expand(1, 10, 2, 2).clone()
    value[:, list(LABELLED)], jacobian[:, list(LABELLED)] = found
    value[:, TORSO] = torso
    return torch.cat([value.flatten(1), jacobian.flatten(1)], dim=1)


def test_a_mirrored_track_is_the_track_of_the_mirrored_face(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarks = face(lips=0.2, lids=0.2, gaze=0.7) * [0.9, 1.1] + [0.1, -0.05]
    landmarks = landmarks.astype("float32")
    landmarks[:, 0] += 0.2 * landmarks[:, 1]
    torso = torch.tensor([0.3, 0.8])
    mirror = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    monkeypatch.setattr(forecaster_augment, "_maps", lambda *_: mirror)
    frames = code_of(landmarks, torso).expand(1, 3, 60)
    got = forecaster_augment.augment(frames, torch.Generator().manual_seed(0), LAYOUT, MIRROR)
    expected = code_of(mirrored(landmarks), torso * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(got, expected.expand(1, 3, 60), atol=1e-5, rtol=0)


def test_points_without_names_stay_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]])
    monkeypatch.setattr(forecaster_augment, "_maps", lambda *_: mirror)
    frames = torch.randn(1, 1, 60, generator=torch.Generator().manual_seed(1)).expand(1, 3, 60)
    got = forecaster_augment.augment(frames, torch.Generator().manual_seed(0), LAYOUT)
    torch.testing.assert_close(got[..., :20:2], -frames[..., :20:2])
    torch.testing.assert_close(got[..., 1:20:2], frames[..., 1:20:2])
    jacobians = frames[..., 20:].reshape(1, 3, 10, 2, 2)
    torch.testing.assert_close(
        got[..., 20:].reshape(1, 3, 10, 2, 2), jacobians * torch.tensor([[-1.0], [1.0]])
    )
