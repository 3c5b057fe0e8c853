"""docker/: linted, built from pinned bases, and every command in it is one that our own parsers take."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.__main__ import parser as receiver_parser
from receiver.health import parser as health_parser
from sender.__main__ import parser as sender_parser
from shared.transport.datachannel import Link
from shared.transport.servers import ice_options
from tests.coturn import start_coturn

ROOT = Path(__file__).parents[1]
DOCKERFILE, COMPOSE = ROOT / "docker/Dockerfile", ROOT / "docker/compose.yaml"
PARSERS = {"receiver": receiver_parser, "sender": sender_parser}
OPTIONS = {"--rm", "--gpus", "--network", "--device", "-v", "-e"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with what follows it, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def stages() -> dict[str, dict[str, str]]:
    """Each named stage's instructions, those of the stages below included; the last of a kind counts."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found.setdefault(name, dict(found.get(base, {})))
        current[word] = rest
    return found


def compose() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return values


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of ours in docker/: of the images themselves, of the services, of the comments."""
    for stage in ("receiver", "sender"):
        built = stages()[stage]
        assert json.loads(built["ENTRYPOINT"]) == [stage]
        yield stage, json.loads(built["CMD"])
    for service in compose()["services"].values():
        image = service["image"].removeprefix("keycast-")
        if image in PARSERS:
            yield image, service["command"]
    for line in DOCKERFILE.read_text().splitlines():
        found = re.fullmatch(r"#\s+docker run (.*?)keycast-(receiver|sender) (.*)", line)
        if found:
            given = {word for word in found[1].split() if word.startswith("-")}
            assert given <= OPTIONS
            yield found[2], shlex.split(found[3])


@pytest.mark.parametrize(("module", "words"), list(commands()))
def test_our_own_parsers_take_every_command(module: str, words: list[str]) -> None:
    if words == ["--help"]:
        with pytest.raises(SystemExit) as left:
            PARSERS[module]().parse_args(words)
        assert left.value.code == 0
    else:
        PARSERS[module]().parse_args(words)


def test_there_are_commands_of_every_kind() -> None:
    found = list(commands())
    assert len(found) == 10
    assert {module for module, _ in found} == {"receiver", "sender"}


def test_bases_are_pinned_and_nothing_runs_as_root() -> None:
    names = set(stages())
    bases = [rest.partition(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    outside = [base for base in bases if base not in names]
    assert outside
    assert all(re.search(r":\d+\.\d+", base) for base in outside)
    assert "latest" not in DOCKERFILE.read_text()
    for stage in ("receiver", "sender", "coturn"):
        assert int(stages()[stage]["USER"]) > 0


def test_all_that_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [rest.split() for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    assert copies
    for name in (word for words in copies for word in words[:-1]):
        assert (ROOT / name).exists()
        assert name in kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_health_check_is_a_command_of_ours() -> None:
    check = stages()["receiver"]["HEALTHCHECK"]
    command = json.loads(check[check.index("[") :])
    assert command[:3] == ["python", "-m", "receiver.health"]
    health_parser().parse_args(command[3:])


def test_variables_of_the_services_are_ones_we_read() -> None:
    known = {"KEYCAST_TOKEN", "KEYCAST_TURN_USER", "KEYCAST_TURN_PASSWORD"}
    source = "".join(path.read_text() for path in (ROOT / "shared").rglob("*.py"))
    assert all(f'"{name}"' in source for name in known)
    for service in compose()["services"].values():
        assert set(service.get("environment", {})) <= known


def test_services_are_careful() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["build"]["target"] in stages(), name
        assert not service.get("ports"), name
    assert {name for name, service in services.items() if "profiles" not in service} == {"receiver", "sender"}


def tool(*words: str) -> list[str]:
    """The command, beside this Python or on the path; skips where it is not there."""
    beside = Path(sys.executable).parent / words[0]
    found = str(beside) if beside.exists() else shutil.which(words[0])
    if found is None or subprocess.run([found, *words[1:], "--version"], capture_output=True).returncode:  # noqa: PLW1510
        pytest.skip(f"needs {' '.join(words)}")
    return [found, *words[1:]]


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([*tool("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_compose_takes_its_file() -> None:
    # Where the plugin is missing, `docker compose --version` tells docker's own.
    if subprocess.run([*tool("docker"), "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs docker compose")
    words = [*tool("docker", "compose"), "-f", str(COMPOSE), "--profile", "relay", "--profile", "call"]
    done = subprocess.run([*words, "config", "-q"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs coturn")
async def test_coturn_takes_its_configuration_and_relays(tmp_path: Path) -> None:
    text = (ROOT / "docker/turnserver.conf").read_text()

    def words(port: int) -> list[str]:
        file = tmp_path / "turnserver.conf"
        file.write_text(
            re.sub("listening-port=.*", f"listening-port={port}", text).replace("/tmp/", f"{tmp_path}/")
        )
        return ["turnserver", "-c", str(file), "--user=me:secret", "--listening-ip=127.0.0.1"]

    log = tmp_path / "turn.log"
    process, port = start_coturn(words, log)
    link = Link(ice_options([f"turn:127.0.0.1:{port}?transport=tcp"], "me", "secret", relay_only=True))
    try:
        said = takewhile(lambda line: "DB connection success" not in line, log.read_text().splitlines())
        assert not [line for line in said if re.search("bad configuration|unknown|CONFIG ERROR", line, re.I)]
        ports = re.findall(r" 127\.0\.0\.1 (\d+) typ relay", await link.offer())
        assert [49160 <= int(one) <= 49200 for one in ports] == [True]
    finally:
        await link.close()
        process.kill()
        process.wait()
