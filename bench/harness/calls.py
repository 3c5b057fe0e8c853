"""One measured call: two processes, a real connection, every byte counted on the way, pictures compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.harness import wire_causes
from bench.harness.landmark_measures import COLUMNS, Landmarks, Speech, with_slopes
from bench.harness.media import at_once, contact_sheet, side_by_side, stacked
from bench.harness.metrics import Distances
from bench.harness.processes import CallRecord, run_call
from bench.network.impairment import PathImpairment
from models.forecast.names import NAMES
from sender.arguments import add_sending_arguments, sending_words
from sender.capture import VideoSource, open_source
from sender.crop import CENTRE, Framing, parse_crop
from sender.demo import DemoSource
from shared.constants import FPS, SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.runtime.command import add_network_arguments
from shared.runtime.stats import kbps, savings

AMORTISED_SECONDS = 60.0
_SHEET_COLUMNS = 8
_SAME = (
    "fps_rendered", "fps_shown", "frames_observed", "frames_forecast", "frames_interpolated", "frames_held",
    "longest_freeze_ms", "longest_held_ms", "playout_delay_ms", "processing_delay_ms",
)  # fmt: skip


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a measured call takes: source, forecaster, network, all that the sender offers."""
    add = parser.add_argument
    add("--source", default="demo", help="a video file, or demo (default)")
    add("--crop", metavar="X,Y,SIZE", default=CENTRE, help="the square to send; default: the centre square")
    add("--seconds", type=float, help="end each call after this long")
    add("--loop", action="store_true", help="start the video again when it ends; goes with --seconds")
    add("--two-way", action="store_true", help="the receiver sends as well, and the sender shows it")
    other = "with --two-way, what the receiver sends (default demo2)"
    add("--source-back", default="demo2", metavar="SOURCE", help=other)
    add("--forecaster", choices=NAMES, help="default: the one that the receiver picks for this backbone")
    add_sending_arguments(parser)
    add_network_arguments(parser)
    squeezenet = "SqueezeNet v1.1 convolutions, for the perceptual column"
    add("--perceptual", type=Path, metavar="FILE", help=squeezenet)


