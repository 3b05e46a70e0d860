"""Turns parts of findings with drawn exhibits into the files of a page.

OUT/<page>.html      everything on one page
OUT/analysis/*.json  every number
OUT/figures/         every figure as SVG and PDF
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spillover import __version__
from spillover.files import write_bytes, write_json, write_text
from spillover.report.explain_page import render_explanation
from spillover.report.explanations import Claim, Exhibit, ExplainedPart, Explanation
from spillover.report.figure_files import render_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class DrawnPart:
    """One part of a page, with what draws its exhibits."""

    name: str
    title: str
    question: str
    exhibits: "Sequence[tuple[Exhibit, Callable[[], Figure]]]"
    claims: tuple[Claim, ...] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()


def write_parts_page(
    out: Path,
    parts: Sequence[DrawnPart],
    *,
    page: str,
    title: str,
    models: Mapping[str, str],
    data: Sequence[str],
    settings: Mapping[str, Any],
    left_out: Sequence[str] = (),
) -> Path:
    """Write figures, numbers and the page; return the page.

    Args:
        out: The folder.
        parts: In the order of the page.
        page: Its file name without the ending.
        title: Of the page.
        models: Role -> what was loaded.
        data: What was read, one line a set.
        settings: Shown at the end.
        left_out: What could not be done, each with what it lacks.
    """
    figures: dict[str, str] = {}
    found = []
    for part in parts:
        for exhibit, make in part.exhibits:
            drawn = render_figure(make, name=exhibit.name, label=f"{exhibit.title}.")
            write_text(out / "figures" / f"{exhibit.name}.svg", drawn.svg)
            write_bytes(out / "figures" / f"{exhibit.name}.pdf", drawn.pdf)
            figures[exhibit.name] = drawn.svg
        explained = ExplainedPart(
            name=part.name,
            title=part.title,
            question=part.question,
            claims=part.claims,
            exhibits=tuple(exhibit for exhibit, _ in part.exhibits),
            rows=tuple(part.rows),
            notes=part.notes,
        )
        write_json(out / "analysis" / f"{part.name}.json", explained.to_dict())
        found.append(explained)
    explanation = Explanation(
        title=title,
        models=models,
        data=tuple(data),
        parts=tuple(found),
        left_out=tuple(left_out),
        settings={"spillover": __version__, **settings},
    )
    path = out / f"{page}.html"
    write_text(path, render_explanation(explanation, figures=figures, has_tensors=False))
    return path


def plain_rows(frame: Any) -> list[dict[str, Any]]:
    """Return a frame's rows as JSON can hold them: plain numbers, and None for what is missing."""
    rows: list[dict[str, Any]] = []
    for row in frame.to_dict(orient="records"):
        rows.append({str(key): _plain(value) for key, value in row.items()})
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
