"""Turns an audit's findings and its completions into one self-contained HTML page.

What models wrote comes as a JSON block in which no tag can begin, and the page's one script, named
by its hash in the content security policy, puts it on the page as text. Nothing else can run.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from spillover.report.audit_figures import audit_figures
from spillover.report.audit_findings import ROW_CHANGES, AuditFindings, AuditRow
from spillover.report.audit_words import answer
from spillover.report.page import flat_items, page_environment
from spillover.report.text import visible

LONGEST = 20_000
"Characters of one text that are shown; the whole is in the completions' files."


def render_audit(findings: AuditFindings, rows: Sequence[AuditRow]) -> str:
    """Return the page; the same inputs give the same page, byte for byte.

    Args:
        findings: What the audit says.
        rows: Both models' answers, side by side.
    """
    script = resources.files("spillover.report").joinpath("audit.js").read_text(encoding="utf-8")
    template = page_environment().get_template("audit.html.j2")
    figures = {name: Markup(svg) for name, svg in audit_figures(findings).items()}
    return template.render(
        findings=findings,
        answer=answer(findings),
        figures=figures,
        changes=ROW_CHANGES,
        n_rows=len(rows),
        rows=rows_block(rows),
        moved=moved_layers(findings),
        settings=tuple(flat_items(findings.settings)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def rows_block(rows: Sequence[AuditRow]) -> Markup:
    """Return the completions as JSON that can stand inside a script element."""
    shown = [
        [
            _shown(row.id),
            _shown(row.concept),
            row.change,
            _shown(row.prompt),
            row.aligned_label,
            _shown(row.aligned),
            row.tuned_label,
            _shown(row.tuned),
        ]
        for row in rows
    ]
    text = json.dumps(shown, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _shown(text: str) -> str:
    cut = len(text) - LONGEST
    more = f" [{cut} more characters]" if cut > 0 else ""
    return visible(text[:LONGEST]) + more


def moved_layers(findings: AuditFindings) -> tuple[int, ...]:
    """Return the layers where harmful prompts' states moved beyond the null and beyond benign's."""
    return tuple(
        row.layer for row in findings.layers if row.harmful_low > row.null and row.contrast_low > 0
    )
