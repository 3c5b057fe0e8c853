"""Source pictures over the control channel: chunk by chunk on one side, put together on the other. No IO.

Pictures are numbered from 0 as they are sent over a connection; each names the slot, 0 to 7, whose content
it replaces. One goes to slot 0 at once, before frames flow. Further ones go one at a time and at a pace, so
that neither keypoints nor reports wait for them: the next begins when the receiver has said that it has the
one before.
"""

from __future__ import annotations

from shared.constants import MAX_PICTURE_BYTES, MAX_PICTURES, PICTURE_CHUNK
from shared.errors import PeerError
from shared.protocol.limits import RateLimit
from shared.protocol.messages import SourceChunk
from shared.protocol.tally import Tally
from shared.runtime.logs import logger

_log = logger("pictures")
PACE_KBPS = 12.0
"""Of all IP bytes while a picture is under way: about five seconds for one of 7 kB."""
MESSAGE_BYTES = 85 + 14
"""Cost of a chunk in addition to its data: IP, UDP, DTLS and SCTP headers, and the message around it.

Where the other side knows the long form of it alone, 42 more."""
# Of whole pictures: what a peer may ask for again, and may send.
_AGAIN_PER_SECOND, _AGAIN_AT_ONCE = 1 / 30, 2.0
# At its pace an honest sender is slower: pictures of 600 bytes would take half a second each.
_PICTURES_PER_SECOND, _PICTURES_AT_ONCE = 2.0, 2.0 * MAX_PICTURES


