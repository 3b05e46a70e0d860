"""The run folder: where everything lies, how it gets there and back, who may work in it."""

from spillover.study.artifacts.run_folder import (
    RunFolder,
    load_answer_file,
    load_comparisons,
    load_completion_file,
    load_example_file,
    load_metrics,
    load_prompt_file,
    load_recoveries,
    load_scores,
    load_verdict_file,
    save_records,
    save_scores,
)

__all__ = [
    "RunFolder",
    "load_answer_file",
    "load_comparisons",
    "load_completion_file",
    "load_example_file",
    "load_metrics",
    "load_prompt_file",
    "load_recoveries",
    "load_scores",
    "load_verdict_file",
    "save_records",
    "save_scores",
]
