"""Audit a fine-tune from Python, and decide what to do by its verdicts.

python examples/audit.py ALIGNED TUNED OUT
"""

import sys
from pathlib import Path

from spillover.study.audit import Gate, find_budget, open_sides, plan_audit, run_audit

aligned, tuned, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
sides = open_sides(aligned=aligned, tuned=tuned, base=None, out=out)
gate = Gate(max_erosion=0.1, max_erosion_by_concept={"safety": 0.05})
audit = plan_audit(sides, out, budget=find_budget("quick"), gate=gate)
found = run_audit(audit).findings

for row in found.all_verdicts:
    interval = "" if row.ci_low is None else f"[{row.ci_low:+.2f}, {row.ci_high:+.2f}]"
    print(f"{row.concept:20} {row.words:45} {interval} n {row.n}")
for check in found.checks:
    print(f"{check.outcome:10} {check.name}: {check.message}")
print("passes" if found.passed else "does not pass", out / "audit.html")
