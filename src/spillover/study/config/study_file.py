"""A study file: one YAML that holds everything, read once, checked, and flattened below this room.

Unknown keys are errors. `--set a.b=value` replaces one key; values are read as YAML. A file may
hold other sizes of the same study under `scales`, each a mapping of the keys that differ.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spillover.errors import ConfigError, DataError
from spillover.files import parse_yaml, read_yaml
from spillover.study.config.error_messages import explain
from spillover.study.config.study_config import StudyConfig as StudyConfig

LIBRARY = Path(__file__).parents[1] / "library"
"The studies that come with the package."


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
        found = read_yaml(path)
    except DataError:
        return None
    return found.get("name") if isinstance(found, dict) else None


def load_study(
    study: str | Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    scale: str | None = None,
) -> StudyConfig:
    """Read and check a study.

    Args:
        study: A YAML file, or the name of a study that comes with the package.
        overrides: `key=value` with dots for nesting; they win over `scale`.
        seeds: Replaces the study's seeds.
        scale: A key of the file's `scales`; it becomes part of the study's name. None is the study
            as it stands.

    Raises:
        ConfigError: If the YAML, a key or a value is wrong; it names file and key.
    """
    path = find_study(str(study))
    try:
        content = read_yaml(path)
    except DataError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study is a mapping of keys to values")
    content = _at_scale(content, scale, path=path)
    for override in overrides:
        _apply_override(content, override)
    if seeds is not None:
        content["seeds"] = list(seeds)
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        given = f" with --set {' --set '.join(overrides)}" if overrides else ""
        raise ConfigError(f"{path}{given}: {explain(error, StudyConfig)}") from error


def study_scales(path: Path) -> list[str]:
    """Return the names of a study file's other sizes."""
    found = read_yaml(path)
    return sorted(found.get("scales") or {}) if isinstance(found, dict) else []


def _at_scale(content: dict[str, Any], scale: str | None, *, path: Path) -> dict[str, Any]:
    scales: Any = content.pop("scales", None) or {}
    if not isinstance(scales, dict) or not all(isinstance(v, dict) for v in scales.values()):
        raise ConfigError(f"{path}: scales: give a mapping of names to the keys that differ")
    if scale is None:
        return content
    if scale not in scales:
        raise ConfigError(
            f"{path}: has no scale {scale!r}; there is {', '.join(scales) or 'none'}, and the "
            "study as it stands without one"
        )
    changed: dict[str, Any] = scales[scale]
    return {**_merged(content, changed), "name": f"{content.get('name')}_{scale}"}


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put `changes` over `content`, section by section; null takes a value away."""
    merged = dict(content)
    for key, value in changes.items():
        old = merged.get(key)
        is_section = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = {**_merged(old or {}, value)} if is_section else value
    return merged


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
        content[last] = parse_yaml(text, where=repr(text))
    except DataError as error:
        raise ConfigError(f"--set {override!r}: {text!r} is not a YAML value") from error
