"""`bench bandwidth`: what calls cost: each preset and policy over one clip, next to published figures.

Every row is a real call of two processes; all IP bytes are counted between them. `payload` is coded keypoints
alone, `app` all that is handed to the data channels both ways, source pictures and reports included, `wire`
all IP bytes of each direction. Set-up and source picture are in all of these but the steady ones; `_60s` is
what they come to in a call of a minute. The published rows are payload alone.

With `--clips`, further tables: the policies over many clips, simulated, and what further source pictures buy
on the people who move most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.bandwidth import policies as policies_table
from bench.bandwidth.bandwidth_chart import chart
from bench.harness import wire_causes
from bench.harness.calls import Call, add_call_arguments
from bench.harness.clip_runs import Findings, Table, check_folder, publish
from bench.harness.clip_set import find_clips, one_of_each
from bench.harness.landmark_measures import COLUMNS, NOTE, Landmarks, add_landmarks_argument, open_landmarks
from bench.harness.metrics import PerceptualDistance
from bench.harness.plots import check_plots
from bench.harness.published import payload_kbps
from bench.harness.published import rows as published_rows
from bench.harness.report import Row, Value, check_output, describe
from bench.quality import gallery_command as gallery
from models.build import choose_device, load_backbone, load_tables
from sender.presets import POLICIES, PRESETS, gallery_options
from shared.codec.keypoint_codec import Block, CodedCodec
from shared.codec.tables import CodecTables
from shared.constants import Schedule
from shared.errors import RequestError
from shared.interfaces import Backbone

_BLOCK, _ROUNDS = 6, 200
# Of a rate: what a sum of floating-point numbers may be off.
_ROUNDING = 1e-9
_RATES = (
    "source", "backbone", "preset", "policy", "payload_kbps", "app_kbps", "wire_up_kbps", "wire_down_kbps",
    "wire_up_60s_kbps", "wire_down_60s_kbps", "audio_kbps", "audio_wire_kbps", "savings_payload",
    "savings_app", "savings_wire", "savings_wire_60s",
)  # fmt: skip
_PICTURES = (
    "preset", "policy", "mae", "ssim", "perceptual", "static_mae", "added_delay_ms", "latency_p50_ms",
    "fps_shown", "messages_per_second", "pictures_sent",
)  # fmt: skip
_BOTH = ("preset", "policy", "direction", "fps_shown", "wire_total_kbps", "wire_total_60s_kbps")
_SPLIT = (
    "preset", "policy", "wire_up_steady_kbps", "wire_down_steady_kbps", "wire_both_steady_kbps",
    "source_60s_kbps", "wire_both_60s_kbps",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_call_arguments(parser)
    add = parser.add_argument
    add(
        "--presets",
        default="saver,balanced,paper",
        metavar="NAMES",
        help="comma-separated; default: all three",
    )
    add("--policies", default="alternate,adaptive", metavar="NAMES", help="comma-separated; default: both")
    clips = "folders of clips for the tables of policies and source pictures"
    add("--clips", nargs="+", type=Path, metavar="FOLDER", help=clips)
    add(
        "--clip-seconds",
        type=float,
        default=6.0,
        metavar="S",
        help="seconds of each clip, from its start (default 6)",
    )
    add("--people", type=int, default=0, metavar="N", help="one clip each of N people (0: all clips)")
    add_landmarks_argument(parser)
    add("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the tables and a chart here")


def run(options: argparse.Namespace) -> int:
    """Run the calls, print the tables, write what was asked for. Returns the exit code."""
    presets = _named(options.presets, tuple(PRESETS), "preset")
    policies = _named(options.policies, POLICIES, "policy")
    if options.people < 0:
        raise RequestError(f"There are no {options.people} people; give --people 0 (all) or more.")
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()
    Call(options).check()
    landmarks = open_landmarks([options.landmarks] if options.landmarks else [])
    asked = [(preset, policy) for preset in presets for policy in policies]
    rows, stopped = _measured(options, asked, landmarks)
    counted: list[Row] = [*rows, *published_rows()]
    every = list(counted)
    tables: list[Table] = [
        ("Rates, kbps", counted, _RATES), ("What was shown", rows, _PICTURES), ("Wire", rows, _SPLIT),
        (wire_causes.TITLE, wire_causes.by_way(_once(rows)), wire_causes.COLUMNS),
    ]  # fmt: skip
    if landmarks is not None:
        tables.append((f"Lips, lids and gaze; {NOTE}", rows, ("preset", "policy", *COLUMNS)))
    if options.two_way:
        tables.append(("Both directions together", rows, _BOTH))
    lines = _lines(rows)
    pictures: dict[str, Callable[[], bytes]] = {
        "bandwidth.png": lambda: chart(counted), "wire.png": lambda: wire_causes.chart(_once(rows)),
    }  # fmt: skip
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    codec_tables = load_tables(backbone, options.checkpoint)
    lines += shortfalls(rows, backbone)
    if codec_tables is not None:
        lines.append(_codec_line(codec_tables))
    if options.clips and not stopped:
        compared, stopped = _policies(options, backbone, codec_tables, landmarks)
        every += compared
        columns = policies_table.COLUMNS + (COLUMNS if landmarks else ())
        tables.append(("Policies over clips, simulated", compared, columns))
        lines += policies_table.lines(compared)
        pictures["policies.png"] = lambda: policies_table.chart(compared)
    if options.clips and not stopped:
        galleries = _galleries(options, backbone)
        every += galleries
        tables.append(("Source pictures, a minute of the people who move most", galleries, gallery.COLUMNS))
    meta = describe("bandwidth", backbone.device, clip=options.source, schedule=options.schedule)
    findings = Findings(
        "bandwidth", every, tables, lines, meta, lambda: {name: draw() for name, draw in pictures.items()},
        stopped,
    )  # fmt: skip
    return publish(findings, options.json, options.report)


def shortfalls(rows: Sequence[Row], backbone: Backbone) -> list[str]:
    """Return a sentence for each call of raw keypoints whose rate is not that of all its frames."""
    found = []
    for row in rows:
        policy, _, schedule = str(row["policy"]).partition(" ")
        if row["preset"] != "paper" or policy != "alternate":
            continue
        full = payload_kbps(backbone.layout.dimensions, Schedule.parse(schedule).duty)
        share = float(row["payload_kbps"] or 0) / full
        if abs(share - 1) > _ROUNDING:
            found.append(
                f"{backbone.name} paper {schedule}: {share:.0%} of the frames due were sent, which are "
                f"{full:g} kbps in full: the others were found too late, or the path did not take them"
            )
    return found


def _codec_line(tables: CodecTables) -> str:
    """Say how long a block takes to be coded and decoded, on this machine."""
    generator, codec = np.random.default_rng(0), CodedCodec(tables)
    size = tables.dimensions
    steps = np.rint(generator.normal(0, 8, size) + generator.normal(0, 0.5, (_BLOCK, size)).cumsum(0))
    block = Block(tables.quantizer.restore(steps.astype(np.int64), codec.quality))
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        codec.decode(codec.encode(block), _BLOCK)
        times.append(1000 * (time.perf_counter() - began))
    median = statistics.median(times)
    return f"coding and decoding {_BLOCK} frames takes {median:.2f} ms, the median of {_ROUNDS}"


def _policies(
    options: argparse.Namespace,
    backbone: Backbone,
    tables: CodecTables | None,
    landmarks: Landmarks | None,
) -> tuple[list[Row], bool]:
    if tables is None:
        raise RequestError("Comparing policies needs codec tables, and this backbone has none.")
    clips = one_of_each(find_clips(options.clips)[0], options.people)
    done = policies_table.measure(backbone, tables, clips, options.clip_seconds, landmarks)
    return policies_table.summarise(done.results), done.stopped


def _galleries(options: argparse.Namespace, backbone: Backbone) -> list[Row]:
    device = choose_device(options.device)
    perceptual = None if options.perceptual is None else PerceptualDistance(options.perceptual, device)
    films = gallery.liveliest(backbone, find_clips(options.clips)[0], gallery.PEOPLE)
    rate = gallery_options(1, options.source_kbps, options.preset).kbps
    rows = [
        row for film in tqdm(films, desc="source pictures", unit="person", file=sys.stderr)
        for row, _ in gallery.compared(backbone, film, rate, gallery.FRAMES, perceptual)
    ]  # fmt: skip
    return [{**row, "source": "simulated"} for row in gallery.summary(rows)]


def _named(text: str, known: Sequence[str], what: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise RequestError(f"There is no {what} {name!r}; choose from {', '.join(known)}.")
    return names


def _measured(
    options: argparse.Namespace, asked: Sequence[tuple[str, str]], landmarks: Landmarks | None
) -> tuple[list[Row], bool]:
    """Return a row for each call; stopped early, those that there are, and True."""
    rows: list[Row] = []
    try:
        for preset, policy in tqdm(asked, desc="calls", unit="call", file=sys.stderr):
            rows += _rows(options, preset, policy, landmarks)
    except KeyboardInterrupt:
        if not rows:
            raise
        return rows, True
    return rows, False


def _rows(options: argparse.Namespace, preset: str, policy: str, landmarks: Landmarks | None) -> list[Row]:
    """Return the row of a call; of a two-way call, one for each direction."""
    given = argparse.Namespace(**{**vars(options), "preset": preset, "policy": policy})
    if preset == "paper":
        given.quality, given.redundancy = None, 0
    call = Call(given)
    with tempfile.TemporaryDirectory(prefix="keycast-") as folder:
        record = call.run(Path(folder))
        rows = call.rows(record, options.perceptual, landmarks)
    return [_further(row) for row in rows]


def _once(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each call: both directions of one say the same of its wire."""
    return [row for row in rows if row.get("direction") != "back"]


