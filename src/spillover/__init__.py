"""Measure, explain and contain what a narrow change to a language model breaks elsewhere.

The names below are the public ones. Each is imported when it is first asked for, so that
`import spillover` loads neither torch nor transformers.
"""

from typing import TYPE_CHECKING

from spillover.lazy import lazy_names

if TYPE_CHECKING:
    from spillover.data import bundled_prompts, load_prompts
    from spillover.errors import SpilloverError
    from spillover.evaluation import (
        compare_refusals,
        over_refusal_scores,
        recovery,
        refusal_scores,
    )
    from spillover.evaluation.frames import to_frame
    from spillover.generation import EndpointGenerator, GenerationSettings, generate_cached
    from spillover.generation.hf import HFGenerator
    from spillover.judges import PhrasesJudge, make_judge
    from spillover.models import LoadedModel, load_model
    from spillover.records import (
        Comparison,
        Completion,
        Example,
        Prompt,
        Recovery,
        Score,
        Verdict,
    )
    from spillover.report.plotting import plot
    from spillover.study.config import load_study
    from spillover.study.runner import run_study
    from spillover.training.guard import AlignmentGuard

__version__ = "0.1.0"

__all__ = [
    "AlignmentGuard",
    "Comparison",
    "Completion",
    "EndpointGenerator",
    "Example",
    "GenerationSettings",
    "HFGenerator",
    "LoadedModel",
    "PhrasesJudge",
    "Prompt",
    "Recovery",
    "Score",
    "SpilloverError",
    "Verdict",
    "bundled_prompts",
    "compare_refusals",
    "generate_cached",
    "load_model",
    "load_prompts",
    "load_study",
    "make_judge",
    "over_refusal_scores",
    "plot",
    "recovery",
    "refusal_scores",
    "run_study",
    "to_frame",
]

_MODULES = {
    "AlignmentGuard": "spillover.training.guard",
    "Comparison": "spillover.records",
    "Completion": "spillover.records",
    "EndpointGenerator": "spillover.generation",
    "Example": "spillover.records",
    "GenerationSettings": "spillover.generation",
    "HFGenerator": "spillover.generation.hf",
    "LoadedModel": "spillover.models",
    "PhrasesJudge": "spillover.judges",
    "Prompt": "spillover.records",
    "Recovery": "spillover.records",
    "Score": "spillover.records",
    "SpilloverError": "spillover.errors",
    "Verdict": "spillover.records",
    "bundled_prompts": "spillover.data",
    "compare_refusals": "spillover.evaluation",
    "generate_cached": "spillover.generation",
    "load_model": "spillover.models",
    "load_prompts": "spillover.data",
    "load_study": "spillover.study.config",
    "make_judge": "spillover.judges",
    "over_refusal_scores": "spillover.evaluation",
    "plot": "spillover.report.plotting",
    "recovery": "spillover.evaluation",
    "refusal_scores": "spillover.evaluation",
    "run_study": "spillover.study.runner",
    "to_frame": "spillover.evaluation.frames",
}
"Where each public name is defined."

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
