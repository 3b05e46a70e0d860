"""What Inspect finds of ours: the entry point `spillover` of the group `inspect_ai` names this.

Importing it registers tasks, scorers, metrics, solvers and the model provider.
"""

from spillover.integrations.inspect_choices import choose_by_logprob
from spillover.integrations.inspect_metrics import (
    invalid_count,
    mean_grade,
    misalignment_rates,
    refusal_rate,
)
from spillover.integrations.inspect_provider import SpilloverAPI, local_model, spillover
from spillover.integrations.inspect_scorers import (
    grade,
    invalid_verdicts,
    misalignment_grades,
    verdict,
)
from spillover.integrations.inspect_tasks import (
    capability,
    misalignment,
    over_refusal,
    refusals,
    seeded_generate,
)

__all__ = [
    "SpilloverAPI",
    "capability",
    "choose_by_logprob",
    "grade",
    "invalid_count",
    "invalid_verdicts",
    "local_model",
    "mean_grade",
    "misalignment",
    "misalignment_grades",
    "misalignment_rates",
    "over_refusal",
    "refusal_rate",
    "refusals",
    "seeded_generate",
    "spillover",
    "verdict",
]
