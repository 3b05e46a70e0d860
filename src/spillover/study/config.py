"""A study file: one YAML that holds everything, read once, checked, and flattened below this room.

Unknown keys are errors. `--set a.b=value` replaces one key; values are read as YAML.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from spillover.errors import ConfigError
from spillover.study.sections import (
    AlignSection,
    CollectSection,
    ContainSection,
    EvaluateSection,
    ModelSection,
    MonitorSection,
    PromptsSection,
    Section,
    UnlearnSection,
)

LIBRARY = Path(__file__).parent / "library"
"The studies that come with the package."


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


def study_name(path: Path) -> str | None:
    """Return the name in a resolved study; None where the file is not one."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return found.get("name") if isinstance(found, dict) else None


def load_study(
    study: str | Path, *, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> StudyConfig:
    """Read and check a study.

    Args:
        study: A YAML file, or the name of a study that comes with the package.
        overrides: `key=value` with dots for nesting.
        seeds: Replaces the study's seeds.

    Raises:
        ConfigError: If the YAML, a key or a value is wrong; it names file and key.
    """
    path = find_study(str(study))
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
            message = f"unknown key; keys here are {', '.join(_known_keys(found['loc']))}"
        problems.append(f"{key}: {message}")
    return "; ".join(problems)


def _known_keys(place: Sequence[int | str]) -> list[str]:
    """Return the keys of the section in which the last key of `place` stands."""
    section: type[BaseModel] = StudyConfig
    for part in place[:-1]:
        annotation = section.model_fields[str(part)].annotation
        choices = (annotation, *get_args(annotation))  # A section, or one or None.
        section = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return list(section.model_fields)