def _further(measured: Mapping[str, Value]) -> Row:
    row: dict[str, Value] = {"source": "measured", **measured}
    # What the network itself takes is no fault of the sending.
    row["added_delay_ms"] = row["latency_arrival_p95_ms"]
    row["wire_both_steady_kbps"] = _sum(row, "wire_up_steady_kbps", "wire_down_steady_kbps")
    row["wire_both_60s_kbps"] = _sum(row, "wire_up_60s_kbps", "wire_down_60s_kbps")
    row["source_60s_kbps"] = _sum(row, "source_bytes") * 8 / 1000 / 60
    return row


def _sum(row: Row, *names: str) -> float:
    return sum(float(row[name] or 0.0) for name in names)


def _lines(rows: Sequence[Row]) -> list[str]:
    lines = [
        "savings: 500 kbps over payload, over app, and over wire up and down together",
        "added_delay: capture to arrival, 95th percentile: what gathering a message costs",
    ]
    papers = (row for row in rows if row["preset"] == "paper" and "alternate" in str(row["policy"]))
    paper = next(papers, None)
    if paper is not None:
        for row in rows:
            if row is not paper:
                change = _sum(row, "mae") / _sum(paper, "mae") - 1
                lines.append(f"{row['preset']} {row['policy']}: MAE {change:+.1%} of raw float32 keypoints'")
    return lines
