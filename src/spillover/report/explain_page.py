"""Turns an explanation and its figures into one self-contained HTML page with small widgets.

Everything that models or users wrote is escaped; what widgets draw comes as a JSON block in which
no tag can begin, and is put on the page as text. Scripts other than the page's own are refused by
its content security policy, which names the one script by its hash.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup

from spillover.report.downloads import save_links
from spillover.report.explanations import Claim, Exhibit, Explanation
from spillover.report.page import page_environment
from spillover.report.text import visible

_SHOWN_ROWS = 400


def render_explanation(
    explanation: Explanation, *, figures: Mapping[str, str], has_tensors: bool = True
) -> str:
    """Return the page.

    The same inputs give the same page, byte for byte.

    Args:
        explanation: What was found.
        figures: SVG of each exhibit, by its name, from `figure_files.render_figure`.
        has_tensors: Whether what was read off the models lies beside the page.
    """
    script = resources.files("spillover.report").joinpath("explain.js").read_text(encoding="utf-8")
    environment = page_environment()
    environment.filters["cell"] = table_cell
    template = environment.get_template("explain.html.j2")
    return template.render(
        explanation=explanation,
        has_tensors=has_tensors,
        claims=[(part, claim) for part in explanation.parts for claim in part.claims],
        figures={name: Markup(svg) for name, svg in figures.items()},
        downloads={
            exhibit.name: save_links(exhibit.name, figures[exhibit.name], part.rows)
            for part in explanation.parts
            for exhibit in part.exhibits
            if exhibit.name in figures
        },
        data={e.name: _json_block(e) for part in explanation.parts for e in part.exhibits},
        columns={part.name: table_columns(part.rows) for part in explanation.parts},
        rows={part.name: part.rows[:_SHOWN_ROWS] for part in explanation.parts},
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        wide=_is_wide,
        number=claim_number,
    )


def _json_block(exhibit: Exhibit) -> Markup:
    """Return the widget's data as JSON that can stand inside a script element."""
    text = json.dumps(_made_visible(exhibit.data or {}), ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _made_visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): _made_visible(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_made_visible(item) for item in value]
    return value


def table_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of a tidy table, in order of appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def table_cell(value: object) -> str:
    """Return a value of a tidy table as text.

    Example:
        >>> table_cell(0.12345), table_cell(None), table_cell(True), table_cell(12)
        ('0.123', '', 'yes', '12')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "\u2212")
    return visible(str(value))


def claim_number(claim: Claim) -> str:
    """Return a claim's value with its interval."""
    if claim.value is None:
        return "n/a"
    shown = table_cell(float(claim.value))
    if claim.ci_low is None or claim.ci_high is None:
        return shown
    return f"{shown} [{table_cell(float(claim.ci_low))},\u00a0{table_cell(float(claim.ci_high))}]"


def _is_wide(exhibit: Exhibit) -> bool:
    """Whether the still picture keeps its size and scrolls: traces are as wide as they are long."""
    return exhibit.widget == "tokens"
