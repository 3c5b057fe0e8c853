import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import KeycastError, RequestError
from shared.runtime.journal import Journal, last_summary


def test_lines_are_whole_objects_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    journal = Journal(path)
    journal.check()
    assert not path.exists()
    for second in range(3):
        journal.write("second", {"call": 1, "fps_shown": 30.0 - second})
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == second + 1
    journal.write("summary", {"call": 1, "frames": 90})
    journal.close()
    journal.close()
    assert last_summary(path) == {"event": "summary", "call": 1, "frames": 90}


def test_a_kill_loses_no_line_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom shared.runtime.journal import Journal\n"
        f"journal = Journal(Path({str(path)!r}))\n"
        "for n in range(5):\n    journal.write('second', {'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4]
    with pytest.raises(KeycastError, match="not those of a whole call"):
        last_summary(path)


def test_an_older_file_stays_until_there_is_something_to_say(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    path.write_text("old\n")
    journal = Journal(path)
    journal.check()
    journal.close()
    assert path.read_text() == "old\n"
    journal = Journal(path)
    journal.write("summary", {})
    journal.close()
    assert path.read_text() == '{"event": "summary"}\n'


def test_without_a_path_nothing_happens() -> None:
    journal = Journal(None)
    journal.check()
    journal.write("second", {"call": 1})
    journal.close()


def test_a_place_that_cannot_be_written_is_told_before_the_call(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Cannot write"):
        Journal(tmp_path / "missing" / "figures.jsonl").check()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_end_a_call_and_is_told_at_its_end() -> None:
    journal = Journal(Path("/dev/full"))
    journal.write("second", {"call": 1})
    journal.write("summary", {"call": 1})
    with pytest.raises(KeycastError, match=r"^Writing /dev/full failed: No space left on device\.$"):
        journal.close()


@pytest.mark.parametrize("text", [None, "", "{", "old\n"])
def test_a_file_without_figures(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "figures.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KeycastError, match="There are no figures in"):
        last_summary(path)


def test_a_line_is_written_in_one_piece(tmp_path: Path) -> None:
    """A reader who follows the file never sees half of a line."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(path)
    journal.write("second", {"strip": "o" * 2000})
    assert os.read(reader, 65536).endswith(b"}\n")
    journal.close()
    os.close(reader)
