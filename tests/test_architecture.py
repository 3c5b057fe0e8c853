"""The design's rules, read from the imports: who imports whom, which door each heavy dependency has."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from shared.constants import BACKBONES

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "shared": {"shared"},
    "models": {"shared", "models"},
    "sender": {"shared", "models", "sender"},
    "receiver": {"shared", "models", "receiver"},
    "bench": {"shared", "models", "sender", "receiver", "bench"},
    "animate": {"shared", "models", "sender", "receiver", "bench", "animate"},
}
# What the two commands are composed in. Only there does one end know the other, for two-way calls.
COMPOSITION = {f"{end}.{module}" for end in ("sender", "receiver") for module in ("__main__", "two_way")}
ENDS = {"sender", "receiver"}
# Where each heavy dependency may be imported; a name that ends in a dot stands for all below it.
DOORS = {
    "torch": (
        "models.",
        "bench.harness.metrics",
        "bench.throughput.throughput_command",
        "bench.throughput.subjects",
        "bench.throughput.published_subjects",
    ),
    "safetensors": ("models.", "shared.codec.tables"),
    "constriction": ("shared.codec.entropy",),
    "aiortc": ("shared.transport.",),
    "aioice": ("shared.transport.",),
    "aiohttp": ("shared.transport.", "receiver.http.", "sender.calling", "bench.network."),
    "cryptography": ("shared.transport.", "receiver.http.authenticator"),
    "av": (
        "shared.media.video.",
        "receiver.sinks.",
        "models.clips.video",
        "models.training.data.drawn",
        "bench.",
        "animate.",
    ),
    "sounddevice": ("shared.media.portaudio",),
    "pywebrtc_audio": ("shared.media.echo",),
    "cv2": (
        "sender.camera",
        "receiver.screen",
        "models.clips.faces",
        "models.openvino.enlarging",
        "models.training.",
    ),
    "skimage": ("bench.harness.metrics",),
    "fvcore": ("bench.harness.metrics",),
    "openvino": ("models.openvino.",),
    "nncf": ("models.openvino.quantise",),
    "onnx": ("models.export",),
    "onnxruntime": ("models.export",),
    "uvloop": ("shared.runtime.eventloop",),
}
NOT_PURE = (
    "shared.transport.",
    "shared.clock",
    "shared.runtime.eventloop",
    "shared.runtime.command",
    "shared.runtime.deadline_executor",
    "shared.runtime.controls",
    "shared.runtime.usage",
)
PURE = (
    "shared.",
    "sender.framing",
    "sender.schedule",
    "sender.rate",
    "receiver.jitter_buffer",
    "receiver.playout",
    "receiver.receiver_statistics",
)
WORLD = {"asyncio", "time", "socket", "threading", "subprocess", "torch"}
# Absolute paths of some machine, and the way out of the repository into what lies beside it.
OUTSIDE = re.compile(r"(?<![\w.\-/])/(?:work|home|root|Users|mnt)/|/tmp/[a-z]+/|\.\./shared")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    files = (file for package in MAY_IMPORT for file in sorted((ROOT / package).rglob("*.py")))
    return {module_name(file): file for file in files}


@cache
def imports(name: str) -> frozenset[str]:
    """All that the module imports, anywhere in it, by full name: `from a import b` counts as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def within(name: str, places: Iterable[str]) -> bool:
    """Whether module `name` is one of `places`, or lies in one that ends in a dot."""
    return any(f"{name}.".startswith(place) if place.endswith(".") else name == place for place in places)


