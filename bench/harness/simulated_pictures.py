"""A call's source pictures without a network: the sender's policy, the pace, the receiver's choice."""

from __future__ import annotations

from receiver.gallery import Choice, Gallery
from receiver.renderer import blended
from sender.gallery import MAX_BYTES, QUALITY, GalleryOptions, GalleryPolicy, Moments
from shared.constants import FPS
from shared.interfaces import Backbone, Source
from shared.keypoints import Floats, Pictures
from shared.media import picture as pictures
from shared.protocol.picture_transfer import PictureAssembler, PictureSender


class SimulatedPictures:
    """Begins with `first` (256, 256, 3), as it arrives.

    `step` takes the sender through a frame's capture; `draw` renders a frame as the receiver would by now.
    """

    def __init__(self, backbone: Backbone, first: Pictures, options: GalleryOptions) -> None:
        self._backbone = backbone
        self._sources: dict[int, Source] = {}
        self._sender, self._assembler = PictureSender(), PictureAssembler()
        distance = backbone.layout.distance
        self._gallery, self._moments = Gallery(distance), Moments(distance)
        data = pictures.encode(first)
        self.payload_bytes = len(data)
        self._policy = GalleryPolicy(options, len(data), distance)
        self._sender.begin(0, data)
        for chunk in self._sender.at_once():
            self._receive(self._assembler.take(chunk, 0.0), 0)

    @property
    def sent(self) -> int:
        """How many pictures have arrived."""
        return self._sender.tally.pictures

    @property
    def wire_bytes(self) -> int:
        """The IP bytes that they took."""
        return self._sender.tally.picture_wire_bytes

    @property
    def switches(self) -> int:
        """How often another picture was taken to render from."""
        return self._gallery.switches

    def step(self, number: int, picture: Pictures | None, keypoints: Floats) -> None:
        """Frame `number` is due at the sender; `picture` is None where the frame is not looked at."""
        now = number / FPS
        if picture is not None:
            self._consider(number, picture, keypoints, now)
        chunk = self._sender.next(now)
        if chunk is not None:
            self._receive(self._assembler.take(chunk, now), chunk.slot)

    def choose(self, points: Floats) -> Choice:
        """Return what to render the next frame (D,) from. Every frame shown has to be asked for."""
        return self._gallery.choose(points)

    def draw(self, points: Floats, choice: Choice) -> Pictures:
        """Return the picture (256, 256, 3) of a frame (D,)."""
        drawn = self._from(choice.slot, points)
        if choice.before is None:
            return drawn
        return blended(drawn, self._from(choice.before, points), choice.share)

    def _from(self, slot: int, points: Floats) -> Pictures:
        drawn: Pictures = self._backbone.render(self._sources[slot], points[None])[0]
        return drawn

    def _consider(self, number: int, picture: Pictures, keypoints: Floats, now: float) -> None:
        self._policy.observe(number, keypoints)
        self._moments.keep(picture, keypoints)
        slot = self._policy.propose(self._sender.tally.picture_wire_bytes, now) if self._sender.idle else None
        if slot is None:
            return
        chosen, its_keypoints = self._moments.typical()
        data = pictures.encode_within(chosen, QUALITY, MAX_BYTES)
        if self._policy.affords(len(data), self._sender.tally.picture_wire_bytes, now):
            self._policy.added(slot, its_keypoints)
            self._sender.begin(slot, data)
            self.payload_bytes += len(data)

    def _receive(self, data: bytes | None, slot: int) -> None:
        if data is not None:
            self._sources[slot] = source = self._backbone.encode(pictures.decode(data, self._backbone.size))
            self._gallery.put(slot, source.keypoints)
            self._sender.confirm(self._sender.tally.pictures)
