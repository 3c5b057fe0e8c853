"""One thread for all that computes at one end of a call, in the order of deadlines."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class DeadlineExecutor:
    """Runs work in one thread, that with the earliest deadline first; as a context manager it ends in order.

    Work is given over a `lane`, each with an allowance: the time from when work is given until it should be
    done. Since deadlines are moments, what has waited long enough comes before anything that is given later:
    a lane with a short allowance goes first and can starve no other (EDF; Liu and Layland 1973).
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._count = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def lane(self, seconds: float) -> Executor:
        """Return an executor whose work should be done within `seconds` of being given."""
        return _Lane(self, seconds)

    def __enter__(self) -> DeadlineExecutor:
        """Nothing is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do what has been given, and end the thread."""
        self.shutdown()

    def shutdown(self) -> None:
        """Do what has been given, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def submit(self, seconds: float, work: Callable[[], None]) -> None:
        """Have `work`, which raises nothing, done within `seconds`."""
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            heapq.heappush(self._waiting, (self._now() + seconds, next(self._count), work))
            self._changed.notify()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            return heapq.heappop(self._waiting)[2]


class _Lane(Executor):
    """A way to give work to `owner`; ends with it."""

    def __init__(self, owner: DeadlineExecutor, seconds: float) -> None:
        self._owner, self._seconds = owner, seconds

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:  # noqa: ANN401
        """Give work; see `concurrent.futures.Executor`."""
        future: Future[Result] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._owner.submit(self._seconds, work)
        return future
