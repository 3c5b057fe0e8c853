"""Access to OpenVINO: imported without its usage reports; graphs compiled for this machine's CPU."""

from __future__ import annotations

import io
import platform
import sys
from typing import Any

from models.openvino import compile_cache
from models.threads import threads
from shared.errors import KeycastError
from shared.runtime.logs import logger

# OpenVINO has no types that a checker could read; these names say what is meant.
Model = Any
Node = Any
Tensor = Any
InferRequest = Any

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
# No compiled model is ever let go: the stack that Python handles signals on is gone with it, and the next
# Ctrl-C would end in a segmentation fault (seen with OpenVINO 2026.4 on Linux).
_KEPT: list[InferRequest] = []
_log = logger("network")


class EngineError(KeycastError):
    """OpenVINO is not there, or cannot take the network: torch may still run it."""


def openvino() -> Any:  # noqa: ANN401
    """Import OpenVINO without its usage reports: the import alone would tell Google Analytics about it."""
    # A package that cannot be imported is what OpenVINO itself provides for: it then reports nothing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise EngineError(
            f"OpenVINO cannot be used here ({error}); install it, or use the torch engine."
        ) from error
    return openvino


def computes_in_bfloat16() -> bool:
    """Whether this CPU does, rather than that it could be imitated."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def computes_in_int8() -> bool:
    """Whether this CPU does, in OpenVINO: elsewhere than on x86 it was never run here."""
    able = "INT8" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return able and platform.machine().lower() in ("x86_64", "amd64")


def compiled(model: Model, precision: str, count: int | None = None, key: str | None = None) -> InferRequest:
    """Compile `model` for this CPU, with `count` threads or as many as were chosen. Raises EngineError.

    What is compiled under a `key`, which says what `model` is, is taken from the user's cache the next time.
    """
    options = {
        "INFERENCE_NUM_THREADS": count or threads() or 0,  # 0: OpenVINO's own choice
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "NUM_STREAMS": 1,
        # Or the two ends of a call on one machine would both insist on its first core.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        request: InferRequest = _request(model, options, key)
    except RuntimeError as error:
        raise failure(error) from error
    _KEPT.append(request)
    return request


def _request(model: Model, options: dict[str, Any], key: str | None) -> InferRequest:
    core = openvino().Core()
    if key is None:
        return core.compile_model(model, "CPU", options).create_infer_request()
    processor = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    depends = (key, openvino().get_version(), *processor, sorted(options.items()))
    name = compile_cache.name_of(*map(str, depends))
    kept = compile_cache.read(name)
    if kept is not None:
        try:
            return core.import_model(kept, "CPU", options).create_infer_request()
        except RuntimeError as error:
            _log.debug("A compiled graph in the cache was not used: %s", error)
    found = core.compile_model(model, "CPU", options)
    stream = io.BytesIO()
    try:
        # Into a stream of ours: what it returns without one differs between versions.
        found.export_model(stream)
        compile_cache.keep(name, stream.getvalue())
    except RuntimeError as error:
        _log.debug("A compiled graph cannot be kept: %s", error)
    return found.create_infer_request()


def failure(error: RuntimeError) -> EngineError:
    """Return what is said of a graph that OpenVINO does not take."""
    reason = str(error).strip().splitlines()[-1]
    return EngineError(f"OpenVINO cannot run this network ({reason}); use the torch engine.")
