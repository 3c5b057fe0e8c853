"""The source picture: the one picture of the sender that the receiver animates."""

from __future__ import annotations

from sender.capture import VideoSource
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media import picture
from shared.media.squares import scaled
from shared.protocol.sender_session import LargerPicture


def first_picture(source: VideoSource) -> Pictures:
    """Return the first picture of `source`; RequestError where it has none."""
    first = source.frame(0)
    if first is None:
        raise RequestError("The video has no frames; choose another --source.")
    return first


def reference_pictures(first: Pictures, size: int) -> tuple[bytes, LargerPicture | None]:
    """Return `first` (S, S, 3) encoded, `size` pixels large, and as it is where it is larger."""
    whole = picture.encode(first)
    if len(first) == size:
        return whole, None
    return picture.encode(scaled(first, size)), LargerPicture(len(first), whole)
