from pathlib import Path

import pytest

from sender.__main__ import main
from sender.cameras import FoundCamera, SameCamera, device_abilities, linux_cameras

CAPTURE, PLANES, METADATA, OUTPUT = 0x1, 0x1000, 0x800000, 0x2


class Machine:
    """A folder that looks as /sys/class/video4linux does."""

    def __init__(self, folder: Path) -> None:
        self.system = folder
        self.answers: dict[int, int | OSError] = {}

    def has(self, number: int, name: str, answer: int | OSError) -> None:
        (self.system / f"video{number}").mkdir()
        (self.system / f"video{number}" / "name").write_text(f"{name}\n")
        self.answers[number] = answer

    def abilities(self, device: Path) -> int:
        answer = self.answers[int(device.name.removeprefix("video"))]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def cameras(self) -> list[FoundCamera]:
        return list(linux_cameras(self.system, Path("/dev"), self.abilities))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_captures_is_listed_by_number(machine: Machine) -> None:
    machine.has(10, "Capture card", PLANES)
    machine.has(0, "Integrated Camera: Integrated C", CAPTURE)
    machine.has(1, "Integrated Camera: Integrated C", METADATA)
    machine.has(2, "Loopback without a writer", OUTPUT)
    (machine.system / "v4l-subdev0").mkdir()
    assert machine.cameras() == [
        FoundCamera(0, "Integrated Camera: Integrated C"), FoundCamera(10, "Capture card")
    ]  # fmt: skip


def test_one_that_may_not_be_opened_is_listed_and_says_so(machine: Machine) -> None:
    machine.has(0, "Webcam", PermissionError(13, "Permission denied"))
    assert machine.cameras() == [FoundCamera(0, "Webcam (permission denied)")]


def test_what_is_gone_or_no_camera_is_left_out(machine: Machine) -> None:
    machine.has(0, "Unplugged", FileNotFoundError(2, "No such file or directory"))
    machine.has(1, "Tuner", OSError(25, "Inappropriate ioctl for device"))
    assert machine.cameras() == []


def test_a_devices_own_name_does_no_harm(machine: Machine) -> None:
    machine.has(0, "Cam\x1b[2J\x07", CAPTURE)
    (machine.system / "video1").mkdir()
    machine.answers[1] = CAPTURE
    assert machine.cameras() == [FoundCamera(0, "Cam[2J"), FoundCamera(1, "")]


def test_a_file_that_is_no_device_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    with pytest.raises(OSError, match="ioctl"):
        device_abilities(tmp_path / "video0")


def test_without_a_camera_there_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.cameras.linux_cameras", lambda: iter(()))
    monkeypatch.setattr("sender.cameras.sys.platform", "linux")
    assert main(["--list-cameras"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: There is no camera on this machine")
    assert said.err.count("\n") == 1


def test_cameras_are_printed_as_the_source_takes_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [FoundCamera(0, "Integrated Camera"), FoundCamera(2, "")]
    monkeypatch.setattr("sender.cameras.linux_cameras", lambda: iter(found))
    monkeypatch.setattr("sender.cameras.sys.platform", "linux")
    assert main(["--list-cameras"]) == 0
    assert capsys.readouterr().out == "cam0  Integrated Camera\ncam2\n"


def test_a_source_is_needed_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "required: --source" in capsys.readouterr().err


class Opened:
    """An opened camera, as far as it matters here: by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self) -> tuple[bool, None]:
        return False, None

    def release(self) -> None:
        pass


def again(number: int, *moments: list[FoundCamera]) -> int | None:
    """Return which camera is opened when cameras are as in the last moment, having been as in the first."""
    before, after = moments[0], moments[-1]
    listed = [before]
    camera = SameCamera(
        number,
        lambda: listed[-1],
        lambda n: Opened(n) if any(found.number == n for found in listed[-1]) else None,
    )
    listed.append(after)
    opened = camera()
    assert opened is None or isinstance(opened, Opened)
    return opened.number if opened is not None else None


WEBCAM, MOVED, OTHER = FoundCamera(0, "Webcam"), FoundCamera(2, "Webcam"), FoundCamera(0, "Capture card")


def test_a_replugged_camera_is_found_by_its_name_whatever_its_number() -> None:
    assert again(0, [WEBCAM], []) is None
    assert again(0, [WEBCAM], [WEBCAM]) == 0
    assert again(0, [WEBCAM], [MOVED]) == 2
    assert again(0, [WEBCAM], [OTHER]) is None
    assert again(0, [WEBCAM], [OTHER, MOVED]) == 2


def test_its_twin_is_not_taken_for_it() -> None:
    assert again(0, [WEBCAM, MOVED], [MOVED]) is None
    assert again(0, [WEBCAM, MOVED], [MOVED, FoundCamera(3, "Webcam")]) == 3


def test_where_cameras_have_no_names_the_number_counts() -> None:
    nameless = FoundCamera(1, "")
    assert again(1, [nameless], [nameless]) == 1
    assert again(1, [], [OTHER]) is None
