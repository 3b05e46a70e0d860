"""What a judge is: completions in, one verdict for each out.

Knows nothing of any particular judge; the table of them is in `spillover.judges`.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from spillover.records import Completion, Verdict


@runtime_checkable
class Judge(Protocol):
    """Anything with a name that labels completions."""

    @property
    def name(self) -> str:
        """Written into every verdict, so that two judges' labels are never mixed."""
        ...

    def judge(self, completions: Sequence[Completion]) -> list[Verdict]:
        """Return one verdict for each completion, in the same order.

        What cannot be judged gets the label `invalid` and a reason, never an exception.
        """
        ...
