"""The order of things: which stages a study has, and running them."""

from spillover.study.runner.run import run_study, study_state

__all__ = [
    "run_study",
    "study_state",
]
