"""Concepts, prompts and questions. No torch: what models say to them is made elsewhere."""

from spillover.data.concepts import BENIGN, BENIGN_LOOKALIKE, BENIGN_PLAIN, CONCEPTS, Concept
from spillover.data.near_duplicates import NearDuplicate, near_duplicates
from spillover.data.prompt_sets import bundled_prompts, load_examples, load_prompts
from spillover.data.questions import bundled_questions, load_questions
from spillover.data.refusals import refusal_examples

__all__ = [
    "BENIGN",
    "BENIGN_LOOKALIKE",
    "BENIGN_PLAIN",
    "CONCEPTS",
    "Concept",
    "NearDuplicate",
    "bundled_prompts",
    "bundled_questions",
    "load_examples",
    "load_prompts",
    "load_questions",
    "near_duplicates",
    "refusal_examples",
]
