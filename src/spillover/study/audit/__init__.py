"""Audits: any fine-tune against the model that it was made from, up to a gate.

The names below are what a script needs. Each is imported when it is first asked for: reading a
finished audit takes no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    """Import a name the first time it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
