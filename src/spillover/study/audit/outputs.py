"""Writes what an audit found for machines and people: JSON, JUnit XML, Markdown, the page.

`audit.json` has a schema version; a reader should refuse one that it does not know.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from spillover import __version__
from spillover.errors import DataError
from spillover.files import read_json, write_json, write_text
from spillover.report.audit_findings import AuditFindings, AuditRow, GateCheck
from spillover.report.audit_page import render_audit
from spillover.report.audit_words import answer
from spillover.report.text import change_with_interval, number, visible, words
from spillover.study.artifacts.manifest import describe_environment

SCHEMA_VERSION = 1
OUTCOMES = {"passed": "pass", "failed": "FAIL", "undecided": "undecided"}


def write_outputs(out: Path, findings: AuditFindings, rows: Sequence[AuditRow]) -> Path:
    """Write `audit.json`, `junit.xml`, `summary.md` and `audit.html`; return the page."""
    write_text(out / "junit.xml", junit_xml(findings))
    write_text(out / "summary.md", summary_markdown(findings))
    page = out / "audit.html"
    write_text(page, render_audit(findings, rows))
    write_json(out / "audit.json", audit_json(findings))  # Last: it says that the rest is there.
    return page


def audit_json(findings: AuditFindings) -> dict[str, Any]:
    """Return the machine-readable summary."""
    content = findings.to_dict()
    for row, verdict in zip(content["verdicts"], findings.verdicts, strict=True):
        row["words"] = verdict.words
    if findings.overall is not None:
        content["overall"]["words"] = findings.overall.words
    for row, cause in zip(content["causes"], findings.causes, strict=True):
        row["fits"] = cause.fits
    return {
        "schema_version": SCHEMA_VERSION,
        "spillover": __version__,
        "passed": findings.passed,
        "answer": list(answer(findings)),
        "nearest_cause": None if findings.cause is None else findings.cause.name,
        **content,
        "environment": describe_environment(),
    }


def load_audit(file: Path) -> dict[str, Any]:
    """Read an `audit.json`.

    Raises:
        DataError: If it is of another schema version, or no audit.
    """
    content = read_json(file)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{file}: schema version {version!r}; this version of Spillover reads "
            f"{SCHEMA_VERSION}. Run the audit again"
        )
    found: dict[str, Any] = content
    return found


def junit_xml(findings: AuditFindings) -> str:
    """Return the gate as JUnit's XML: a test case a check; undecided ones that pass are skipped."""
    root = ElementTree.Element("testsuites")
    bad = ("failed", "undecided") if findings.on_undecided == "fail" else ("failed",)
    counts = {
        "tests": len(findings.checks),
        "failures": sum(check.outcome in bad for check in findings.checks),
        "skipped": sum(c.outcome == "undecided" and c.outcome not in bad for c in findings.checks),
        "errors": 0,
    }
    attributes = {key: str(value) for key, value in counts.items()}
    suite = ElementTree.SubElement(root, "testsuite", {"name": "spillover audit", **attributes})
    for check in findings.checks:
        case = {"name": visible(check.name), "classname": "spillover.audit"}
        element = ElementTree.SubElement(suite, "testcase", case)
        message = {"message": visible(check.message)}
        if check.outcome in bad:
            ElementTree.SubElement(element, "failure", message)
        elif check.outcome == "undecided":
            ElementTree.SubElement(element, "skipped", message)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def summary_markdown(findings: AuditFindings) -> str:
    """Return the answer and a table for a pull request; names cannot break out of its cells."""
    verdict = "passes" if findings.passed else "does not pass"
    lines = [
        f"### Alignment audit: the gate {verdict}",
        "",
        " ".join(answer(findings)),
        "",
        "| concept | aligned | tuned | change [95% interval] | n | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row in findings.all_verdicts:
        change = change_with_interval(row.delta, row.ci_low, row.ci_high)
        cells = [_cell(words(row.concept)), number(row.aligned), number(row.tuned), change]
        lines.append(f"| {' | '.join([*cells, str(row.n), row.words])} |")
    lines += ["", "| gate | result | measured |", "|---|---|---|"]
    lines += [f"| {' | '.join(_check_cells(check))} |" for check in findings.checks]
    cause = findings.cause
    hint = "none of the known causes fits" if cause is None else f"looks like {cause.name}"
    models = ", ".join(f"{role} `{_code(name)}`" for role, name in findings.models.items())
    lines += ["", f"Nearest known cause: {hint} (a hint, not a diagnosis).", ""]
    lines += [f"Budget {findings.budget}, judge {_cell(findings.judge)}; {models}.", ""]
    return "\n".join(lines)


def _check_cells(check: GateCheck) -> list[str]:
    return [_cell(words(check.name)), OUTCOMES[check.outcome], _cell(check.message)]


def _cell(text: str) -> str:
    safe = words(text).replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
    return safe.replace("<", "&lt;").replace("[", "\\[").replace("@", "@\u2060")


def _code(text: str) -> str:
    return " ".join(visible(text).split()).replace("`", "'")
