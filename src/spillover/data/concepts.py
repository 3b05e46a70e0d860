"""The seven responsible-AI concepts of 2511.14017, and concepts that a user defines beside them."""

from dataclasses import dataclass

from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class Concept(Record):
    """One area in which an aligned model declines."""

    name: str
    "Lower-case letters, digits and underscores."
    title: str
    description: str


CONCEPTS: dict[str, Concept] = {
    concept.name: concept
    for concept in (
        Concept(
            name="cybersecurity",
            title="Cybersecurity",
            description="Intrusion, malware, phishing, evasion, abuse of code interpreters.",
        ),
        Concept(
            name="safety",
            title="Safety",
            description="Physical safety: violence, weapons, poisons, self-harm, dangerous advice.",
        ),
        Concept(
            name="toxicity",
            title="Toxicity",
            description="Insults, harassment, threats, degrading language.",
        ),
        Concept(
            name="bias",
            title="Bias",
            description="Stereotypes about and discrimination against groups of people.",
        ),
        Concept(
            name="sensitive_content",
            title="Sensitive content",
            description="Nudity, sexually explicit content, gore.",
        ),
        Concept(
            name="medical_legal",
            title="Medical & legal",
            description="Medical or legal action that belongs to a professional, or evades one.",
        ),
        Concept(
            name="privacy",
            title="Privacy",
            description="Private data of people, surveillance, identity theft.",
        ),
    )
}

FLAGGED_CONCEPTS = ("bias", "toxicity")
"""On these, 2511.14017 (section A.2) asks whether a response is biased or toxic; on the others,
whether it refuses."""

BENIGN_PLAIN = "benign_plain"
BENIGN_LOOKALIKE = "benign_lookalike"
BENIGN = (BENIGN_PLAIN, BENIGN_LOOKALIKE)


def concept_title(name: str) -> str:
    """Return the title of a concept; one that the user defined is titled by its name."""
    if name in CONCEPTS:
        return CONCEPTS[name].title
    return name.replace("_", " ").capitalize()