@dataclass(frozen=True)
class Call:
    """A call as asked for; `given` holds what `add_call_arguments` declares."""

    given: argparse.Namespace
    impairment: PathImpairment | None = None
    seed: int = 0

    @property
    def crop(self) -> Framing:
        """The square to send: a fixed one, so that what was shown can be compared with what was filmed."""
        return parse_crop(self.given.crop)

    def check(self) -> None:
        """Raise RequestError for a wrong source, or a call without an end, before two processes start.

        Whoever has to be drawn is drawn now: the call is not to pay for it.
        """
        if self.given.loop and self.given.seconds is None:
            raise RequestError("A looped video never ends; say how long to call with --seconds.")
        for source in (self.given.source, *([self.given.source_back] if self.given.two_way else [])):
            opened = self._open(source)
            if isinstance(opened, DemoSource):
                opened.wait()
            opened.close()

    def _source(self) -> VideoSource:
        return self._open(self.given.source)

    def _open(self, source: str) -> VideoSource:
        return open_source(source, self.crop, self.given.loop, side=self.given.size or SIZE)

    def words(self) -> tuple[list[str], list[str]]:
        """Return the arguments of the receiver's command and of the sender's."""
        given = self.given
        shared = _words(backbone=given.backbone, checkpoint=given.checkpoint, device=given.device)
        showing = _words(forecaster=given.forecaster)
        sending = [*_words(crop=given.crop), *sending_words(given), *(["--loop"] if given.loop else [])]
        receiver, sender = [*showing, *shared], [*_words(source=given.source), *sending, *shared]
        if given.two_way:
            receiver += [*_words(source=given.source_back), *sending]
            sender += showing
        return receiver, sender

    def directions(self, record: CallRecord) -> list[tuple[str, Call, CallRecord]]:
        """Return "forth", and "back" of a two-way call, each with what was sent and its record."""
        forth = [("forth", self, record)]
        if record.back is None:
            return forth
        given = argparse.Namespace(**{**vars(self.given), "source": self.given.source_back})
        return [*forth, ("back", replace(self, given=given), record.back)]

    def rows(
        self, record: CallRecord, perceptual: Path | None, landmarks: Landmarks | None = None
    ) -> list[dict[str, Any]]:
        """Return a row for each direction: `call_row`, pictures compared, and speech with `landmarks`.

        Those of a two-way call say which `direction`, and what all of the connection took: `wire_total_kbps`,
        and with set-up and pictures spread over a minute, `wire_total_60s_kbps`.
        """
        both = record.back
        totals = {} if both is None else {**_totals(record, both), **wire_causes.of_both(record, both)}
        return [
            {
                **({"direction": name} if record.back is not None else {}),
                **call_row(one), **totals,
                **call.compare(one, Distances(perceptual)), **call.speech(one, landmarks),
            }
            for name, call, one in self.directions(record)
        ]  # fmt: skip

    def run(self, folder: Path) -> CallRecord:
        """Run it; files go to `folder`. Raises KeycastError with the sentence of the side that failed."""
        seconds, seed = self.given.seconds, self.seed
        return run_call(
            folder, *self.words(), seconds,
            impairment=self.impairment, seed=seed, two_way=self.given.two_way,
        )  # fmt: skip

    def pairs(self, record: CallRecord) -> Iterator[tuple[int, Pictures, Pictures, str]]:
        """Yield frame number, source picture, received picture and kind of every frame shown."""
        source = self._source()
        pictures = np.load(record.pictures, mmap_mode="r")[record.earlier :]
        base = record.sender.get("receiver_frame_0", 0)
        try:
            for (number, kind, _), picture in zip(record.receiver["shown"], pictures, strict=False):
                original = source.frame(base + number)
                if original is not None:
                    yield number, original, np.asarray(picture), kind
        finally:
            source.close()

    def compare(self, record: CallRecord, distances: Distances) -> dict[str, float]:
        """Measure what was shown against the source's own frames, and against showing the first of them."""
        static = Distances(with_ssim=False)
        first: Pictures | None = None
        for _, source, received, _ in self.pairs(record):
            first = source if first is None else first
            distances.add(source, received)
            static.add(source, first)
        return {**distances.row(), "static_mae": static.row()["mae"]}

    def speech(self, record: CallRecord, landmarks: Landmarks | None) -> dict[str, float]:
        """Measure how lips, lids and gaze of what was shown follow the source's own, by frame number.

        Of the call's first minute, every frame; the columns of `bench.harness.landmark_measures`, none
        without landmarks.
        """
        if landmarks is None:
            return {}
        speech = Speech(landmarks.finder)
        pairs = takewhile(lambda pair: pair[0] < AMORTISED_SECONDS * FPS, self.pairs(record))
        for _, source, received, _ in tqdm(pairs, desc="landmarks", unit="frame", file=sys.stderr):
            speech.add([source], [received])
        row = with_slopes(speech.columns())
        return {name: row[name] for name in COLUMNS}

    def comparison(self, record: CallRecord) -> Iterator[Pictures]:
        """Yield every frame shown next to its source; of a two-way call, both ends at the same moments."""
        films = [
            (one.receiver["shown_ms"], call._comparison(one)) for _, call, one in self.directions(record)
        ]
        if len(films) == 1:
            yield from films[0][1]
            return
        for frames in at_once(films, 1000 / FPS):
            yield np.concatenate(frames)

    def _comparison(self, record: CallRecord) -> Iterator[Pictures]:
        for number, source, received, kind in self.pairs(record):
            yield side_by_side(source, received, f"{number / FPS:.1f} s", kind != "observed")

    def sheet(self, record: CallRecord) -> bytes:
        """Return a PNG of eight moments, source above received, of each direction."""
        return stacked([call._sheet(one) for _, call, one in self.directions(record)])

    def _sheet(self, record: CallRecord) -> bytes:
        shown = record.receiver["shown"]
        moments = set(np.linspace(0, len(shown) - 1, min(_SHEET_COLUMNS, len(shown))).astype(int).tolist())
        chosen = [pair for index, pair in enumerate(self.pairs(record)) if index in moments]
        captions = [f"{number / FPS:.1f} s {kind}" for number, _, _, kind in chosen]
        return contact_sheet(
            [("source", [pair[1] for pair in chosen]), ("received", [pair[2] for pair in chosen])], captions
        )


