"""The groups of one process's batch to as many as every other process has.

Where weights are sharded (FSDP2, ZeRO-3) each forward pass gathers them from all processes, so a
process with fewer passes than the others would leave them waiting for ever. Groups are cut by
length, and lengths differ, so their numbers do. It knows nothing of processes: the caller asks
them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from spillover.training.forward import ExampleGroup


def as_many_groups(groups: Sequence[ExampleGroup], n: int) -> list[ExampleGroup]:
    """Split the largest groups until there are `n`; pairs stay together and no row is lost.

    Args:
        groups: At most `n`.
        n: The largest number of groups that any process has.

    Raises:
        ValueError: If there are more groups, or fewer rows and pairs than `n`.
    """
    found = list(groups)
    if not len(found) <= n <= sum(map(_n_bundles, found)):
        raise ValueError(
            f"{len(found)} groups of {sum(map(_n_bundles, found))} examples cannot be made {n}; "
            "processes must have equally many examples"
        )
    while len(found) < n:
        largest = max(range(len(found)), key=lambda i: _n_bundles(found[i]))
        found[largest : largest + 1] = _halves(found[largest])
    return found


def _n_bundles(group: ExampleGroup) -> int:
    """Return how many rows, or pairs of rows, must stay whole."""
    return len(group.ids) // 2 if any(group.is_chosen) else len(group.ids)


def _halves(group: ExampleGroup) -> list[ExampleGroup]:
    # In a group of pairs all first rows come before all second ones, in one order.
    n = _n_bundles(group)
    is_first = [row % n < n // 2 for row in range(len(group.ids))]
    return [_rows(group, is_first), _rows(group, [not first for first in is_first])]


def _rows(group: ExampleGroup, chosen: Sequence[bool]) -> ExampleGroup:
    rows = [row for row, is_chosen in enumerate(chosen) if is_chosen]
    device = group.batch.input_ids.device
    return replace(
        group,
        ids=tuple(group.ids[row] for row in rows),
        is_forget=tuple(group.is_forget[row] for row in rows),
        is_chosen=tuple(group.is_chosen[row] for row in rows),
        batch=group.batch.rows(torch.tensor(list(chosen), device=device)),
    )
