"""When the guard measures: every k steps, or as often as a share of the training time allows."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from spillover.errors import ConfigError

Clock = Callable[[], float]
"Seconds since some moment."


class MeasuringBudget:
    """Holds what measuring costs below a share of the time that training itself takes.

    A measurement is allowed once there is time for it and for one more, which keeps the last one,
    after the final step, within the share as well. So k is not chosen: it follows from what a
    step and a measurement cost here, and from nothing else. A training that takes less time than
    about 2 / share measurements is over before the first one is due; its start and end are
    measured in any case, and then cost more than the share.

    Args:
        share: Of the training's own time, such as 0.08.
        clock: For tests.

    Raises:
        ConfigError: If the share is not positive.
    """

    def __init__(self, share: float, *, clock: Clock = time.perf_counter) -> None:
        if share <= 0:
            raise ConfigError(f"guard: max_overhead is {share}; give a share above 0, such as 0.08")
        self._share = share
        self._clock = clock
        self._began = self._seen = clock()
        self._last = self._spent = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._began = self._seen = self._clock()
        self._last = self._spent = 0.0

    @contextmanager
    def spending(self, device: torch.device) -> Iterator[None]:
        """Count the time inside as spent; work of training that still runs is waited for."""
        _wait_for(device)
        start = self._clock()
        try:
            yield
        finally:
            _wait_for(device)
            self._seen = self._clock()
            self._last = self._seen - start
            self._spent += self._last

    def allows(self) -> bool:
        """Say whether there is time for one more measurement and for the last."""
        self._seen = self._clock()
        return self._spent + 2 * self._last <= self._share * self._training

    @property
    def _training(self) -> float:
        return self._seen - self._began - self._spent

    @property
    def overhead(self) -> float:
        """Time spent over the training's own, when the clock was last looked at."""
        return self._spent / self._training if self._training > 0 else 0.0


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def from_first(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the first process's values on every process, so that all decide alike."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(values)
    shared = torch.tensor(values, dtype=torch.float32, device=device)
    torch.distributed.broadcast(shared, src=0)
    return shared.tolist()
