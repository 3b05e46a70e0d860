"""Turns an audit's findings and its completions into one self-contained HTML page.

What models wrote comes as a JSON block in which no tag can begin, and the page's one script, named
by its hash in the content security policy, puts it on the page as text. Nothing else can run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from spillover.report.audit_figures import audit_figures
from spillover.report.audit_findings import ROW_CHANGES, AuditFindings, AuditRow
from spillover.report.audit_words import answer
from spillover.report.downloads import saved
from spillover.report.page import flat_items, page_environment
from spillover.report.rows_script import row_browser


def render_audit(findings: AuditFindings, rows: Sequence[AuditRow]) -> str:
    """Return the page; the same inputs give the same page, byte for byte.

    Args:
        findings: What the audit says.
        rows: Both models' answers, side by side.
    """
    template = page_environment().get_template("audit.html.j2")
    figures = audit_figures(findings)
    return template.render(
        findings=findings,
        answer=answer(findings),
        figures={name: Markup(svg) for name, svg in figures.items()},
        downloads=saved(figures, audit_tables(findings)),
        changes=ROW_CHANGES,
        **row_browser(
            [
                (
                    row.id,
                    row.concept,
                    row.change,
                    row.prompt,
                    row.aligned_label,
                    row.aligned,
                    row.tuned_label,
                    row.tuned,
                )
                for row in rows
            ]
        ),
        moved=moved_layers(findings),
        settings=tuple(flat_items(findings.settings)),
    )


def audit_tables(findings: AuditFindings) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return the rows behind each picture, by the names of `audit_figures`."""
    layers = [row.to_dict() for row in findings.layers]
    changes = [row.to_dict() for row in findings.all_verdicts]
    return {"changes": changes, "layers": layers, "erosion": layers}


def moved_layers(findings: AuditFindings) -> tuple[int, ...]:
    """Return the layers where harmful prompts' states moved beyond the null and beyond benign's."""
    return tuple(
        row.layer for row in findings.layers if row.harmful_low > row.null and row.contrast_low > 0
    )
