"""Requests of many tasks: who shares a batch, and who gets which answer."""

import threading
import time

import anyio
import pytest

from spillover.integrations.request_batches import RequestBatches


def ask_all(batches, items, *, backend="asyncio", after=0.0):
    """Ask all items at the same time; return the answers in the order of the items."""
    answers = {}

    async def one(item):
        if after:
            await anyio.sleep(after * item)
        answers[item] = await batches.ask(item)

    async def everything():
        async with anyio.create_task_group() as group:
            for item in items:
                group.start_soon(one, item)

    anyio.run(everything, backend=backend)
    return [answers[item] for item in items]


def test_requests_at_the_same_time_share_batches_of_at_most_the_size():
    seen = []

    def double(items):
        seen.append(list(items))
        return [2 * item for item in items]

    assert ask_all(RequestBatches(double, size=4), range(10)) == [2 * i for i in range(10)]
    assert sorted(len(batch) for batch in seen) == [2, 4, 4]
    assert sorted(item for batch in seen for item in batch) == list(range(10))


def test_requests_that_come_while_a_batch_is_answered_make_the_next_one():
    seen = []

    def slowly(items):
        seen.append(len(items))
        time.sleep(0.5)
        return items

    # One comes at 0 s and is alone after 0.05 s; six more come between 0.1 s and 0.35 s.
    batches = RequestBatches(slowly, size=16, quiet_seconds=0.05)
    assert ask_all(batches, [0, 2, 3, 4, 5, 6, 7], after=0.05) == [0, 2, 3, 4, 5, 6, 7]
    assert seen == [1, 6]


def test_the_function_is_never_called_twice_at_once():
    inside = threading.Lock()

    def alone(items):
        assert inside.acquire(blocking=False)
        time.sleep(0.01)
        inside.release()
        return items

    assert ask_all(RequestBatches(alone, size=1), range(8)) == list(range(8))


def test_what_the_function_raises_is_raised_to_all_of_its_batch_and_to_no_other():
    def fails_at_zero(items):
        if 0 in items:
            raise ValueError("no")
        return items

    batches = RequestBatches(fails_at_zero, size=2)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="no")):
        ask_all(batches, [0])
    assert ask_all(batches, [1, 2, 3]) == [1, 2, 3]


def test_one_collector_serves_several_event_loops_in_turn():
    batches = RequestBatches(lambda items: items, size=4)
    assert [ask_all(batches, [1, 2]) for _ in range(3)] == [[1, 2]] * 3


def test_a_batch_without_room_is_refused():
    with pytest.raises(ValueError, match="size is 0; a batch holds at least one request"):
        RequestBatches(lambda items: items, size=0)
