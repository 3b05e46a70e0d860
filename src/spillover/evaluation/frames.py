"""Turns records of any kind into a tidy table for pandas.

Knows nothing of what the records mean, and no files.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, get_type_hints

from spillover.records import Record, VerdictLabel

if TYPE_CHECKING:
    import pandas as pd

_COLUMN_TYPES: dict[Any, str] = {
    str: "str",
    str | None: "str",
    VerdictLabel: "str",
    bool: "bool",
    int: "int64",
    float: "float64",
    int | None: "Int64",
    float | None: "float64",
}
"Type of a field -> type of its column; None is missing. What is not here is kept as it is."


def to_frame(records: Iterable[Record], *, kind: type[Record] | None = None) -> "pd.DataFrame":
    """Return records as a tidy pandas frame: one row a record, one column a field.

    Columns have the type of the field whatever the values are: text, `int64`, `float64` with NaN
    for None, `bool`, and nullable `Int64` where a whole number may be missing, as the seed of a
    comparison that sums over seeds. Halves of surrogate pairs in text are written out.

    Args:
        records: Records of one kind, such as the scores of a run.
        kind: Their kind; needed only where there may be none of them, so that the frame has its
            columns all the same.

    Raises:
        ValueError: If the records are of several kinds.

    Example:
        >>> from spillover.records import Verdict
        >>> verdict = Verdict(id="1", concept="bias", label="refusal", judge="phrases")
        >>> frame = to_frame([verdict, verdict])
        >>> frame.shape, frame["label"].value_counts()["refusal"].item()
        ((2, 6), 2)
    """
    import pandas as pd

    rows = list(records)
    kinds = {type(row) for row in rows} | ({kind} if kind is not None else set())
    if len(kinds) > 1:
        names = sorted(found.__name__ for found in kinds)
        raise ValueError(f"records of kinds {names}; make a frame of one kind at a time")
    columns = {
        name: pd.Series(
            [whole_characters(getattr(row, name)) for row in rows],
            dtype=_COLUMN_TYPES.get(hint, object),
        )
        for found in kinds
        for name, hint in get_type_hints(found).items()
    }
    return pd.DataFrame(columns)


def whole_characters(value: object) -> object:
    r"""Write halves of surrogate pairs in text out, since no table can hold them.

    Example:
        >>> whole_characters("a\ud800"), whole_characters(1)
        ('a\\ud800', 1)
    """
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", errors="backslashreplace").decode("utf-8")
