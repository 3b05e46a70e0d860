"""Run a study from Python and look at its numbers; stop it whenever you like.

python examples/study.py quickstart runs/quickstart unlearn.steps=20
"""

import sys
from pathlib import Path

from spillover import load_study, run_study, to_frame
from spillover.study.artifacts import RunFolder, load_comparisons, load_recoveries

name, out, overrides = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
page = run_study(load_study(name, overrides=overrides), out)

changes = to_frame(load_comparisons(RunFolder(out).comparisons))
refusals = changes[(changes.metric == "refusal_rate") & (changes.before == "aligned")]
print(refusals.pivot(index="concept", columns="after", values="delta").round(2))

for row in refusals[refusals.flagged].itertuples():
    print(f"eroded: {row.concept} {row.delta:+.2f} [{row.ci_low:+.2f}, {row.ci_high:+.2f}]")
for row in load_recoveries(RunFolder(out).recoveries):
    share = "nothing eroded" if row.value is None else f"{row.value:.0%} brought back"
    print(f"{row.contained}: {share} over {row.n_concepts} concepts")
print(page)
