"""The door to OpenVINO: imported without its usage reports, its compiled models kept until the end."""

from __future__ import annotations

import sys
from typing import Any

from shared.errors import KeycastError

# OpenVINO has no types that a checker could read; these names say what is meant.
Model = Any
InferRequest = Any

# No compiled model is ever let go: the stack that Python handles signals on is gone with it, and the next
# Ctrl-C would end in a segmentation fault (seen with OpenVINO 2026.4 on Linux).
_KEPT: list[InferRequest] = []


def import_openvino() -> Any:  # noqa: ANN401
    """Import OpenVINO without its usage reports: the import alone would tell Google Analytics about it.

    Raises KeycastError where it cannot be imported.
    """
    # A package that cannot be imported is what OpenVINO itself provides for: it then reports nothing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise KeycastError(
            f"OpenVINO cannot be used here ({error}); install it, or use the torch engine."
        ) from error
    return openvino


def compiled(model: Model, precision: str, threads: int) -> InferRequest:
    """Compile `model` for this machine's CPU, for one picture or frame at a time; `precision` f32 or bf16."""
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
        # Or the two ends of a call on one machine would both insist on its first core.
        "ENABLE_CPU_PINNING": False,
    }
    request: InferRequest = (
        import_openvino().Core().compile_model(model, "CPU", options).create_infer_request()
    )
    _KEPT.append(request)
    return request
