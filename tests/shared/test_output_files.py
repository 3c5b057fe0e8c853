from pathlib import Path

import pytest

from shared.errors import RequestError
from shared.runtime.output_files import check_writable


def test_asking_changes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.json").write_text("old")
    check_writable(tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == "old"


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^Cannot write .*: Is a directory; choose another place\.$"):
        check_writable(tmp_path)
    with pytest.raises(RequestError, match="No such file or directory"):
        check_writable(tmp_path / "missing" / "a.json")
