"""The `analyses` section of a study file: which explanations are made of its interventions."""

from typing import Literal

from pydantic import Field, field_validator

from spillover.study.config.section import Section

AnalysisName = Literal[
    "likelihoods",
    "next_tokens",
    "resemblance",
    "loss_geometry",
    "gradient_geometry",
    "erosion",
    "shared_directions",
    "misalignment_and_refusal",
    "concept_vectors",
    "entanglement",
    "prediction",
    "patching",
    "shared_components",
]


class AnalysesSection(Section):
    """What is looked for inside base, aligned and every intervention's model."""

    names: tuple[AnalysisName, ...] | None = Field(default=None, min_length=1)
    "Which analyses; null for all that can be done with what there is."
    data: tuple[str, ...] = ()
    "JSONL of responses; without any, what the aligned model itself said, or else bundled code."
    controls: tuple[str, ...] = ()
    "JSONL of benign responses."
    limit: int = Field(default=16, ge=4)
    "Responses of each set, and prompts of each concept, at most."
    max_tokens: int = Field(default=64, ge=8)
    "Response tokens that are read."
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    "Layers to look into, from 0; null spreads them."
    modules: tuple[str, ...] | None = Field(default=None, min_length=1)
    "Linear modules for gradients; null for the attention's output projection in the last layer."
    definition: Literal["tokens", "flattened"] = "tokens"
    "Of the alignment direction: each response token is a sample, or all of them are one vector."
    batch_size: int = Field(default=8, ge=1)
    all_seeds: bool = False
    "Whether to explain the models of every seed, rather than of the first."

    @field_validator("names")
    @classmethod
    def _check_names(cls, names: tuple[AnalysisName, ...] | None) -> object:
        if names is not None and len(set(names)) != len(names):
            raise ValueError("give each analysis once")
        return names
