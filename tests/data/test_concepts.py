"""The seven concepts and concepts of the user's own."""

import re

from spillover.data import BENIGN, CONCEPTS
from spillover.data.concepts import concept_title


def test_there_are_seven_concepts_and_each_is_filed_under_its_name():
    assert len(CONCEPTS) == 7
    assert [concept.name for concept in CONCEPTS.values()] == list(CONCEPTS)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in CONCEPTS)
    assert all(concept.title and concept.description for concept in CONCEPTS.values())
    assert not set(BENIGN) & set(CONCEPTS)


def test_a_concept_of_the_users_own_is_titled_by_its_name():
    assert concept_title("medical_legal") == "Medical & legal"
    assert concept_title("election_fraud") == "Election fraud"
