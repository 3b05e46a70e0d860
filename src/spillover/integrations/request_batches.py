"""Turns requests that come in one by one from many tasks into batches for a function of many.

Works under asyncio and trio. Knows nothing of models or judges.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

QUIET_SECONDS = 0.1
"A batch is closed when no request has come for so long."


class _Batch(Generic[Item, Answer]):
    """Requests that will be answered together."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.last_at = 0.0
        self.answers: Future[Sequence[Answer]] = Future()


class RequestBatches(Generic[Item, Answer]):
    """Collects requests while a batch is being answered, or for a moment where none is."""

    def __init__(
        self,
        answer: Callable[[list[Item]], Sequence[Answer]],
        *,
        size: int,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        """Keep the function; nothing runs before the first request.

        Args:
            answer: Gives one answer an item, in order. It is called in one thread, never twice at
                once; what it raises is raised to all who wait for the batch.
            size: Most items of a batch, at least 1.
            quiet_seconds: How long a batch that is not full waits for one more.

        Raises:
            ValueError: If `size` is not positive.
        """
        if size < 1:
            raise ValueError(f"size is {size}; a batch holds at least one request")
        self._answer = answer
        self._size = size
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._open: _Batch[Item, Answer] | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spillover")

    async def ask(self, item: Item) -> Answer:
        """Return the answer to one item, once the batch that it comes into has been answered."""
        import anyio

        batch, place = self._enter(item)
        # A limiter of its own: many wait at once, each for its batch only.
        answers = await anyio.to_thread.run_sync(
            batch.answers.result, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True
        )
        return answers[place]

    def _enter(self, item: Item) -> tuple[_Batch[Item, Answer], int]:
        with self._lock:
            batch = self._open
            if batch is None or len(batch.items) >= self._size:
                batch = self._open = _Batch()
                batch.answers = self._worker.submit(self._close_and_answer, batch)
            batch.items.append(item)
            batch.last_at = time.monotonic()
            return batch, len(batch.items) - 1

    def _close_and_answer(self, batch: _Batch[Item, Answer]) -> Sequence[Answer]:
        while (seconds := self._seconds_to_wait(batch)) > 0:
            time.sleep(seconds)
        return self._answer(batch.items)

    def _seconds_to_wait(self, batch: _Batch[Item, Answer]) -> float:
        """Return how long to wait for more; where that is nothing, nobody can enter any longer."""
        with self._lock:
            left = batch.last_at + self._quiet - time.monotonic()
            if left > 0 and len(batch.items) < self._size:
                return left
            if self._open is batch:
                self._open = None
            return 0.0
