"""Calls between real processes over a real connection on this machine."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from receiver.__main__ import main as receiver_main
from sender.__main__ import main as sender_main
from sender.calling import connect
from shared.errors import RequestError
from shared.runtime.journal import last_summary
from shared.transport.tls import client_context
from tests.tiny_lite import save_lite, untrained

pytestmark = pytest.mark.slow

START_SECONDS = END_SECONDS = 180.0
"""For a machine that has much else to do; a quiet one takes a few."""
TOKEN = "correct-horse"
FRAMES = 72  # 2.4 s; the last six are skipped


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, what it printed, and what it complained of."""

    code: int
    out: str
    err: str


class Command:
    """`python -m sender ...` or `python -m receiver ...` in its own process."""

    def __init__(self, module: str, *arguments: object) -> None:
        words = [sys.executable, "-m", module, *map(str, arguments)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._err: list[str] = []
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        self._err.extend(self.process.stderr)

    def said(self, word: str) -> str:
        """Wait until a line on stdout begins with `word`, and return it."""
        with self._news:
            found = self._news.wait_for(
                lambda: self._with(word) or ("" if self.process.poll() is None else "?"), START_SECONDS
            )
        assert found, f"no {word!r}: {self._lines} {self._err}"
        assert self.process.poll() is None, self._err
        return found

    def _with(self, word: str) -> str:
        return next((line for line in self._lines if line.startswith(word)), "")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def done(self) -> Done:
        code = self.process.wait(END_SECONDS)
        for reader in self._readers:
            reader.join(5)
        return Done(code, "".join(self._lines), "".join(self._err))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@dataclass
class Place:
    """Where a test's commands run: a folder, a clip, and the port that the first receiver takes.

    They use the shipped weights, whose graphs are kept: with others each process would first make its own.
    """

    folder: Path
    clip: Path
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def receiver(self, *arguments: object) -> Iterator[Command]:
        """A receiver that listens."""
        with self.serving_receiver("--once", *arguments) as command:
            yield command

    @contextmanager
    def serving_receiver(self, *arguments: object) -> Iterator[Command]:
        """A receiver that serves one call after the other."""
        with self.command("receiver", *self.receiving(*arguments)) as command:
            self.port = int(command.said("  sender").partition("://127.0.0.1:")[2].split()[0])
            yield command

    @contextmanager
    def sender(self, *arguments: object) -> Iterator[Command]:
        with self.command("sender", *self.sending(*arguments)) as command:
            yield command

    def sender_here(self, capfd: pytest.CaptureFixture[str], *arguments: object) -> Done:
        """The sender's command without a process of its own: it starts faster."""
        return run_here(capfd, "sender", self.sending(*arguments))

    @contextmanager
    def command(self, module: str, *arguments: object) -> Iterator[Command]:
        command = Command(module, *arguments)
        try:
            yield command
        finally:
            command.stop()

    def receiving(self, *more: object) -> list[object]:
        words: list[object] = ["--listen", f"127.0.0.1:{self.port}", "--token", TOKEN, "--view", "none"]
        return [*words, "--forecaster", "hold", "--threads", 1, *more]

    def sending(self, *more: object) -> list[object]:
        return ["--source", self.clip, "--connect", self.url, "--token", TOKEN, *more]


def clip(path: Path, frames: int = FRAMES) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            picture = np.full((256, 256, 3), 60, np.uint8)
            picture[64:192, n : n + 96] = (200, 150, 100)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def shared_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("call")
    torch.set_num_threads(1)
    save_lite(folder / "others", untrained(1))
    clip(folder / "clip.mp4")
    return folder


@pytest.fixture
def place(shared_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Place(tmp_path, shared_files / "clip.mp4")


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def stats(path: Path) -> dict[str, Any]:
    return last_summary(path)


def run_here(capfd: pytest.CaptureFixture[str], module: str, words: list[object]) -> Done:
    capfd.readouterr()
    code = (sender_main if module == "sender" else receiver_main)([*map(str, words)])
    return Done(code, *capfd.readouterr())


def assert_one_sentence(done: Done, code: int, *words: str) -> None:
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1, done.err
    assert re.fullmatch(r"error: .*\.\n", done.err), done.err
    assert all(word in done.err for word in words), done.err
    assert done.code == code


def test_a_call_of_larger_pictures(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """Both ends know them: what the receiver keeps is as large, and so are the pictures that it was sent."""
    output, received = place.folder / "call.npy", place.folder / "receiver.json"
    with place.receiver("--output", output, "--stats", received) as there:
        assert place.sender_here(capfd, "--size", 384, "--crop", "centre").code == 0
        assert there.done().code == 0
    assert np.load(output, mmap_mode="r").shape[1:] == (384, 384, 3)
    assert stats(received)["picture_size"] == 384


def test_a_call_from_one_process_to_another(place: Place) -> None:
    """The sender finds the token of a receiver on its own machine."""
    output, received, sent = (place.folder / name for name in ("call.mp4", "receiver.json", "sender.json"))
    with place.receiver("--output", output, "--stats", received) as there:
        calling = ["--source", place.clip, "--connect", place.url, "--preset", "paper", "--stats", sent]
        with place.command("sender", *calling) as here:
            from_sender, from_receiver = here.done(), there.done()
    assert (from_sender.code, from_sender.err) == (0, "")
    assert (from_receiver.code, from_receiver.err) == (0, "")
    assert "The video has ended." in from_sender.out
    for text in (from_sender.out, from_receiver.out):
        # Where there is no terminal, the status is a few plain lines.
        states = [line for line in text.splitlines() if re.match(r"(connecting|live) ", line)]
        assert 1 <= len(states) <= 10, text
        assert re.search(r" up \d+\.\d kbps \(keypoints \d+\.\d, pictures ", text)
        assert text.isascii()
        assert "\r" not in text
    ours, theirs = stats(sent), stats(received)
    assert ours["payload_bytes"] == 240 * ours["frames"]
    assert theirs["payload_bytes"] <= ours["payload_bytes"]
    # How many make it in time is the machine's affair; test_call_logic counts them by a clock of its own.
    assert 3 <= ours["frames"] <= FRAMES / 2
    assert 0 < ours["seconds"] <= FRAMES / 30
    assert ours["wire_sent"] > ours["app_sent"] > ours["payload_bytes"]
    assert theirs["wire_received"] == pytest.approx(ours["wire_sent"], rel=0.2)
    assert frames_of(output) == theirs["frames"] == len(theirs["shown"])
    # On a slow machine some were due after the last one, before word of the end was there.
    assert 0 < theirs["frames"] + theirs["frames_dropped"] <= 1.5 * FRAMES
    assert 0 < theirs["frames_forecast"] < theirs["frames"]
    assert theirs["bad_packets"] == 0


def test_a_signal_ends_a_receiver_and_who_calls_it_in_order(place: Place) -> None:
    """A sender's signal does as much: see test_survival."""
    output, received = place.folder / "call.mp4", place.folder / "receiver.json"
    with (
        place.receiver("--output", output, "--stats", received) as there,
        place.sender("--loop") as here,
    ):
        here.said("calling")
        deadline = time.monotonic() + START_SECONDS
        while not output.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        there.interrupt(signal.SIGTERM)
        ends = here.done(), there.done()
    assert [(end.code, end.err) for end in ends] == [(0, ""), (0, "")]
    assert all("The receiver hung up." in end.out for end in ends)
    assert frames_of(output) == stats(received)["frames"] > 0


def test_a_receiver_outlives_what_it_refuses(
    place: Place, shared_files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = place.folder / "call.mp4"
    with place.receiver("--output", output) as there:
        wrong_token = place.sender_here(capfd, "--token", "wrong")
        assert_one_sentence(wrong_token, 2, "rejected the token", "--token")
        other_weights = place.sender_here(capfd, "--checkpoint", shared_files / "others")
        assert_one_sentence(other_weights, 1, "The receiver has weights", "the sender has")
        twin = run_here(capfd, "receiver", place.receiving())
        assert_one_sentence(twin, 2, "Cannot listen", str(place.port), "--listen")
        assert there.process.poll() is None
        assert not output.exists()
        assert place.sender_here(capfd).code == 0
        done = there.done()
    assert done.code == 0
    assert done.err == other_weights.err.replace("error", "refused a call")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_call_on_both_sides(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    full, received = place.folder / "full.mp4", place.folder / "receiver.json"
    full.symlink_to("/dev/full")
    with place.receiver("--output", full, "--stats", received) as there:
        assert_one_sentence(place.sender_here(capfd, "--loop"), 1, "The receiver had to stop")
        assert_one_sentence(there.done(), 1, "Writing", "No space left on device")
    assert stats(received)["frames"] == 0


def no_video(folder: Path) -> tuple[Path, Path]:
    """A file of text and a file of sound."""
    text, sound = folder / "text.mp4", folder / "sound.wav"
    text.write_text("no video")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    return text, sound


def test_wrong_requests_are_told_in_one_sentence(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    text, sound = no_video(place.folder)
    missing = place.folder / "missing" / "file"
    cases: list[tuple[str, list[object], str]] = [
        ("sender", [], "No receiver answers"),
        ("sender", ["--connect", "ftp://there"], "not a receiver's address"),
        ("sender", ["--source", missing], "There is no"),
        ("sender", ["--source", text], "not a readable video"),
        ("sender", ["--source", sound], "holds no video"),
        ("sender", ["--source", "cam97"], "There is no camera"),
        ("sender", ["--checkpoint", missing], "no checkpoint"),
        ("sender", ["--stats", missing], "Cannot write"),
        ("sender", ["--schedule", "0-6"], "schedule"),
        ("sender", ["--frames-per-message", 0], "--frames-per-message"),
        ("sender", ["--threads", 0], "--threads"),
        ("sender", ["--give-up", "nan"], "--give-up"),
        ("sender", ["--give-up", -1], "--give-up"),
        ("sender", ["--max-kbps", 0], "--max-kbps"),
        ("sender", ["--max-kbps", "nan"], "--max-kbps"),
        ("receiver", ["--output", missing.with_suffix(".mp4")], "Cannot write"),
        ("receiver", ["--output", "a.avi"], "--output"),
        ("receiver", ["--view", "window"], "--view none"),
        ("receiver", ["--stats", missing], "Cannot write"),
        ("receiver", ["--avatar", missing], "--avatar"),
        ("receiver", ["--playout-delay", "nan"], "--playout-delay"),
        ("receiver", ["--listen", "127.0.0.1:x"], "HOST:PORT"),
        ("receiver", ["--token", "not a token"], "token"),
        ("receiver", ["--threads", 0], "--threads"),
    ]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place.port = nobody.getsockname()[1]
        for module, more, word in cases:
            words = place.sending(*more) if module == "sender" else place.receiving(*more)
            assert_one_sentence(run_here(capfd, module, words), 2, word)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a receiver")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "cert.key"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_a_receiver_says_in_a_line_each_whom_it_kept_out_until_a_signal_while_nobody_calls(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    """Over https: who knows no token, who breaks a bound, who gives no picture where one is needed."""
    trusted, key = certificate(place.folder)
    output = place.folder / "call.mp4"
    url = ""

    async def breaks_a_bound() -> None:
        link = await connect(url, TOKEN, tls=client_context(trusted))
        link._kp.send(bytes(2000))
        while await link.recv() is not None:
            pass
        await link.close()

    async def guesses() -> None:
        for _ in range(5):
            with pytest.raises(RequestError, match="rejected the token"):
                await connect(url, "guess", tls=client_context(trusted))

    with place.receiver("--tls-cert", trusted, "--tls-key", key, "--output", output) as there:
        url = place.url.replace("http", "https")
        asyncio.run(breaks_a_bound())
        faceless = place.sender_here(capfd, "--connect", url, "--tls-ca", trusted, "--anonymous")
        asyncio.run(guesses())
        there.interrupt(signal.SIGTERM)
        done = there.done()
    assert not output.exists()
    assert f"sender --source cam0 --connect {url} --token {TOKEN} --tls-ca cert.pem" in done.out
    assert_one_sentence(faceless, 1, "anonymous", "--avatar")
    assert done.code == 0
    bound, picture, token = done.err.splitlines()
    # It may end before the call has begun, or just after.
    assert bound.endswith(": The other side sent a keypoint message in fragments.")
    assert picture == faceless.err.replace("error", "refused a call").strip()
    assert token == "note: 127.0.0.1 gave too many wrong tokens; it has to wait a minute"


def lines_of(path: Path, call: int) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [values for line in lines if (values := json.loads(line))["call"] == call]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_has_a_line_that_goes_when_the_call_ends(place: Place) -> None:
    import pty

    ours, theirs = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with place.receiver():
        words = [sys.executable, "-m", "sender", *map(str, place.sending("--loop"))]
        sender = subprocess.Popen(
            words, stdout=theirs, stderr=theirs, env={**environ, "TERM": "xterm", "COLUMNS": "200"}
        )
        os.close(theirs)
        text = b""
        while text.count(b"frames sent") < 3 or b"live" not in text:
            text += os.read(ours, 4096)
        sender.send_signal(signal.SIGINT)
        while piece := read_terminal(ours):
            text += piece
        assert sender.wait(END_SECONDS) == 0
    os.close(ours)
    running, _, report = text.decode().partition("calling, directly\r\n")[2].rpartition("\r\x1b[2K")
    # One line is written over and over and taken away at the end; the report follows on clean lines.
    assert "\x1b[32mlive\x1b[0m" in running
    assert "\n" not in running
    assert "\x1b" not in report
    assert re.match(r"\d+ frames sent in ", report)
    assert report.endswith("The sender hung up.\r\n")


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux' way to say that the other side is closed
        return b""
