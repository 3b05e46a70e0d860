"""What models wrote as a JSON block in which no tag can begin, and the script that shows it.

A page that takes both names the script by its hash in its content security policy, so that nothing
else can run on it.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import resources

from markupsafe import Markup

from spillover.report.run_comparison import RunAnswer
from spillover.report.text import visible

LONGEST = 20_000
"Characters of one text that are shown; the whole is in the completions' files."


def row_browser(rows: Sequence[Sequence[str]]) -> dict[str, object]:
    """Return what a page's template needs to show rows: the block, their number, the script."""
    script, script_hash = row_script()
    return {
        "rows": rows_block(rows),
        "n_rows": len(rows),
        "script": script,
        "script_hash": script_hash,
    }


def answer_row(row: RunAnswer) -> tuple[str, ...]:
    """Return an answer as a row of the browser."""
    return (
        row.id,
        row.concept,
        row.change,
        row.prompt,
        row.first_label,
        row.first,
        row.second_label,
        row.second,
        row.model,
    )


def row_script() -> tuple[Markup, str]:
    """Return the script that shows rows, and its SHA-256 for the content security policy."""
    script = resources.files("spillover.report").joinpath("rows.js").read_text(encoding="utf-8")
    return Markup(script), base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def rows_block(rows: Iterable[Sequence[str]]) -> Markup:
    """Return rows of texts as JSON that can stand inside a script element.

    Args:
        rows: Id, concept, change, prompt, label and answer of the first side, the same of the
            second, and perhaps the model; shown as text, and cut where they are very long.
    """
    shown = [[shown_text(cell) for cell in row] for row in rows]
    text = json.dumps(shown, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def shown_text(text: str) -> str:
    """Return a text with what cannot be seen written out, cut where it is very long."""
    cut = len(text) - LONGEST
    more = f" [{cut} more characters]" if cut > 0 else ""
    return visible(text[:LONGEST]) + more
