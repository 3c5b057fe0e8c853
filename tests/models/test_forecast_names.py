"""One list of forecasters, for every command that takes one, and quick to read."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from animate.animate_arguments import parser as animate_parser
from bench.calls import loopback
from bench.throughput import subjects
from bench.throughput import throughput_command as throughput
from models.forecast.build import load_forecaster
from models.forecast.config import PRESETS
from models.forecast.names import BASELINES, BEST, FALLBACK, LEARNED, NAMES
from receiver.__main__ import parser as receiver_parser
from shared.errors import RequestError


def test_the_list_is_that_of_the_networks() -> None:
    assert set(LEARNED) == set(PRESETS)
    assert len(set(NAMES)) == len(NAMES)
    assert {*BASELINES, BEST, FALLBACK} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_animate_and_bench_take_every_name(name: str) -> None:
    assert receiver_parser().parse_args(["--forecaster", name]).forecaster == name
    assert animate_parser().parse_args(["--driving", "x", "--forecaster", name]).forecaster == name
    for command in (loopback, throughput):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert parser.parse_args(["--forecaster", name]).forecaster == name
    assert load_forecaster(name).name == name
    assert subjects.forecasting(name, "cpu", 0).trained


def test_another_name_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        receiver_parser().parse_args(["--forecaster", "oracle"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in NAMES)
    with pytest.raises(RequestError, match=", ".join(NAMES)):
        subjects.forecasting("oracle", "cpu", 0)


def test_the_list_costs_a_receiver_no_torch() -> None:
    code = "import sys, receiver.__main__ as r; r.parser().format_help(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
