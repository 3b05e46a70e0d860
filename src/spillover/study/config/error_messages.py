"""What pydantic says of a study file, in the words of its keys."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """Return every broken rule with its key, and for an unknown key those that there are.

    Args:
        error: From validating `root`.
        root: The section in which all keys begin.
    """
    problems = []
    for found in error.errors():
        key = ".".join(str(part) for part in found["loc"]) or "study"
        if found["type"] == "extra_forbidden":
            message = unknown_key(str(found["loc"][-1]), _known_keys(found["loc"], root))
        else:
            message = found["msg"].removeprefix("Value error, ") + _given(found)
        problems.append(f"{key}: {message}")
    return "; ".join(problems)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Return that a key is unknown, which there are, and the one that may have been meant.

    Example:
        >>> unknown_key("bata", ["steps", "beta"])
        'unknown key; keys here are steps, beta; did you mean beta?'
    """
    near = get_close_matches(key, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"unknown key; keys here are {', '.join(known)}{meant}"


def _given(found: ErrorDetails) -> str:
    """Return what was given, where that is one plain value and the rule does not name it."""
    value = found["input"]
    is_plain = value is None or isinstance(value, str | int | float)
    return f"; it is {value!r:.80}" if is_plain and found["type"] != "value_error" else ""


def _known_keys(place: Sequence[int | str], root: type[BaseModel]) -> list[str]:
    """Return the keys of the section in which the last key of `place` stands."""
    section = root
    for part in place[:-1]:
        if str(part) in section.model_fields:  # Else it is a name that the user gave.
            section = _section_in(section.model_fields[str(part)].annotation) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section in an annotation: a section, one or None, or a mapping to such."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inside = (_section_in(each) for each in get_args(annotation))
    return next((found for found in inside if found is not None), None)
