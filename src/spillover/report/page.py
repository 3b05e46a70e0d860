"""Turns the study's numbers, pictures and samples into one self-contained HTML page.

Every value that reaches the page passes `visible` and then HTML escaping, whatever the template
says; only pictures drawn here are let through as markup.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from spillover.records import VERDICT_LABELS
from spillover.report import text
from spillover.report.audit_findings import ROW_CHANGES
from spillover.report.chains import Chain, chains
from spillover.report.checkpoints import checkpoint_tables
from spillover.report.containments import choices
from spillover.report.downloads import saved
from spillover.report.figure_tables import figure_tables
from spillover.report.figures import all_figures
from spillover.report.findings import findings
from spillover.report.inputs import ReportInputs, SampleRow
from spillover.report.leaderboard import leaderboard
from spillover.report.method import method_steps
from spillover.report.pooling import Estimate
from spillover.report.rows_script import answer_row, row_browser
from spillover.report.seed_spread import seed_note
from spillover.report.tables import Column, comparison_tables, rate_table, recovery_table

_FILTERS = (
    "concept_title",
    "count",
    "interval",
    "limit",
    "listing",
    "metric_name",
    "number",
    "p_value",
    "ranges",
    "signed",
    "unbroken",
    "words",
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number of the summary strip."""

    title: str
    value: str
    detail: str


def render_page(inputs: ReportInputs) -> str:
    """Return the report as one HTML page that needs no network and no other file.

    Its one script browses answers; without answers there is none.
    The same inputs give the same page, byte for byte, and it can always be encoded as UTF-8.

    Args:
        inputs: The study's numbers, samples and manifest.
    """
    found = chains(inputs)
    rates = rate_table(inputs)
    figures = all_figures(inputs)
    template = page_environment().get_template("page.html.j2")
    return template.render(
        inputs=inputs,
        findings=findings(inputs),
        chains=found,
        targets=inputs.target_concepts or ("",),
        tiles={chain.target: tiles(chain) for chain in found},
        steps=method_steps(inputs),
        board=leaderboard(inputs),
        rates=rates,
        column_groups=[(name, len(list(run))) for name, run in groupby(rates.columns, _group)],
        comparisons=comparison_tables(inputs),
        recoveries=recovery_table(inputs),
        choices=choices(inputs.containments),
        figures={name: Markup(svg) for name, svg in figures.items()},
        downloads=saved(figures, figure_tables(inputs)),
        samples=samples_by_concept(inputs),
        checkpoints=checkpoint_tables(inputs),
        manifest=tuple(flat_items(inputs.manifest)),
        paragraphs=tuple(p.strip() for p in inputs.description.split("\n\n") if p.strip()),
        labels=VERDICT_LABELS,
        changes=ROW_CHANGES,
        **row_browser([answer_row(row) for row in inputs.answers]),
    )


def page_environment() -> Environment:
    """Return the Jinja environment of all pages: escapes, shows control characters, is strict."""
    environment = Environment(
        loader=PackageLoader("spillover.report", ""),
        autoescape=True,
        finalize=_safe_to_read,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in _FILTERS:
        environment.filters[name] = getattr(text, name)
    environment.filters["with_code"] = with_code
    environment.filters["seed_note"] = seed_note
    return environment


def with_code(prose: str) -> Markup:
    """Return prose as markup in which `what stands in backticks` is code, and all is escaped.

    Example:
        >>> print(with_code("see `a < b`"))
        see <code>a &lt; b</code>
    """
    parts = text.visible(prose).split("`")
    if len(parts) % 2 == 0:  # A backtick without its pair is just that.
        return escape(text.visible(prose))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def _group(column: Column) -> str:
    return column.group


def _safe_to_read(value: object) -> object:
    """Make control and bidirectional characters visible in everything the template prints."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return text.visible(value)


def tiles(chain: Chain) -> tuple[Tile, ...]:
    """Return the few numbers that sum one target concept up."""
    before, after, mean = chain.target_aligned, chain.target_unlearned, chain.mean_erosion
    rate = text.rate_name(chain.judge, chain.target)
    flagged = sum(row.flagged for row in chain.erosion)
    found = [
        Tile(
            title=f"{text.words(chain.target)}, the target",
            value=f"{text.number(before.value)} \u2192 {text.number(after.value)}",
            detail=_detail(f"{rate} {text.interval(before.low, before.high)} \u2192", after),
        ),
        Tile(
            title="the others, mean change",
            value=text.signed(mean.value),
            detail=text.interval(mean.low, mean.high),
        ),
        Tile(
            title="concepts flagged",
            value=f"{flagged} of {len(chain.erosion)}",
            detail=f"eroded by more than {text.limit(chain.threshold)}",
        ),
    ]
    return (*found, *_containment_tiles(chain))


def _detail(name: str, rate: Estimate) -> str:
    """Return what a rate is, its interval and, where seeds differ, what each of them gave."""
    parts = (f"{name} {text.interval(rate.low, rate.high)}".rstrip(), seed_note(rate))
    return "; ".join(part for part in parts if part)


def _containment_tiles(chain: Chain) -> tuple[Tile, ...]:
    if chain.contained is None or chain.recovery is None:
        return ()
    recovery, rate = chain.recovery, chain.target_contained
    return (
        Tile(
            title="brought back by containment",
            value=text.number(recovery.value),
            detail=text.interval(recovery.ci_low, recovery.ci_high),
        ),
        Tile(
            title="target under containment",
            value=text.number(rate.value),
            detail=_detail(text.rate_name(chain.judge, chain.target), rate),
        ),
    )


def samples_by_concept(inputs: ReportInputs) -> dict[str, list[SampleRow]]:
    """Return the samples grouped by concept, the study's concepts first and in its order."""
    groups: dict[str, list[SampleRow]] = {concept: [] for concept in inputs.concepts}
    for row in inputs.samples:
        groups.setdefault(row.concept, []).append(row)
    return {concept: rows for concept, rows in groups.items() if rows}


def flat_items(value: Mapping[str, Any], *, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) for every leaf of a nested mapping.

    Example:
        >>> list(flat_items({"versions": {"torch": "2.13"}, "seeds": [0, 1]}))
        [('versions.torch', '2.13'), ('seeds', '[0, 1]')]
    """
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            yield from flat_items(item, prefix=f"{name}.")
        else:
            shown = item if isinstance(item, str) else json.dumps(item, default=str)
            yield name, shown
