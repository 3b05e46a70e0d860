"""Decides whether a failed request is tried again, and how long to wait before that.

Sends nothing and sleeps nowhere; the caller does both.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from spillover.seeding import numpy_generator

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = range(500, 600)
_LONGEST_WAIT = 60.0
_LONGEST_ASKED_WAIT = 600.0


def is_retriable(status: int) -> bool:
    """Say whether the same request may succeed later: after 429 and any 5xx, not other 4xx."""
    return status == _TOO_MANY_REQUESTS or status in _SERVER_ERRORS


def retry_after_seconds(header: str, *, now: datetime | None = None) -> float:
    """Return the wait that a `Retry-After` header asks for, in seconds, at most ten minutes.

    Args:
        header: Seconds or an HTTP date; 0 is returned for anything else.
        now: The time that a date is counted from; None for the clock.

    Example:
        >>> retry_after_seconds("1.5"), retry_after_seconds("soon")
        (1.5, 0.0)
    """
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header, now or datetime.now(UTC))
    return min(seconds, _LONGEST_ASKED_WAIT) if seconds > 0 else 0.0


def _seconds_until(date: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    # HTTP dates are in GMT whether or not they say so.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()


class Backoff:
    """Waits that double with every attempt, each spread by half to either side.

    The spread keeps clients that failed together from coming back together.
    """

    def __init__(self, *, first: float, seed: int, stream: str) -> None:
        """Start a stream of waits.

        Args:
            first: Middle of the first wait, in seconds.
            seed: Of the spread.
            stream: Tells apart the requests under one seed.
        """
        self._first = first
        self._generator = numpy_generator(seed, "backoff", stream)

    def draw(self, attempt: int) -> float:
        """Return the wait after `attempt` (counted from 0), in seconds, at most a minute."""
        spread = 0.5 + float(self._generator.random())
        return min(_LONGEST_WAIT, self._first * 2.0**attempt * spread)
