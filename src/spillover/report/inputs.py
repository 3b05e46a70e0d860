"""What the report is made of, gathered in one record by whoever knows the run folder.

Knows no files and no study configuration; rows are the records of `spillover.records`.
"""

from dataclasses import dataclass, field
from typing import Any

from spillover.records import Comparison, Recovery, Score
from spillover.report.containments import ContainmentResult
from spillover.report.run_comparison import RunAnswer
from spillover.report.stress import StressResult


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One prompt with what each model said to it."""

    prompt_id: str
    concept: str
    prompt: str
    responses: dict[str, tuple[str, str]]
    "Model name -> (response, the judge's label). Text is shown as it is, escaped."


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything the report says, as plain records."""

    title: str
    study: str
    "The resolved study file, as YAML text."
    description: str
    "What the study does, in prose; blank lines part paragraphs."
    target_concepts: tuple[str, ...]
    concepts: tuple[str, ...]
    "All concepts, targets included, in the order to show them."
    models: tuple[str, ...]
    "In the order to show them: base, aligned, unlearned-<concept>, contained-<concept>."
    scores: tuple[Score, ...]
    "One row per model, metric, concept and seed."
    comparisons: tuple[Comparison, ...]
    "Rows of single seeds and, with several seeds, rows that sum over them (seed None)."
    recoveries: tuple[Recovery, ...]
    curves: dict[str, tuple[dict[str, Any], ...]]
    "Model -> rows of its metrics.jsonl, kinds `train` and `monitor`; a row may carry its `seed`."
    samples: tuple[SampleRow, ...]
    manifest: dict[str, Any]
    ema_threshold: float
    "Erosion beyond which a concept is flagged: the study's `evaluate.ema_threshold`."
    explanations: tuple[tuple[str, str], ...] = ()
    "Name of each explained model, and where its page is, seen from the report."
    containments: tuple[ContainmentResult, ...] = ()
    "Where a study has several, how they compare."
    stress: tuple[StressResult, ...] = ()
    "How models did in other conditions, where a study has such."
    contexts: dict[str, str] = field(default_factory=dict)
    "Condition -> the system prompt that makes it."
    answers: tuple[RunAnswer, ...] = ()
    "What changed models said, beside the aligned model's answer to the same prompt."
    notes: tuple[str, ...] = ()
    "Warnings that a reader must see."
