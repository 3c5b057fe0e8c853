"""User controls of a call: mute, hold, hang up; and what the other side has chosen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Choices:
    """How things stand. `muted`: no sound leaves. `held`: neither pictures nor sound.

    `shows_self`: whether one sees oneself. `peer_muted` and `peer_held` are the other side's.
    """

    muted: bool = False
    held: bool = False
    shows_self: bool = True
    peer_muted: bool = False
    peer_held: bool = False

    @property
    def silent(self) -> bool:
        """Whether no sound leaves."""
        return self.muted or self.held


class Controls:
    """Keys and buttons call it; calls and displays watch it. Safe in any thread.

    It outlasts a call: whoever is muted stays so in the next one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._choices = Choices()
        self._watchers: list[Callable[[], object]] = []
        self._hang_ups: list[Callable[[], object]] = []

    @property
    def choices(self) -> Choices:
        """How things stand now."""
        return self._choices

    def toggle_mute(self) -> None:
        """Give no sound any more, or again."""
        self._change(lambda now: replace(now, muted=not now.muted))

    def toggle_hold(self) -> None:
        """Give nothing at all any more, or again."""
        self._change(lambda now: replace(now, held=not now.held))

    def toggle_self_view(self) -> None:
        """Show or hide oneself."""
        self._change(lambda now: replace(now, shows_self=not now.shows_self))

    def peer_says(self, muted: bool, held: bool) -> None:
        """Take note of what the other side has chosen; both False where a call begins or ends."""
        self._change(lambda now: replace(now, peer_muted=muted, peer_held=held))

    def hang_up(self) -> None:
        """Have the call end."""
        for end in tuple(self._hang_ups):
            end()

    def watch(self, changed: Callable[[], object]) -> Callable[[], None]:
        """Have `changed` called after each change, in the thread that made it; return what ends that."""
        return self._register(self._watchers, changed)

    def on_hang_up(self, end: Callable[[], object]) -> Callable[[], None]:
        """Have `end` called when somebody hangs up, in the thread that does; return what ends that."""
        return self._register(self._hang_ups, end)

    def _register(
        self, listeners: list[Callable[[], object]], one: Callable[[], object]
    ) -> Callable[[], None]:
        def forget() -> None:
            with self._lock:
                if one in listeners:
                    listeners.remove(one)

        with self._lock:
            listeners.append(one)
        return forget

    def _change(self, step: Callable[[Choices], Choices]) -> None:
        with self._lock:
            before, self._choices = self._choices, step(self._choices)
            watchers = tuple(self._watchers) if self._choices != before else ()
        # Not under the lock: they may look, and change something themselves.
        for changed in watchers:
            changed()
