"""Decide when another source picture is worth its bytes: keypoints and `now` in, a slot out.

The receiver renders each frame from the picture with the nearest keypoints. So a picture of the current frame
is worth what it would have brought the last frames nearer: a passing glance brings little, a pose that is
held or returned to brings much. The frame itself should be calm, since a moving face is blurred.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from shared.constants import FPS, MAX_PICTURES, SIZE
from shared.errors import RequestError
from shared.keypoints import Distance, Floats, Pictures
from shared.protocol.picture_transfer import wire_bytes

BUDGET_SECONDS = 60.0
HISTORY_FRAMES = 10 * FPS
"""Of frames detected: the last ten seconds, or twenty where half of the frames are skipped."""
GAIN = 0.02
"""By how much the mean distance of recent frames must fall (see `KeypointLayout.distance`)."""
QUALITY, MAX_BYTES = 57, 2800
"""Of further pictures: half of the first. Two of these bring more than one as sharp as that."""
# Pictures of more pixels have less in each.
_BYTES_BY_SIDE = 1.5
# Pictures chosen after six seconds brought frames a tenth nearer than those chosen after one.
_MIN_HISTORY = 3 * FPS
# Frames of a new scene, until one of them stands for it.
_SETTLED = 4
# Frames kept with their pictures, and how far apart they may lie to be in the same pose.
_MOMENTS = 12
_SAME_POSE = 0.03
# Pixels a side by which they are compared.
_LOOKED_AT = 64
SOURCE_KBPS = 1.6
"""What source pictures may take where nobody says."""


@dataclass(frozen=True)
class GalleryOptions:
    """At most `pictures` at once, 1 (none but the first) to 8; `kbps` of IP bytes, over a minute.

    Further ones of a scene that has one may not take it over `further_kbps` (None: the same).
    """

    pictures: int = 4
    kbps: float = SOURCE_KBPS
    further_kbps: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.pictures <= MAX_PICTURES:
            raise RequestError(
                f"A gallery holds 1 to {MAX_PICTURES} pictures, not {self.pictures}; change --gallery."
            )
        if not 0 <= self.kbps <= 1000:
            raise RequestError(f"Source pictures take 0 to 1000 kbps, not {self.kbps}; change --source-kbps.")


def most_bytes(size: int) -> int:
    """Return what a further picture of `size` pixels a side may take."""
    return int(MAX_BYTES * (size / SIZE) ** _BYTES_BY_SIDE)


class Budget:
    """Budget for source pictures: no minute takes more IP bytes than `kbps` on average."""

    def __init__(self, kbps: float) -> None:
        self._most = kbps * 1000 / 8 * BUDGET_SECONDS
        self._recent: deque[tuple[float, int]] = deque()
        self._spent = 0

    def left(self, spent: int, now: float) -> float:
        """Return the bytes left at `now` (seconds), `spent` bytes having been sent in all; also below 0."""
        if spent > self._spent:
            self._recent.append((now, spent - self._spent))
            self._spent = spent
        while self._recent and self._recent[0][0] <= now - BUDGET_SECONDS:
            self._recent.popleft()
        return self._most - sum(count for _, count in self._recent)


class GalleryPolicy:
    """Decides for one detected frame after the other; picture 0 took `first_bytes`."""

    def __init__(self, options: GalleryOptions, first_bytes: int, metric: Distance) -> None:
        self._options = options
        self.metric = metric
        self._budget = Budget(options.kbps)
        self._further = Budget(options.kbps if options.further_kbps is None else options.further_kbps)
        self._cost = wire_bytes(first_bytes) // 2
        self._members: dict[int, Floats] = {}
        self._recent: deque[Floats] = deque(maxlen=HISTORY_FRAMES)
        self._speeds: deque[float] = deque(maxlen=HISTORY_FRAMES)
        self._last: tuple[int, Floats] | None = None
        self._calm = self._renewed = False

    @property
    def alone(self) -> bool:
        """Whether what is proposed next is the first picture of its scene."""
        return self._renewed

    def observe(self, number: int, keypoints: Floats) -> None:
        """Take in frame `number` (D,)."""
        if not self._members and not self._renewed:
            # The call's picture is that of its first frame, or as good as that.
            self._members[0] = keypoints
        self._calm = self._is_calm(number, keypoints)
        self._recent.append(keypoints)

    def propose(self, spent: int, now: float) -> int | None:
        """Return the slot that a picture of the frame observed last should go to; None where it should not.

        `spent` are the IP bytes of source pictures so far. Once it is on its way, the caller says `added`.
        """
        affordable = self._left(spent, now) >= self._cost
        if self._renewed:
            return 0 if affordable and len(self._recent) >= _SETTLED else None
        enough = len(self._recent) >= _MIN_HISTORY
        if self._options.pictures == 1 or not (self._calm and affordable and enough):
            return None
        return self._worthwhile(self._recent[-1])

    def renew(self) -> None:
        """Know that what follows is another scene: no picture sent so far is of any use for it."""
        self._members.clear()
        self._recent.clear()
        self._speeds.clear()
        self._last, self._calm, self._renewed = None, False, True

    def affords(self, picture_bytes: int, spent: int, now: float) -> bool:
        """Say whether a picture of so many bytes may be sent; where not, the next is proposed when it may."""
        self._cost = wire_bytes(picture_bytes)
        return self._left(spent, now) >= self._cost

    def _left(self, spent: int, now: float) -> float:
        """Return the bytes that the next picture may take: a new scene needs one more than an old one."""
        left, of_further = self._budget.left(spent, now), self._further.left(spent, now)
        return left if self._renewed else min(left, of_further)

    def added(self, slot: int, keypoints: Floats) -> None:
        """Note that a picture with these keypoints (D,) is on its way to `slot`."""
        self._renewed = False
        self._members[slot] = keypoints

    def _is_calm(self, number: int, keypoints: Floats) -> bool:
        """Say whether the face has moved less since the frame before than it mostly does."""
        last, self._last = self._last, (number, keypoints)
        if last is None or number <= last[0]:
            return False
        speed = float(self.metric(last[1][None], keypoints)[0]) / (number - last[0])
        self._speeds.append(speed)
        return speed <= float(np.median(self._speeds))

    def _worthwhile(self, keypoints: Floats) -> int | None:
        recent = np.stack(self._recent)
        far = {slot: self.metric(recent, member) for slot, member in self._members.items()}
        new = self.metric(recent, keypoints)
        now = float(np.min(list(far.values()), axis=0).mean())
        slot, after = self._best_slot(far, new)
        return slot if now - after >= GAIN else None

    def _best_slot(self, far: dict[int, Floats], new: Floats) -> tuple[int, float]:
        """Return where to put the new picture, and the mean distance with it there.

        A free slot, or that of the picture which recent frames miss least, the older of equals.
        """
        if len(far) < self._options.pictures:
            slot = next(slot for slot in range(MAX_PICTURES) if slot not in far)
            return slot, float(np.min([*far.values(), new], axis=0).mean())
        without = {
            slot: float(np.min([new, *(rows for other, rows in far.items() if other != slot)], axis=0).mean())
            for slot in far
        }
        slot = min(without, key=lambda slot: without[slot])
        return slot, without[slot]


class Moments:
    """The last frames with their pictures: instead of the newest, whose eyes may be shut, a typical one."""

    def __init__(self, metric: Distance) -> None:
        self._metric = metric
        self._kept: deque[tuple[Pictures, Floats]] = deque(maxlen=_MOMENTS)

    def keep(self, picture: Pictures, keypoints: Floats) -> None:
        """Take in a frame (S, S, 3) and its keypoints (D,)."""
        self._kept.append((picture, keypoints))

    def clear(self) -> None:
        """Forget them: what follows is another scene."""
        self._kept.clear()

    def typical(self) -> tuple[Pictures, Floats]:
        """Return that one of the frames in the newest one's pose whose pixels are nearest to their median.

        A blink, a word or a blur lasts for less than half of the frames, so the median has none. Raises
        IndexError before the first frame.
        """
        far = self._metric(np.stack([keypoints for _, keypoints in self._kept]), self._kept[-1][1])
        alike = [kept for kept, this in zip(self._kept, far, strict=True) if this <= _SAME_POSE]
        step = -(-len(alike[0][0]) // _LOOKED_AT)
        small = np.stack([picture[::step, ::step] for picture, _ in alike]).astype(np.float32)
        # Squares, because shut eyes are a large difference in few pixels.
        odd = ((small - np.median(small, axis=0)) ** 2).mean(axis=(1, 2, 3))
        return alike[int(np.argmin(odd))]
