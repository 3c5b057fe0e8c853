"""The source picture: the one picture of the sender that the receiver animates."""

from __future__ import annotations

from sender.capture import VideoSource
from shared.errors import RequestError
from shared.media import picture


def reference_picture(source: VideoSource) -> bytes:
    """Return the encoded first picture of `source`; RequestError where it has none."""
    first = source.frame(0)
    if first is None:
        raise RequestError("The video has no picture in it; give another --source.")
    return picture.encode(first)
