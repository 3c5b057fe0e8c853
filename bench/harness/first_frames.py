"""The first frames of what a command is given as its `--source`."""

from __future__ import annotations

from itertools import takewhile

import numpy as np

from sender.capture import open_source
from sender.crop import Crop
from shared.errors import RequestError
from shared.keypoints import Pictures


def first_frames(spec: str, crop: str | None, most: int) -> list[Pictures]:
    """Return up to `most` frames (256, 256, 3), as a call shows them, of a video file or "demo".

    `crop` is the square X,Y,SIZE to show, by default the one in the centre. Raises RequestError for a camera,
    and where there is nothing to open.
    """
    source = open_source(spec, Crop.parse(crop) if crop else None, loop=False)
    if source.live:
        source.close()
        raise RequestError("A camera has no end: give a file, or demo, as --source.")
    try:
        given = (source.frame(number) for number in range(most))
        return [np.asarray(frame) for frame in takewhile(lambda frame: frame is not None, given)]
    finally:
        source.close()
