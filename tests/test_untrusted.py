"""Untrusted input is data: nothing in the product runs it, unpickles it, fetches or opens it."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from models.forecast.build import mirrored_forecaster
from models.forecast.names import NAMES

ROOT = Path(__file__).parents[1]
PACKAGES = ("shared", "models", "sender", "receiver", "bench", "animate")
RUNS_DATA = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "jsonpickle",
    "code",
}
RUNS_PROGRAMS = {"subprocess", "pty", "ctypes", "multiprocessing"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__"}
NEVER_METHODS = {"system", "popen", "load_module", "spawnl", "spawnv", "execv", "execl"}
# What of the product a peer's bytes reach.
NEAR_PEERS = ("shared.", "sender.", "receiver.")
# The window is a program of its own, always the same one, and gets pixels only.
STARTS_ITSELF = {"receiver.sinks.window"}
# libopus, where PyAV keeps it: given bytes and their number, as the codecs of pictures are. And the C
# library, for one setting before there is a peer.
CALLS_A_LIBRARY = {"shared.media.opus", "shared.runtime.memory"}
# A command of its own, which asks the receiver that its user names.
ASKS_ITSELF = {"receiver.health"}
# The one door to HTTP, and the only URL it opens is what the person typed.
FETCHES = {"urllib.request", "requests", "httpx", "http.client", "ftplib"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by name."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


@cache
def imports(name: str) -> frozenset[str]:
    """All that the module imports, anywhere in it, by full name."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update({str(node.module)}, (f"{node.module}.{alias.name}" for alias in node.names))
    return frozenset(found)


def tops(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def calls(name: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.Call))


def dotted(node: ast.expr) -> str:
    """Return "torch.load" for that expression; "" for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


@pytest.mark.slow
def test_nothing_unpickles_or_evaluates() -> None:
    wrong = [name for name in modules() if tops(imports(name)) & RUNS_DATA]
    wrong += [
        f"{name}:{call.lineno}"
        for name in modules()
        for call in calls(name)
        if dotted(call.func) in NEVER_CALLED or dotted(call.func).rpartition(".")[2] in NEVER_METHODS
    ]
    assert not wrong


@pytest.mark.slow
def test_the_ends_of_a_call_start_no_programs_and_fetch_nothing() -> None:
    apart = STARTS_ITSELF | CALLS_A_LIBRARY | ASKS_ITSELF
    near = [name for name in modules() if name.startswith(NEAR_PEERS) and name not in apart]
    assert len(near) > 40
    wrong = {
        name: found
        for name in near
        if (found := (tops(imports(name)) & RUNS_PROGRAMS) | (set(imports(name)) & FETCHES))
    }
    assert not wrong
    shells = [
        name for name in modules() for call in calls(name) if keyword(call, "shell") not in (None, False)
    ]
    assert not shells


def loads(name: str, function: str) -> list[ast.Call]:
    return [call for call in calls(name) if dotted(call.func) == function]


def keyword(call: ast.Call, name: str) -> object:
    value = next((word.value for word in call.keywords if word.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else value


@pytest.mark.slow
def test_checkpoints_are_weights_only() -> None:
    found = [(name, call) for name in modules() for call in loads(name, "torch.load")]
    assert found
    assert [
        f"{name}:{call.lineno}" for name, call in found if keyword(call, "weights_only") is not True
    ] == []


def test_arrays_are_loaded_without_objects() -> None:
    found = [(name, call) for name in modules() for call in loads(name, "np.load")]
    assert found
    # NumPy's default is False; None may say otherwise.
    assert [name for name, call in found if keyword(call, "allow_pickle") not in (None, False)] == []


def test_messages_are_unpacked_in_one_place_with_every_limit() -> None:
    found = [
        call for name in modules() for call in calls(name) if dotted(call.func).startswith("msgpack.unpack")
    ]
    assert [dotted(call.func) for call in found] == ["msgpack.unpackb"]
    limits = {"max_str_len", "max_bin_len", "max_array_len", "max_map_len", "max_ext_len"}
    assert limits <= {word.arg for word in found[0].keywords}
    assert not {"object_hook", "ext_hook", "list_hook"} & {word.arg for word in found[0].keywords}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "vrnn/../../weights",
        "../../etc/passwd",
        "/etc/passwd",
        "http://example.org",
        "hold\0",
        "models",
        "é",
        "x" * 64,
    ],
)
def test_a_peers_forecaster_is_looked_up_in_a_fixed_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def no_file(self: Path, *_: object, **__: object) -> object:
        opened.append(self)
        raise AssertionError(f"{self} was opened")

    for method in ("open", "read_bytes", "read_text"):
        monkeypatch.setattr(Path, method, no_file)
    monkeypatch.setattr("models.forecast.build.stored.read", lambda path, **_: no_file(path))
    assert name not in NAMES
    mirrored_forecaster(name)
    assert opened == []