def wire_bytes(picture_bytes: int) -> int:
    """Return the IP bytes that a picture of so many bytes takes."""
    return picture_bytes + -(-picture_bytes // PICTURE_CHUNK) * MESSAGE_BYTES


class PictureSender:
    """The sender's side: what leaves when. What has left is counted in `tally`."""

    def __init__(self, tally: Tally | None = None, pace_kbps: float = PACE_KBPS) -> None:
        self.tally = tally or Tally()
        self._seconds_per_byte = 8 / (1000 * pace_kbps)
        self._slots: dict[int, bytes] = {}
        self._used: set[int] = set()
        self._alone = False
        self._wanted: list[int] = []
        self._again = RateLimit(_AGAIN_PER_SECOND, _AGAIN_AT_ONCE)
        self._slot = self._offset = 0
        self._number = -1
        self._under_way = False
        self._not_before = float("-inf")

    @property
    def idle(self) -> bool:
        """Whether another picture may begin: none is under way, unconfirmed or asked for again."""
        return not (self._under_way or self._wanted)

    def begin(self, slot: int, picture: bytes, alone: bool = False) -> None:
        """Make `picture` the next one to send. ValueError unless idle, or for a wrong size or slot.

        `alone`: those of the other slots are of another scene, and are forgotten on both sides.
        """
        if not self.idle:
            raise ValueError("another picture is under way")
        if not 0 <= slot < MAX_PICTURES:
            raise ValueError(f"there is no slot {slot}")
        if not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise ValueError(f"the source picture has {len(picture)} bytes, not 1 to {MAX_PICTURE_BYTES}")
        if alone:
            self._slots.clear()
        self._slots[slot] = picture
        self._alone = alone
        self._start(slot)

    def at_once(self) -> list[SourceChunk]:
        """Return all chunks that are left of the picture under way."""
        chunks = []
        while self._under_way and self._offset < len(self._slots[self._slot]):
            chunks.append(self._chunk())
        return chunks

    def next(self, now: float) -> SourceChunk | None:
        """Return the chunk to send at `now` (seconds), if it is time for one."""
        if not self._under_way and self._wanted and self._again.allows(now):
            self._start(self._wanted.pop(0))
        if not self._under_way or self._offset == len(self._slots[self._slot]) or now < self._not_before:
            return None
        chunk = self._chunk()
        self._not_before = now + (len(chunk.data) + MESSAGE_BYTES) * self._seconds_per_byte
        return chunk

    def confirm(self, number: int) -> None:
        """Note that the receiver has picture `number`. PeerError where it was never sent as a whole."""
        if number > self._number or (number == self._number and self._under_way and not self._sent_whole):
            raise PeerError(f"The receiver is ready for picture {number}, which was never sent.")
        # One that was asked for again in the same moment is under way no more.
        if number == self._number and self._under_way:
            self._under_way = False
            self.tally.pictures += 1
            _log.debug("the receiver has picture %d", number)

    def again(self, slot: int) -> None:
        """Send what `slot` holds once more, later, and in the long run every 30 s. PeerError for no slot."""
        if slot not in self._slots and slot in self._used:
            return  # asked for before it knew that this one is of another scene
        if slot not in self._slots:
            raise PeerError(f"The receiver wants the picture of slot {slot}, which was never sent.")
        _log.debug("the receiver wants the picture of slot %d again", slot)
        if self._sent_whole and slot == self._slot:
            self._under_way = False
        if slot not in self._wanted:
            self._wanted.append(slot)

    def give(self, first: bytes) -> None:
        """Begin with slot 0 over a connection whose other end has no picture.

        That is `first`, unless the slot has been filled before; all other slots follow.
        """
        self._number, self._under_way = -1, False
        self._slots.setdefault(0, first)
        self._wanted = [slot for slot in self._slots if slot != 0]
        self._start(0)

    def forget(self) -> None:
        """Forget what all slots hold: the other end takes pictures of another size."""
        self._slots.clear()

    def restart(self) -> None:
        """Go on over a new connection to the same end: pictures are numbered from 0 again.

        The one that was under way is sent again.
        """
        if self._under_way and self._slot not in self._wanted:
            self._wanted.insert(0, self._slot)
        self._number, self._under_way = -1, False

    @property
    def _sent_whole(self) -> bool:
        return self._under_way and self._offset == len(self._slots[self._slot])

    def _start(self, slot: int) -> None:
        self._slot, self._offset, self._under_way = slot, 0, True
        self._used.add(slot)
        if len(self._slots) > 1:
            # It was the first of its scene, which the receiver knows by now.
            self._alone = False
        self._number += 1
        _log.debug("sending picture %d into slot %d, %d bytes", self._number, slot, len(self._slots[slot]))

    def _chunk(self) -> SourceChunk:
        picture = self._slots[self._slot]
        piece = picture[self._offset : self._offset + PICTURE_CHUNK]
        chunk = SourceChunk(self._number, self._slot, len(picture), self._offset, piece, self._alone)
        self._offset += len(piece)
        self.tally.picture_wire_bytes += len(piece) + MESSAGE_BYTES
        self.tally.picture_bytes += len(piece)
        return chunk


class PictureAssembler:
    """The receiver's side: checks every chunk of a peer, and holds at most one unfinished picture.

    What has come is counted in `tally`, of pictures that are not whole, too.
    """

    def __init__(self, tally: Tally | None = None) -> None:
        self.tally = tally or Tally()
        self._chunks: list[bytes] = []
        self._received = 0
        self._begun: tuple[int, int, int, bool] | None = None
        self._next = 0
        self._first_is_0 = True
        self._limit = RateLimit(_PICTURES_PER_SECOND, _PICTURES_AT_ONCE)

    def restart(self) -> None:
        """Go on over a new connection: pictures are numbered from 0 again, whatever their slots."""
        self._chunks, self._received, self._begun = [], 0, None
        self._next, self._first_is_0 = 0, False

    def take(self, chunk: SourceChunk, now: float) -> bytes | None:
        """Take in a chunk that came at `now` (seconds); return the picture's bytes where it was the last one.

        Raises PeerError for a chunk that does not follow the one before, and for too many pictures.
        """
        this = (chunk.picture, chunk.slot, chunk.total, chunk.alone)
        if self._begun is None:
            misplaced = chunk.picture == 0 and chunk.slot != 0 and self._first_is_0
            if chunk.picture != self._next or misplaced:
                raise PeerError("The source pictures are out of order.")
            self._begun = this
        if this != self._begun or chunk.offset != self._received:
            raise PeerError("The pieces of the source picture are out of order.")
        self._chunks.append(chunk.data)
        self._received += len(chunk.data)
        self.tally.picture_bytes += len(chunk.data)
        if self._received < chunk.total:
            return None
        if not self._limit.allows(now):
            raise PeerError("The sender sends too many source pictures.")
        whole = b"".join(self._chunks)
        _log.debug("picture %d for slot %d has come, %d bytes", chunk.picture, chunk.slot, len(whole))
        self._chunks, self._received, self._begun = [], 0, None
        self._next += 1
        return whole
