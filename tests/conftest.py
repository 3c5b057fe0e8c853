"""What tests of several packages share."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("keycast", deadline=None)
settings.load_profile("keycast")


def _needed(name: str) -> Path:
    """Return a file or folder of KEYCAST_DATA: clips and networks that are no part of the project."""
    folder = os.environ.get("KEYCAST_DATA")
    if not folder or not (file := Path(folder) / name).exists():
        pytest.skip(f"needs {name}; set KEYCAST_DATA to a folder that has it")
    return file


@pytest.fixture(scope="session")
def face_detector() -> Path:
    """Return the YuNet file."""
    return _needed("weights/face_detection_yunet.onnx")


@pytest.fixture(scope="session")
def squeezenet() -> Path:
    """Return the SqueezeNet features."""
    return _needed("weights/squeezenet1_1-features.safetensors")


@pytest.fixture(scope="session")
def other_people() -> Path:
    """Return the folder of real clips that nothing was trained on."""
    return _needed("talking-heads/val")


@pytest.fixture(scope="session")
def finest_landmarks() -> Path:
    """Return the folder of landmarks that a finer mesh found in the real clips."""
    return _needed("landmarks/val.npz").parent


@pytest.fixture(scope="session")
def mesh_networks() -> Path:
    """Return the folder of the face mesh and iris networks."""
    # Not imported here: whoever does so first decides whether it reports home.
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs OpenVINO")
    return _needed("weights/face_landmark.tflite").parent
