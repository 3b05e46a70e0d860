"""A study over a grid of settings: many runs, one table."""

from spillover.study.sweep.run import plan_sweep, run_sweep

__all__ = [
    "plan_sweep",
    "run_sweep",
]
