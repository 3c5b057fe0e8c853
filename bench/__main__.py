"""`bench`: measure calls and speed. Each command prints a table; --json writes it for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shared.runtime.command import run_command

_COMMANDS = {
    "anomaly": "whether surprise finds a jump, a freeze and a swapped segment",
    "bandwidth": "what calls cost, every byte counted: presets and policies beside published figures",
    "diversity": "how diverse the futures are that forecasters draw: the paper's Tables 7 to 10",
    "echo": "how much echo the canceller removes, and how much of the near voice it leaves",
    "export-gfv": "write a clip's keypoints as messages in an H.264 stream, and read them back",
    "forecast": "how accurate each forecaster is, in pixels and keypoints: the paper's Tables 1 to 6",
    "framing": "whether heads are found, and what following them is worth",
    "fuzz": "a million mutated packets against the decoder",
    "gallery": "what further source pictures gain with people who move",
    "loopback": "a whole call on this machine: frames, rates, latency, quality",
    "playout": "what a longer playout delay buys: interpolation instead of forecasts",
    "quality": "reconstruction of clips, beside showing their first frame; transfer between people",
    "soak": "a long call: whether memory, open files and latency stay flat",
    "strip": "a picture of what a call does: sent, driving, received",
    "survive": "how well a call holds up on bad networks, and how soon it recovers",
    "sync": "whether sound and picture stay together",
    "throughput": "how fast detection, forecasting and rendering are on this machine",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    from bench.bandwidth import bandwidth_command as bandwidth
    from bench.bandwidth import playout
    from bench.calls import loopback, soak, strip, survive, sync
    from bench.echo import echo_command as echo
    from bench.forecast import anomaly_command as anomaly
    from bench.forecast import diversity_command as diversity
    from bench.forecast import forecast_command as forecast
    from bench.framing import framing_command as framing
    from bench.fuzz import fuzz_command as fuzz
    from bench.gfv import export_command as export_gfv
    from bench.quality import gallery_command as gallery
    from bench.quality import quality_command as quality
    from bench.throughput import throughput_command as throughput

    modules = {
        "anomaly": anomaly,
        "bandwidth": bandwidth,
        "diversity": diversity,
        "echo": echo,
        "export-gfv": export_gfv,
        "forecast": forecast,
        "framing": framing,
        "fuzz": fuzz,
        "gallery": gallery,
        "loopback": loopback,
        "playout": playout,
        "quality": quality,
        "soak": soak,
        "strip": strip,
        "survive": survive,
        "sync": sync,
        "throughput": throughput,
    }
    for name, module in modules.items():
        command = commands.add_parser(name, help=_COMMANDS[name])
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    given = parser.parse_args(arguments)
    return run_command(lambda: modules[given.command].run(given), given.debug)


if __name__ == "__main__":
    sys.exit(main())