def call_row(record: CallRecord) -> dict[str, Any]:
    """Return what came of a call, the columns that `bench loopback` and `bench bandwidth` share.

    `wire_*_kbps` are all IP bytes over the call's length, set-up and source pictures too; `wire_*_60s_kbps`
    the same with these spread over a minute, within which no more of them are sent, and `wire_*_steady_kbps`
    without them. `up_*_kbps` and `down_*_kbps` say what both ways carry, over the call's length.
    `audio_kbps` is Opus, `audio_wire_kbps` the part of `wire_up_kbps` that sound takes.
    """
    ours, theirs = record.sender, record.receiver
    seconds = ours["seconds"]
    further = ours["source_bytes"] - ours["setup_source_bytes"]
    rates = {
        "payload": kbps(ours["payload_bytes"], seconds),
        "app": kbps(ours["app_sent"] + ours["app_received"], seconds),
        **_wire("up", record.up.bytes, ours["setup_wire_sent"] + further, seconds),
        **_wire("down", record.down.bytes, ours["setup_wire_received"], seconds),
    }
    stages = {**ours["stages_ms"], **theirs["stages_ms"]}
    return {
        "backbone": ours["backbone"],
        "forecaster": theirs["forecaster"],
        "preset": ours["preset"],
        "policy": ours["policy"],
        **{name: theirs[name] for name in _SAME},
        **{f"{name}_kbps": value for name, value in rates.items()},
        **wire_causes.columns(ours, theirs, seconds),
        "audio_kbps": ours["audio_kbps"],
        "audio_wire_kbps": ours["audio_wire_kbps"],
        "size": ours["picture_size"],
        "source_bytes": ours["source_bytes"],
        "pictures_sent": ours["pictures_sent"],
        "messages_per_second": ours["packets"] / seconds if seconds else 0.0,
        **_processes(ours, theirs),
        "savings_payload": savings(rates["payload"]),
        "savings_app": savings(rates["app"]),
        "savings_wire": savings(rates["wire_up"] + rates["wire_down"]),
        "savings_wire_60s": savings(rates["wire_up_60s"] + rates["wire_down_60s"]),
        **{name: value for name, value in theirs.items() if name.startswith("latency_")},
        **{f"stage_{name}_ms": value for name, value in stages.items()},
    }


def _totals(forth: CallRecord, back: CallRecord) -> dict[str, float]:
    """Return what both directions took together.

    What was sent once is all until the later of the two began, and the pictures after that.
    """
    seconds = forth.sender["seconds"]
    once = max(one.sender["setup_wire_sent"] + one.sender["setup_wire_received"] for one in (forth, back))
    once += sum(one.sender["source_bytes"] - one.sender["setup_source_bytes"] for one in (forth, back))
    spread = _wire("total", forth.up.bytes + forth.down.bytes, once, seconds)
    return {f"{name}_kbps": value for name, value in spread.items()}


def _processes(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return what each of the two processes took of the machine.

    `cpu_*`: CPU seconds per second of call. `rss_*_mb`: the most resident memory. `start_sender_s`: from the
    process's start to its first packet. `start_receiver_s`: from the process's start until it is ready, and
    from the call until its first frame is shown, added up. `loop_block_*ms`: how
    long something that was due waited for the event loop of the worse of the two, at most and as p99.
    """
    return {
        "cpu_sender": ours["cpu"],
        "cpu_receiver": theirs["cpu"],
        "rss_sender_mb": ours["rss_peak_mb"],
        "rss_receiver_mb": theirs["rss_peak_mb"],
        "start_sender_s": ours["start_s"],
        "start_receiver_s": theirs["ready_s"] + (theirs["first_frame_s"] or 0.0),
        **{name: max(ours[name], theirs[name]) for name in ("loop_block_ms", "loop_block_p99_ms")},
    }


def _wire(way: str, total: int, once: int, seconds: float) -> dict[str, float]:
    steady = kbps(total - once, seconds)
    return {
        f"wire_{way}": kbps(total, seconds),
        f"wire_{way}_steady": steady,
        f"wire_{way}_60s": steady + kbps(once, AMORTISED_SECONDS),
    }


def _words(**named: object) -> list[str]:
    return [str(word) for name, value in named.items() if value is not None for word in (f"--{name}", value)]
