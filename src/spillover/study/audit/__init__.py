"""Audits: any fine-tune against the model that it was made from, up to a gate.

The names below are what a script needs. Each is imported when it is first asked for: reading a
finished audit takes no torch.
"""

from typing import TYPE_CHECKING

from spillover.lazy import lazy_names

if TYPE_CHECKING:
    from spillover.study.audit.budget import find_budget
    from spillover.study.audit.gate import Gate, load_gate
    from spillover.study.audit.models import open_sides, parse_template
    from spillover.study.audit.run import Audit, Audited, describe_plan, plan_audit, run_audit

__all__ = [
    "Audit",
    "Audited",
    "Gate",
    "describe_plan",
    "find_budget",
    "load_gate",
    "open_sides",
    "parse_template",
    "plan_audit",
    "run_audit",
]

_MODULES = {
    "Audit": "spillover.study.audit.run",
    "Audited": "spillover.study.audit.run",
    "Gate": "spillover.study.audit.gate",
    "describe_plan": "spillover.study.audit.run",
    "find_budget": "spillover.study.audit.budget",
    "load_gate": "spillover.study.audit.gate",
    "open_sides": "spillover.study.audit.models",
    "parse_template": "spillover.study.audit.models",
    "plan_audit": "spillover.study.audit.run",
    "run_audit": "spillover.study.audit.run",
}
"Where each name is defined."

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
