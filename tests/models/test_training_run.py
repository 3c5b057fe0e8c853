import os
import signal
from pathlib import Path

import pytest
import torch

from models.training.run import any_process, cosine, load_state, processes, save_state, stop_requests
from shared.errors import KeycastError, RequestError

CPU = torch.device("cpu")


def test_the_rate_rises_and_falls() -> None:
    rates = [cosine(done / 100, warmup=0.1) for done in range(101)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10] == pytest.approx(1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert cosine(0.55, warmup=0.1) == pytest.approx(0.51)
    assert rates[100] == cosine(1.7, warmup=0.1) == pytest.approx(0.02)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    save_state(path, {"step": 1, "weights": torch.arange(3.0)})
    save_state(path, {"step": 2, "weights": torch.arange(3.0)})
    state = load_state(path)
    assert state is not None
    assert state["step"] == 2
    assert state["weights"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize("damage", ["junk", "empty", "cut", "pickle", "list"])
def test_a_damaged_state_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    if damage == "pickle":
        torch.save({"hostile": _Hostile()}, path)
    elif damage == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"junk": b"junk", "empty": b"", "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(RequestError, match="delete it to start over") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"step": 1})
    path.with_suffix(".part").mkdir()
    with pytest.raises(KeycastError, match="Could not save"):
        save_state(path, {"step": 2})
    assert load_state(path) == {"step": 1}


def test_signals_are_noted_and_the_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests() as stops:
        assert not stops
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stops == [signal.SIGTERM, signal.SIGINT]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_one_process_needs_no_group() -> None:
    with processes(CPU) as place:
        assert place == (0, 1)
        assert any_process(True, 1, CPU)
        assert not any_process(False, 1, CPU)
