"""Prompt files to `Prompt` records: the bundled ones, the user's JSONL, and `messages` data.

Knows no model. A harmful prompt set holds prompts only; answers come from models at run time.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.errors import DataError
from spillover.files import read_jsonl
from spillover.records import Example, Prompt


def bundled_prompts(concept: str, *, split: str) -> list[Prompt]:
    """Return the bundled prompts of one concept.

    Args:
        concept: One of the seven, `benign_plain` or `benign_lookalike`.
        split: `train` or `test`.

    Raises:
        DataError: If nothing is bundled for the concept or split.
    """
    if concept not in CONCEPTS and concept not in BENIGN:
        raise DataError(
            f"concept {concept!r} has no bundled prompts; bundled are "
            f"{', '.join([*CONCEPTS, *BENIGN])}; give a file of your own for others"
        )
    if split not in ("train", "test"):
        raise DataError(f"split {split!r} does not exist; choose train or test")
    name = "benign" if concept in BENIGN else concept
    with resources.as_file(resources.files("spillover.data.prompts") / f"{name}.jsonl") as path:
        prompts = load_prompts(path)
    return [p for p in prompts if p.concept == concept and p.split == split]


def load_prompts(path: Path, *, concept: str | None = None) -> list[Prompt]:
    """Read prompts from JSONL.

    Each line has `prompt` (or `messages`, whose first user turn is taken), and may have
    `concept`, `id`, `split` and `form`. An id that is missing is the line number.

    Args:
        path: The file.
        concept: Used for lines without one.

    Raises:
        DataError: If a line breaks a rule or the file has no prompts; it names file and line.
    """
    found: dict[str, Prompt] = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        prompt = _prompt_from_row(row, where=where, number=number, concept=concept)
        check_unused(prompt.id, found, where=where)
        found[prompt.id] = prompt
    if not found:
        raise DataError(f"{path}: there are no prompts in it; each line is one JSON object")
    return list(found.values())


def _prompt_from_row(
    row: Mapping[str, Any], *, where: str, number: int, concept: str | None
) -> Prompt:
    text = user_turn(row["messages"], where=where) if "messages" in row else row.get("prompt")
    found_concept = concept if row.get("concept") is None else row["concept"]
    return Prompt(
        id=identity(row, number=number),
        prompt=required_text(text, field="prompt", where=where),
        concept=required_text(found_concept, field="concept", where=where),
        split=str(row.get("split") or ""),
        form=str(row.get("form") or ""),
    )


def identity(row: Mapping[str, Any], *, number: int) -> str:
    """Return the row's id; its line number where it has none."""
    return str(number if row.get("id") is None else row["id"])


def check_unused(identifier: str, used: Container[str], *, where: str) -> None:
    """Refuse an id that another line has.

    Raises:
        DataError: If it was used before; the message names file and line.
    """
    if identifier in used:
        raise DataError(f"{where}: id {identifier!r} was used before; ids must be unique")


def required_text(value: object, *, field: str, where: str) -> str:
    """Return `value` if it is a string with something in it.

    Raises:
        DataError: Otherwise; the message names file, line and field.
    """
    if value is None:
        raise DataError(f"{where}: field {field!r} is missing")
    if not isinstance(value, str):
        raise DataError(f"{where}: field {field!r} is a {type(value).__name__}, not a string")
    if not value.strip():
        raise DataError(f"{where}: field {field!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(
            f"{where}: field {field!r} holds half of a surrogate pair, which is no character and "
            "which no tokenizer takes; remove the escape \\ud800 to \\udfff or complete the pair"
        )
    return value


def user_turn(messages: object, *, where: str) -> str:
    """Return the first user turn of a `messages` list."""
    return _turn(messages, role="user", where=where)


def _turn(messages: object, *, role: str, where: str) -> str:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise DataError(f"{where}: field 'messages' must be a list of {{role, content}}")
    for message in messages:
        if isinstance(message, Mapping) and message.get("role") == role:
            return required_text(message.get("content"), field=f"{role} content", where=where)
    raise DataError(f"{where}: field 'messages' has no turn with role {role!r}")


def load_examples(path: Path, *, concept: str = "user") -> list[Example]:
    """Read training pairs from JSONL: `messages`, or `prompt` with `response` (or `completion`).

    Raises:
        DataError: If a line breaks a rule or the file is empty; it names file and line.
    """
    examples: dict[str, Example] = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        if "messages" in row:
            prompt = user_turn(row["messages"], where=where)
            response = _turn(row["messages"], role="assistant", where=where)
        else:
            prompt = required_text(row.get("prompt"), field="prompt", where=where)
            answer = row.get("response", row.get("completion"))
            response = required_text(answer, field="response", where=where)
        example = Example(
            id=identity(row, number=number),
            prompt=prompt,
            response=response,
            concept=concept if row.get("concept") is None else str(row["concept"]),
        )
        check_unused(example.id, examples, where=where)
        examples[example.id] = example
    if not examples:
        raise DataError(f"{path}: there are no examples in it; each line is one JSON object")
    return list(examples.values())


def check_disjoint(train: Iterable[Prompt], test: Iterable[Prompt]) -> None:
    """Refuse train and test prompts that share a text.

    Raises:
        DataError: If a test prompt was trained on.
    """
    seen = {normalise(p.prompt): p.id for p in train}
    for prompt in test:
        if (other := seen.get(normalise(prompt.prompt))) is not None:
            raise DataError(
                f"test prompt {prompt.id!r} is also train prompt {other!r}; "
                "remove one, or scores would be measured on what was trained"
            )


def normalise(text: str) -> str:
    """Return the text in lower case with its words separated by single spaces."""
    return " ".join(text.lower().split())
