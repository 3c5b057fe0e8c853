"""Words for those who watch are on the picture's edge, and never in what is measured."""

from pathlib import Path

import av
import numpy as np

from receiver.overlay import with_note
from receiver.sinks import Sinks
from receiver.sinks.mp4 import Mp4Sink
from receiver.sinks.raw import RawSink

NOTE = "connection lost, holding"


def test_a_note_is_readable_and_leaves_the_picture_but_for_its_edge() -> None:
    for level in (0, 128, 255):
        picture = np.full((256, 256, 3), level, np.uint8)
        noted = with_note(picture, NOTE)
        assert (picture == level).all()
        assert noted.shape == picture.shape
        changed = np.flatnonzero((noted != picture).any(axis=(1, 2)))
        assert changed.min() >= 230
        strip = noted[-21:].astype(int)
        # Bright ink on something darker, well within the width.
        assert strip.max() >= 200
        assert strip.max() - strip[:, :20].max() >= 80
        assert (strip[:, :20] == strip[:, -20:]).all()


def test_another_note_looks_different() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    assert (with_note(picture, NOTE) != with_note(picture, "something else")).any()


def test_notes_are_seen_in_films_and_not_in_raw_recordings(tmp_path: Path) -> None:
    film, raw = tmp_path / "call.mp4", tmp_path / "call.npy"
    sinks = Sinks([Mp4Sink(film), RawSink(raw)])
    sinks.open()
    picture = np.full((256, 256, 3), 100, np.uint8)
    sinks.write(0, picture)
    sinks.write(1, picture, NOTE)
    sinks.close()
    assert (np.load(raw) == 100).all()
    with av.open(str(film)) as container:
        plain, noted = (frame.to_ndarray(format="rgb24")[-21:] for frame in container.decode(video=0))
    assert np.ptp(plain) < 20
    assert np.ptp(noted) > 80
