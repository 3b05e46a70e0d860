"""Which of several choices no other choice beats at everything.

Knows nothing of what is traded against what, nor of how sure the numbers are.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def pareto_front(
    values: Float[np.ndarray, "choice objective"], *, maximise: Sequence[bool]
) -> list[int]:
    """Return the choices that no other choice dominates, in the order given.

    A choice dominates another if it is at least as good in every objective and better in one.
    Equal choices do not dominate each other, so both stay. A choice with a missing value (NaN) is
    never on the front and dominates none: what it would be is not known.

    Args:
        values: One row a choice.
        maximise: For each objective, whether more is better.

    Returns:
        Rows of `values`, ascending.

    Raises:
        ValueError: If `maximise` has another length than a row.

    Example:
        >>> effect_and_damage = np.array([[0.9, 0.4], [0.8, 0.1], [0.7, 0.2]])
        >>> pareto_front(effect_and_damage, maximise=[True, False])  # The last is worse at both.
        [0, 1]
    """
    if values.shape[1] != len(maximise):
        raise ValueError(
            f"{values.shape[1]} objectives, but {len(maximise)} directions; give one for each"
        )
    better_is_more = np.where(np.asarray(maximise, dtype=bool), values, -values)
    known = [row for row in range(len(values)) if not np.isnan(better_is_more[row]).any()]
    return [
        row
        for row in known
        if not any(_dominates(better_is_more[other], better_is_more[row]) for other in known)
    ]


def _dominates(
    one: Float[np.ndarray, " objective"], other: Float[np.ndarray, " objective"]
) -> bool:
    return bool((one >= other).all() and (one > other).any())
