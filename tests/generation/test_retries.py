"""Which failures are tried again, and after how long."""

from datetime import UTC, datetime

import pytest

from spillover.generation.retries import Backoff, is_retriable, retry_after_seconds

NOW = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "expected"), [(429, True), (500, True), (503, True), (400, False), (404, False)]
)
def test_only_overload_and_server_errors_are_tried_again(status, expected):
    assert is_retriable(status) is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("Sat, 01 Mar 2025 12:00:30 GMT", 30.0),
        ("Sat, 01 Mar 2025 11:59:00 GMT", 0.0),
        ("Sat, 01 Mar 2025 12:00:30 -0000", 30.0),
        ("-4", 0.0),
        ("nan", 0.0),
        ("", 0.0),
        ("later", 0.0),
        ("86400", 600.0),
    ],
)
def test_a_retry_after_header_is_read_as_seconds_or_as_a_date(header, seconds):
    assert retry_after_seconds(header, now=NOW) == seconds


def test_waits_double_within_their_spread_and_end_at_a_minute():
    backoff = Backoff(first=1.0, seed=0, stream="p")
    waits = [backoff.draw(attempt) for attempt in range(12)]
    for attempt, wait in enumerate(waits[:5]):
        assert 0.5 * 2**attempt <= wait <= 1.5 * 2**attempt
    assert waits[11] == 60.0


def test_waits_are_the_same_for_one_seed_and_differ_between_requests():
    def draws(seed: int, stream: str) -> list[float]:
        backoff = Backoff(first=1.0, seed=seed, stream=stream)
        return [backoff.draw(n) for n in range(3)]

    assert draws(0, "a") == draws(0, "a")
    assert draws(0, "a") != draws(0, "b")
    assert draws(0, "a") != draws(1, "a")
