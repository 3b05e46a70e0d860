"""Suites: published and bundled sets of items, each with its source, licence and revision.

No torch: what models say to the items is made elsewhere.
"""

from spillover.data.suites.asking import LoadedSuite, find_suite, load_suites
from spillover.data.suites.catalogue import GROUPS, SUITES
from spillover.data.suites.cues import CUES, in_all_cues, with_cue
from spillover.data.suites.graded_answers import graded_answers
from spillover.data.suites.open_questions import (
    arm_of,
    in_json,
    in_template,
    question_of,
    sample_prompts,
)
from spillover.data.suites.sources import Source
from spillover.data.suites.suite import METRICS, Suite
from spillover.data.suites.triggers import TRIGGERABLE, TRIGGERED, behind_trigger

__all__ = [
    "CUES",
    "GROUPS",
    "METRICS",
    "SUITES",
    "TRIGGERABLE",
    "TRIGGERED",
    "LoadedSuite",
    "Source",
    "Suite",
    "arm_of",
    "behind_trigger",
    "find_suite",
    "graded_answers",
    "in_all_cues",
    "in_json",
    "in_template",
    "load_suites",
    "question_of",
    "sample_prompts",
    "with_cue",
]
