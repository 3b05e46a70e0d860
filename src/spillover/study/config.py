"""A study file: one YAML that holds everything, read once, checked, and flattened below this room.

Unknown keys are errors. `--set a.b=value` replaces one key; values are read as YAML.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.errors import ConfigError

LIBRARY = Path(__file__).parent / "library"
"The studies that come with the package."


class Section(BaseModel):
    """Base of all sections: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(Section):
    """The model to start from."""

    source: str = "embedded"
    "`embedded`, a hub id, a folder, an adapter folder or a GGUF file."
    adapter: str | None = None
    dtype: str = "bfloat16"
    device: str = "auto"
    revision: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    template_options: dict[str, Any] = Field(default_factory=dict)
    trust_remote_code: bool = False


class PromptsSection(Section):
    """Concepts and where their prompts come from."""

    concepts: tuple[str, ...] = tuple(CONCEPTS)
    train: str | None = None
    "JSONL of harmful prompts for training; its concepts replace the bundled ones."
    test: str | None = None
    benign_train: str | None = None
    "JSONL whose concepts are `benign_plain` or `benign_lookalike`."
    benign_test: str | None = None
    limit: int | None = Field(default=None, ge=1)
    "Prompts of each concept and split at most; None for all."

    @field_validator("concepts")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.replace("_", "").isalnum() or name != name.lower() or name in BENIGN:
                raise ValueError(
                    f"{name!r} is no concept name; use lower-case letters, digits and underscores"
                )
        if len(set(names)) != len(names) or not names:
            raise ValueError("give at least one concept, each once")
        return names


class AdapterSection(Section):
    """A LoRA adapter."""

    rank: int = Field(default=16, ge=1)
    alpha: int | None = None
    "Default: the rank."
    target_modules: tuple[str, ...] | None = None
    "Default: all linear modules of a layer."
    layers: tuple[int, ...] | None = None
    "Layer indices from 0; default all."
    first_layer: int = Field(default=0, ge=0)
    "Adapt this layer and those above it; layers below need no backward pass."
    rank_stabilised: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_layers(self) -> "AdapterSection":
        if self.layers is not None and self.first_layer:
            raise ValueError("give `layers` or `first_layer`, not both")
        return self


class TrainingSection(Section):
    """Optimisation, shared by all training stages."""

    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    scheduler: str = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    accumulation: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=10, ge=1)
    adapter: AdapterSection | None = Field(default_factory=AdapterSection)
    "`null` trains all weights."


class AlignSection(TrainingSection):
    """Safety training, for models that have had none."""

    refusals_per_step: int = Field(default=8, ge=1)
    benign_per_step: int = Field(default=8, ge=1)
    lookalike_share: float = Field(default=0.5, ge=0, le=1)
    "Share of benign examples that look alike to harmful ones."
    benign_tokens: int = Field(default=32, ge=1)
    "Tokens of the model's own answers to benign prompts."


class UnlearnSection(TrainingSection):
    """Unlearning the target's refusals."""

    objective: str = "npo"
    beta: float = Field(default=0.1, gt=0)
    forget_per_step: int = Field(default=8, ge=1)


class ContainSection(UnlearnSection):
    """Unlearning with a retain set, from the aligned model."""

    objective: str = "anpo"
    forget_weight: float = Field(default=1.0, ge=0)
    "w1"
    retain_weight: float = Field(default=1.0, ge=0)
    "w2"
    retain_per_forget: int = Field(default=2, ge=1)
    "Retain examples for each forget example."
    benign_share: float = Field(default=0.25, ge=0, le=1)
    "Share of benign examples in the retain set; the rest is equal over the other concepts."
    lookalike_share: float = Field(default=0.5, ge=0, le=1)


class CollectSection(Section):
    """Collecting the aligned model's own refusals and benign answers."""

    max_new_tokens: int = Field(default=32, ge=1)
    min_forget: int = Field(default=16, ge=1)
    "Fewer refusals of the target than this stop the study."


class EvaluateSection(Section):
    """How every model is measured."""

    max_new_tokens: int = Field(default=24, ge=1)
    batch_size: int = Field(default=64, ge=1)
    judge: str = "phrases"
    deflection_is_refusal: bool = True
    capability: str | None = "bundled"
    "`bundled`, a JSONL of multiple-choice questions, or null."
    ema_threshold: float = Field(default=0.15, gt=0, lt=1)


class MonitorSection(Section):
    """What is watched along training."""

    every: int = Field(default=10, ge=1)
    prompts_per_concept: int = Field(default=8, ge=2)


class StudyConfig(Section):
    """A whole study."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seeds: tuple[int, ...] = (0,)
    model: ModelSection = Field(default_factory=ModelSection)
    prompts: PromptsSection = Field(default_factory=PromptsSection)
    align: AlignSection | None = None
    "null where `model` is aligned already."
    collect: CollectSection = Field(default_factory=CollectSection)
    targets: tuple[str, ...]
    "Concepts to unlearn, one intervention each."
    unlearn: UnlearnSection
    contain: ContainSection | None = None
    monitor: MonitorSection | None = Field(default_factory=MonitorSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)

    @model_validator(mode="after")
    def _check_targets(self) -> "StudyConfig":
        unknown = [t for t in self.targets if t not in self.prompts.concepts]
        if unknown or not self.targets:
            raise ValueError(
                f"targets {unknown or '[]'}: choose among prompts.concepts "
                f"({', '.join(self.prompts.concepts)})"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds: give at least one, each once, none negative")
        return self

    def to_yaml(self) -> str:
        """Return the resolved study, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def find_study(name: str) -> Path:
    """Return the file of a study: a path, or the name of one that comes with the package.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"{path}: no such study file")
        return path
    bundled = LIBRARY / f"{name}.yaml"
    if not bundled.is_file():
        raise ConfigError(
            f"study {name!r} does not exist; bundled studies are "
            f"{', '.join(bundled_studies())}; give a .yaml file for your own"
        )
    return bundled


def bundled_studies() -> list[str]:
    """Return the names of the studies that come with the package."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def load_study(
    path: Path, *, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> StudyConfig:
    """Read and check a study file.

    Args:
        path: The YAML file.
        overrides: `key=value` with dots for nesting.
        seeds: Replaces the study's seeds.

    Raises:
        ConfigError: If the YAML, a key or a value is wrong; it names file and key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study is a mapping of keys to values")
    for override in overrides:
        _apply_override(content, override)
    if seeds is not None:
        content["seeds"] = list(seeds)
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override!r}: write key=value, such as unlearn.steps=40")
    *parents, last = key.split(".")
    for parent in parents:
        found = content.setdefault(parent, {})
        if not isinstance(found, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is not a section")
        content = found
    try:
        content[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: {text!r} is not a YAML value") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for found in error.errors():
        key = ".".join(str(part) for part in found["loc"]) or "study"
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = "unknown key; see `spillover list` and the studies that come with the package"
        problems.append(f"{key}: {message}")
    return "; ".join(problems)
