"""Modules that a call of the shipped weights loads on a CPU: neither side more than it uses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.harness.processes import ANY_PORT
from models.devices import has_gpu_driver
from receiver.__main__ import main as receiver_main
from sender.__main__ import main as sender_main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO has no build for this machine"),
    pytest.mark.skipif(has_gpu_driver(), reason="where there is a GPU's driver, torch is asked about it"),
]
# Runs a command as its own process does, and then says what is loaded, and which stages were compiled.
RUN = """
import json, sys
from {side}.__main__ import main
from models.openvino.engine import OpenVinoEngine
engines, init = [], OpenVinoEngine.__init__
def made(self, *arguments):
    engines.append(self)
    init(self, *arguments)
OpenVinoEngine.__init__ = made
code = main(sys.argv[1:])
loaded = sorted(set(name.split(".")[0] for name in sys.modules))
print(json.dumps([code, loaded, [engine.compiled for engine in engines]]))
"""
UNUSED = {
    "torch",
    "cv2",
    "scipy",
    "matplotlib",
    "skimage",
    "onnx",
    "onnxruntime",
    "transformers",
    "sounddevice",
    "pywebrtc_audio",
}
# Aimed at were 300; a sender that draws the demo itself takes some 320 to 340.
MAX_MB = 380.0


def start(side: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN.format(side=side), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def frames_in(pictures: Path) -> int:
    return pictures.stat().st_size // (3 * 256 * 256) if pictures.exists() else 0


def test_a_call_loads_no_torch_and_compiles_what_it_uses(tmp_path: Path) -> None:
    token = "a-long-enough-token"
    receiver = start(
        "receiver", "--listen", ANY_PORT, "--token", token, "--once", "--view", "none",
        "--output", str(tmp_path / "seen.npy"), "--stats", str(tmp_path / "receiver.json"),
    )  # fmt: skip
    sender = None
    try:
        assert receiver.stdout is not None
        said = ""
        while " --connect " not in said:
            said = receiver.stdout.readline()
            assert receiver.poll() is None, receiver.communicate()[1]
        url = said.partition(" --connect ")[2].split()[0]
        sender = start(
            "sender", "--source", "demo", "--crop", "centre", "--policy", "adaptive", "--connect",
            url, "--token", token, "--stats", str(tmp_path / "sender.json"),
        )  # fmt: skip
        # Until each stage has run over and over.
        while frames_in(tmp_path / "seen.npy") < 60 and sender.poll() is None and receiver.poll() is None:
            time.sleep(0.1)
        sender.send_signal(signal.SIGINT)
        outputs = {"sender": sender.communicate(timeout=300), "receiver": receiver.communicate(timeout=60)}
    finally:
        for process in (sender, receiver):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
    stages = {"sender": ["detect"], "receiver": ["encode", "render"]}
    for side, (said, complaints) in outputs.items():
        code, modules, compiled = json.loads(said.splitlines()[-1])
        assert code == 0, complaints
        assert UNUSED & set(modules) == set()
        assert compiled == [stages[side]]
        summary = json.loads((tmp_path / f"{side}.json").read_text().splitlines()[-1])
        assert 50 < summary["rss_peak_mb"] < MAX_MB
        assert 0 < summary["cpu"] < 8
    assert json.loads((tmp_path / "sender.json").read_text().splitlines()[-1])["start_s"] > 0
    receiving = json.loads((tmp_path / "receiver.json").read_text().splitlines()[-1])
    assert receiving["ready_s"] > 0
    # A machine that is too slow by far may show none.
    assert (receiving["first_frame_s"] or 0) > 0 or receiving["frames"] == 0


def test_automatic_framing_needs_no_torch_either() -> None:
    code = """
import sys, numpy as np
from models.build import SHIPPED, load_head_finder
load_head_finder()(np.zeros((72, 128, 3), np.uint8))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_a_device_is_chosen_without_torch(name: str) -> None:
    code = (
        f"import sys; from models.build import choose_device as c; print(c({name!r}), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "cpu False\n", done.stderr


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_gpu_that_is_not_there_is_one_sentence(side: str, capfd: pytest.CaptureFixture[str]) -> None:
    if side == "sender":
        code = sender_main(["--source", "demo", "--device", "cuda"])
    else:
        code = receiver_main(["--view", "none", "--listen", ANY_PORT, "--device", "cuda"])
    assert code == 2
    assert capfd.readouterr().err.splitlines() == [
        "error: This machine has no CUDA GPU that torch can use; choose --device cpu."
    ]
