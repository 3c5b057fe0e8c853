"""A small picture of oneself, for the window and the page of an end that sends as well."""

from __future__ import annotations

from collections.abc import Callable

from receiver.sinks.page import SELF, Audience, jpeg, stamped
from shared.clock import monotonic
from shared.keypoints import Pictures
from shared.runtime.controls import Controls

_PAGE_SECONDS = 0.095
"""Of time between two pictures for the page: ten per second are enough, and each costs a JPEG."""
_PAGE_SIDE = 192


class SelfView:
    """Keeps the newest picture that the sending side has captured, while `controls` say that it is shown.

    It is kept as it is sent; who shows it mirrors it. `viewers` are those of the page who may see it.
    """

    def __init__(
        self, controls: Controls, viewers: Audience | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._controls = controls
        self._viewers = viewers
        self._clock = clock
        self._published = float("-inf")
        self.picture: Pictures | None = None
        """The newest (S, S, 3), uint8 RGB, not to be written to; None before the first, and where hidden."""

    def update(self, picture: Pictures) -> None:
        """Take what was captured (S, S, 3), uint8 RGB, which nobody may write to any more. One thread's."""
        if not self._controls.choices.shows_self:
            self.picture = None
            return
        self.picture = picture
        now = self._clock()
        if self._viewers is not None and self._viewers.wanted and now - self._published >= _PAGE_SECONDS:
            self._published = now
            self._viewers.publish(stamped(SELF, now, jpeg(picture, _PAGE_SIDE)))
