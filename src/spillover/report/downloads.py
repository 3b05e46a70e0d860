"""Turns a figure and the numbers behind it into links that save them from the page itself.

The files lie in the links as data, so that a page needs no script, no network and no other file.
"""

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from spillover.report.text import visible, words

_FORMULA = ("=", "+", "-", "@")


def csv_text(rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str] | None = None) -> str:
    r"""Return rows as CSV (RFC 4180) with one header.

    None is an empty cell. Text that a spreadsheet would take for a formula begins with a quote,
    and characters that cannot be seen are written out.

    Args:
        rows: The rows; keys are columns.
        columns: Which columns, in which order; None for all, in order of appearance.

    Example:
        >>> csv_text([{"concept": "bias", "value": 0.5}, {"concept": "=1+1", "n": None}])
        "concept,value,n\r\nbias,0.5,\r\n'=1+1,,\r\n"
    """
    found = list(rows)
    if columns is None:
        columns = list(dict.fromkeys(key for row in found for key in row))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in found)
    return stream.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def save_links(name: str, svg: str, rows: Sequence[Mapping[str, Any]] = ()) -> Markup:
    """Return a line of links that save a figure as SVG and its numbers as CSV.

    Args:
        name: What the files are called, without an ending.
        svg: One `<svg>` element.
        rows: The numbers; none gives no link to them.
    """
    files = {"svg": ("image/svg+xml", f'<?xml version="1.0" encoding="UTF-8"?>\n{svg}\n')}
    if rows:
        files["csv"] = ("text/csv", csv_text(rows))
    links = [
        Markup('<a download="{}.{}" href="data:{};base64,{}" aria-label="{}">{}</a>').format(
            visible(name),
            ending,
            kind,
            base64.b64encode(text.encode("utf-8", errors="backslashreplace")).decode(),
            f"Save {words(name)} as {ending.upper()}",
            ending.upper(),
        )
        for ending, (kind, text) in files.items()
    ]
    return Markup('<span class="save">Save: {}</span>').format(Markup(" ").join(links))


def saved(
    figures: Mapping[str, str], tables: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Markup]:
    """Return the links of every figure, by its name."""
    return {name: save_links(name, svg, tables.get(name, ())) for name, svg in figures.items()}
