"""A few threads that carry out jobs, and a queue of what came of them. Daemon threads: a hung one never keeps the
process from ending, since everything that matters is in the ledger."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers(Generic[Job, Result]):
    """Runs `work(job)` in one of `count` threads; `done()` is called after each, from that thread."""

    def __init__(self, count: int, work: Callable[[Job], Result], done: Callable[[], None]) -> None:
        self._count, self._work, self._done = count, work, done
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Job, Result | None, BaseException | None]] = queue.SimpleQueue()
        self._in_hand = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"worker-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def room(self) -> int:
        """How many more jobs could start at once."""
        return self._count - self._in_hand

    def in_hand(self) -> int:
        """Jobs that were submitted and whose results have not been taken."""
        return self._in_hand

    def submit(self, job: Job) -> None:
        """Have the job done; called from the agent's thread only, as is `results`."""
        self._in_hand += 1
        self._jobs.put(job)

    def results(self) -> list[tuple[Job, Result]]:
        """What has been finished since the last call. An error that no port may raise comes out here again."""
        found: list[tuple[Job, Result]] = []
        while True:
            try:
                job, result, error = self._results.get_nowait()
            except queue.Empty:
                return found
            self._in_hand -= 1
            if error is not None:
                raise error
            found.append((job, result))  # type: ignore[arg-type]

    def finish(self) -> None:
        """Wait until everything in hand is done, and forget what came of it: whoever asks knows from elsewhere."""
        while self._in_hand:
            self._results.get()
            self._in_hand -= 1

    def stop(self, grace_s: float) -> None:
        """Let the threads finish what they have in hand, for at most `grace_s` seconds."""
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._results.put((job, self._work(job), None))
            except BaseException as error:  # noqa: BLE001  the boundary of a thread: the agent's thread raises it again
                self._results.put((job, None, error))
            self._done()
