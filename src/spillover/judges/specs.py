"""Turns what a study file or `--judge` says into the kind of a judge and its settings.

    phrases                                          a kind that needs no settings
    llm:refusal@http://localhost:8000/v1#my-model    kind, colon, and what the kind reads
    {kind: llm, rubric: refusal, model: embedded}    the same as a mapping, with every option
    judge.yaml                                       a file that holds such a mapping

Knows the form only; what a kind's settings mean is that kind's own business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, read_yaml

_YAML = (".yaml", ".yml")
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    """Which kind of judge is wanted, and with what."""

    kind: str
    subject: str = ""
    "What stands after the colon; empty for a mapping."
    options: Mapping[str, Any] = field(default_factory=dict)
    "The other keys of a mapping; empty for a line of text."


def parse_spec(spec: str | Mapping[str, Any]) -> JudgeSpec:
    """Read a judge's specification.

    Args:
        spec: A line of text, the path of a YAML file, or a mapping with the key `kind`.

    Raises:
        ConfigError: If the file is missing or no mapping, or if there is no kind.

    Example:
        >>> parse_spec("llm:refusal@embedded")
        JudgeSpec(kind='llm', subject='refusal@embedded', options={})
        >>> parse_spec({"kind": "llm", "rubric": "harm"}).options
        {'rubric': 'harm'}
    """
    if isinstance(spec, Mapping):
        return _from_mapping(spec, where=f"judge {dict(spec)!r}")
    kind, _, subject = spec.partition(":")
    if spec.endswith(_YAML) and not re.fullmatch(r"[a-z_]{2,}", kind):
        return _from_mapping(_read_yaml(Path(spec)), where=spec)
    if ":" in spec and not subject:
        raise ConfigError(f"judge {spec!r}: nothing stands after the colon; give {kind}:SETTINGS")
    return JudgeSpec(kind=kind, subject=subject)


def _from_mapping(mapping: Mapping[str, Any], *, where: str) -> JudgeSpec:
    kind = mapping.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: has no `kind`; add one, such as `kind: llm`")
    return JudgeSpec(kind=kind, options={k: v for k, v in mapping.items() if k != "kind"})


def _read_yaml(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such judge file")
    try:
        content = read_yaml(path)
    except DataError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: must hold a mapping with the key `kind`")
    return content


def spec_file_name(spec: str | Mapping[str, Any]) -> str:
    """Return a name for files of this judge: readable, safe on disk, different for each spec.

    Example:
        >>> spec_file_name("phrases")
        'phrases'
        >>> spec_file_name("llm:refusal@http://localhost:8000/v1#m")
        'llm-refusal-http-localhost-8000-v1-m-e82f5a90'
    """
    if isinstance(spec, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", spec):
        return spec
    text = spec if isinstance(spec, str) else "-".join(str(value) for value in spec.values())
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:_LONGEST_NAME]
    return f"{readable}-{fingerprint(spec)[:8]}"
