"""Fixtures that tests of several packages share."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
settings.register_profile("keycast", deadline=None)
settings.load_profile("keycast")


# Files that take longest, first: where several run side by side, none is left to run alone in the end. What
# waits for real calls stands beside what computes.
_LONGEST = (
    "test_two_way", "test_export", "test_call", "test_openvino_engine", "test_survive",
    "test_training_backbone",
    "test_bandwidth", "test_published_backbones", "test_loopback", "test_nth_parity", "test_survival",
    "test_throughput_beside", "test_relay", "test_throughput", "test_lean", "test_training_codec",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Leave the user's own cache alone; what is drawn once for the demo is drawn once for all tests."""
    assert config.cache is not None
    os.environ["XDG_CACHE_HOME"] = str(config.cache.mkdir("user"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others stay in their order."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def drawn_people() -> None:
    """Draw the demo's people, who otherwise are drawn while the first calls run."""
    from sender.demo import DEMOS, DemoSource

    for name in DEMOS:
        source = DemoSource(None, name)
        source.wait()
        source.close()


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