@cache
def imports_at_once(name: str) -> frozenset[str]:
    """The modules and packages that importing the module loads: nothing in functions, nor for types alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(modules()[name].read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update([node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)])
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return frozenset(found)


def tops(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_there_is_something_to_check() -> None:
    assert len(modules()) > 50
    assert "shared.keypoints" in imports("models.lite.layout")


@pytest.mark.parametrize("package", list(MAY_IMPORT))
def test_imports_run_one_way(package: str) -> None:
    ours = {*MAY_IMPORT, "tests"}
    wrong = [
        f"{name} imports {', '.join(sorted(forbidden))}"
        for name in modules()
        if name.split(".")[0] == package
        and (
            forbidden := (tops(imports(name)) & ours)
            - MAY_IMPORT[package]
            - (ENDS if name in COMPOSITION else set())
        )
    ]
    assert not wrong


@pytest.mark.parametrize(("end", "other"), [("sender", "receiver"), ("receiver", "sender")])
def test_a_one_way_call_loads_nothing_of_the_other_end(end: str, other: str) -> None:
    seen, waiting = set(), [f"{end}.__main__", f"{end}.app"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [found for found in imports_at_once(name) if found in modules()]
    # Words of the command line are said at both ends.
    assert {name for name in seen if name.startswith(f"{other}.")} == {f"{other}.arguments"}


def test_measurements_rest_on_their_harness_and_not_on_each_other_in_circles() -> None:
    uses: dict[str, set[str]] = {}
    for name in modules():
        if name.startswith("bench.") and name != "bench.__main__":
            mine = name.split(".")[1]
            theirs = {other.split(".")[1] for other in imports(name) if other.startswith("bench.")}
            uses.setdefault(mine, set()).update(theirs - {mine})
    assert uses["network"] == set()
    assert uses["harness"] <= {"network"}
    while leaves := {name for name, needed in uses.items() if not needed & uses.keys()}:
        uses = {name: needed for name, needed in uses.items() if name not in leaves}
    assert not uses


def test_only_training_imports_training() -> None:
    wrong = [
        name
        for name in modules()
        if not within(name, ("models.training.",))
        and any(within(i, ("models.training.",)) for i in imports(name))
    ]
    assert not wrong


@pytest.mark.parametrize("dependency", list(DOORS))
def test_a_heavy_dependency_has_its_door(dependency: str) -> None:
    users = [name for name in modules() if dependency in tops(imports(name))]
    assert users
    assert [name for name in users if not within(name, DOORS[dependency])] == []


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_torch_is_not_on_the_way_of_a_call(side: str) -> None:
    # Backbones are imported by name.
    entries = [f"models.{name}.entry" for name in BACKBONES]
    seen, waiting = set(), [f"{side}.__main__", f"{side}.app", *entries]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            assert "torch" not in tops(imports_at_once(name)), f"{name} loads torch"
            waiting += [found for found in imports_at_once(name) if found in modules()]
    assert {"models.lite.backbone", "models.openvino.engine", "models.forecast.build"} <= seen


def test_nothing_but_training_and_measurements_names_a_backbone() -> None:
    folders = tuple(f"models.{name}." for name in BACKBONES)
    # Graphs are kept for the lite network alone; it is what a call takes by itself.
    may = (*folders, "models.training.", "models.openvino.keep", "bench.", "animate.")
    others = [name for name in modules() if not within(name, may)]
    wrong = {
        name: sorted(found) for name in others if (found := {i for i in imports(name) if within(i, folders)})
    }
    assert not wrong


def test_what_is_pure_touches_neither_clock_nor_network_nor_thread() -> None:
    pure = [name for name in modules() if within(name, PURE) and not within(name, NOT_PURE)]
    assert len(pure) > 15
    wrong = {name: sorted(found) for name in pure if (found := tops(imports(name)) & WORLD)}
    assert not wrong


def test_every_module_is_installed() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert sorted(found["include"]) == sorted(f"{package}*" for package in MAY_IMPORT)
    homeless = [name for name, file in modules().items() if not (file.parent / "__init__.py").exists()]
    assert not homeless


def test_a_call_logs_where_debugging_shows_it() -> None:
    """A logger by another name than `shared.runtime.logs` gives it says nothing with `--debug`."""
    offline = ("models.training.", "models.export", "models.openvino.quantise", "shared.runtime.")
    calls = {name for name in modules() if name.split(".")[0] not in ("bench", "animate")}
    wrong = [
        name
        for name in calls
        if "getLogger(" in modules()[name].read_text(encoding="utf-8") and not within(name, offline)
    ]
    assert not wrong


def test_the_description_names_every_package_and_nothing_that_is_gone() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = text[text.index("## Packages") :].split("\n## ")[0]
    known = set(re.findall(r"`([a-z_/]+)`", rooms.replace("/`", "`")))
    known |= {f"models/{name}" for name in BACKBONES}
    packages = {
        module_name(file).replace(".", "/") for file in modules().values() if file.name == "__init__.py"
    }
    missing = {name for name in packages if not any(name.endswith(room) for room in known)}
    # Of measurements the table names no single one.
    assert missing == {name for name in packages if name.startswith("bench/")} - {
        "bench/harness",
        "bench/network",
    }
    # Modules and names in it: those of the product are there.
    dotted = set(re.findall(r"`((?:shared|models|sender|receiver|bench|animate)\.[\w.]+)`", text))
    assert len(dotted) > 20
    gone = {name for name in dotted if not _exists(name)}
    assert not gone


def _exists(name: str) -> bool:
    """Whether `name` is a module, a package, or something that a module defines."""
    if name in modules():
        return True
    module, _, attribute = name.rpartition(".")
    if module not in modules():
        return False
    return re.search(rf"\b{attribute}\b", modules()[module].read_text(encoding="utf-8")) is not None


def test_no_name_of_a_module_says_too_little() -> None:
    """Three modules of one name are told apart by their folders alone; backbones mean to be alike."""
    alike = tuple(f"models.{name}." for name in BACKBONES)
    told = Counter(
        name
        for name, _ in {
            (file.name, "backbones" if module.startswith(alike) else module)
            for module, file in modules().items()
            if not file.name.startswith("__")
        }
    )
    assert {name: count for name, count in told.items() if count > 2} == {}


def test_every_command_exists() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"sender", "receiver", "bench", "animate"}
    for target in scripts.values():
        module, function = target.split(":")
        tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def texts() -> list[Path]:
    """Every file of the repository that is read by people."""
    folders = [*MAY_IMPORT, "tests", "docker", ".ci"]
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    files += [file for file in ROOT.iterdir() if file.is_file() and not file.name.startswith(".")]
    binary = {".bin", ".xml", ".npz", ".npy", ".safetensors", ".pyc", ".png", ".jpg", ".mp4", ".json"}
    return [file for file in files if file.suffix not in binary]


def test_nothing_names_a_place_outside_of_the_repository() -> None:
    assert len(texts()) > 100
    wrong = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in texts()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if OUTSIDE.search(line)
    ]
    assert not wrong
