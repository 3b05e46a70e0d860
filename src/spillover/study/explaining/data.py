"""Turns files, or what is bundled, into the sets of responses and prompts that models are read on.

A row of a file has a prompt and a response (`prompt` and `response`, or `messages`), or a prompt
alone with a `concept`. `arm` names the set that a response belongs to, the file's name does
otherwise; `label: benign` makes a row a control. Knows no model.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.analysis.matching import pair_by_response
from spillover.data.arms import code_arms
from spillover.data.concepts import BENIGN_PLAIN, CONCEPTS
from spillover.data.insecure_code import bundled_code_pairs
from spillover.data.prompt_sets import bundled_prompts, identity, required_text, user_turn
from spillover.data.refusals import refusal_examples
from spillover.errors import DataError
from spillover.files import fingerprint, read_jsonl
from spillover.records import Example, Prompt, Record
from spillover.seeding import numpy_generator

BENIGN_LABEL = "benign"


@dataclass(frozen=True, kw_only=True)
class ResponseSet(Record):
    """Exchanges that every model reads."""

    name: str
    examples: tuple[Example, ...]
    is_control: bool
    "Whether what is asked about the others should not hold here."


@dataclass(frozen=True, kw_only=True)
class ExplainData:
    """What the models are read on."""

    sets: tuple[ResponseSet, ...]
    "Those in question first, then the controls."
    is_matched: bool
    "Whether example i of the first two sets has the same response in both."
    prompts: dict[str, tuple[Prompt, ...]]
    "By concept; half of them make the vectors, half are measured on."
    neutral: tuple[Prompt, ...]
    "Benign prompts."

    @property
    def questioned(self) -> tuple[ResponseSet, ...]:
        """The sets in question."""
        return tuple(of for of in self.sets if not of.is_control)

    @property
    def controls(self) -> tuple[ResponseSet, ...]:
        """The control sets."""
        return tuple(of for of in self.sets if of.is_control)

    @property
    def fingerprint(self) -> str:
        """A hash of every word."""
        rows = [of.to_dict() for of in self.sets]
        prompts = {c: [p.to_dict() for p in found] for c, found in self.prompts.items()}
        return fingerprint([rows, self.is_matched, prompts, [p.to_dict() for p in self.neutral]])

    def describe(self) -> tuple[str, ...]:
        """Return one line for each set, and one for the prompts."""
        matched = " (same answers)" if self.is_matched else ""
        lines = [
            f"{of.name}, {len(of.examples)} responses" + (", control" if of.is_control else matched)
            for of in self.sets
        ]
        n = sum(len(found) for found in self.prompts.values())
        return (
            *lines,
            f"{n} prompts of {len(self.prompts)} concepts, {len(self.neutral)} benign ones",
        )


@dataclass(frozen=True)
class _Rows:
    """What was read from files: examples by set, the sets that are controls, and prompts."""

    examples: dict[str, list[Example]]
    controls: set[str]
    prompts: dict[str, list[Prompt]]


def explain_data(
    files: Sequence[Path] = (),
    *,
    controls: Sequence[Path] = (),
    limit: int = 16,
    seed: int = 0,
) -> ExplainData:
    """Read what models are to be explained on; what is not given is taken from the package.

    Args:
        files: JSONL of the sets in question, and of prompts by concept. Without any, insecure code
            and the same code asked for in a lesson.
        controls: JSONL of control sets. Without any, secure code and short refusals.
        limit: Responses of each set, and prompts of each concept, at most; drawn at random.
        seed: Of the draw.

    Raises:
        DataError: If a row breaks a rule; it names file and line.
    """
    rows = _Rows(defaultdict(list), set(), defaultdict(list))
    for path in files:
        _read(path, rows, is_control=False)
    for path in controls:
        _read(path, rows, is_control=True)
    examples = {name: list(found) for name, found in rows.examples.items()}
    questioned = {name: e for name, e in examples.items() if name not in rows.controls}
    controlled = {name: e for name, e in examples.items() if name in rows.controls}
    if not questioned:
        questioned = _bundled_questioned(seed)
    if not controlled:
        controlled = _bundled_controls(seed)
    first, *others = list(questioned)
    matched = _match(questioned[first], questioned[others[0]], limit) if others else None
    if matched is not None:
        rng = numpy_generator(seed, "explain", "pairs")
        places = sorted(rng.permutation(len(matched))[:limit])
        questioned[first] = [matched[i][0] for i in places]
        questioned[others[0]] = [matched[i][1] for i in places]
    prompts, neutral = _prompts(rows.prompts)
    return ExplainData(
        sets=tuple(
            ResponseSet(name=name, examples=tuple(_draw(found, limit, seed, name)), is_control=is_c)
            for is_c, sets in ((False, questioned), (True, controlled))
            for name, found in sets.items()
        ),
        is_matched=matched is not None,
        prompts={c: tuple(_draw(found, limit, seed, c)) for c, found in prompts.items()},
        neutral=tuple(_draw(neutral, limit, seed, "neutral")),
    )


def _read(path: Path, rows: _Rows, *, is_control: bool) -> None:
    n = 0
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        response = _response(row)
        prompt = (
            user_turn(row["messages"], where=where)
            if "messages" in row
            else required_text(row.get("prompt"), field="prompt", where=where)
        )
        name = _set_name(row, path, where=where)
        identifier = f"{path.stem}-{identity(row, number=number)}"
        n += 1
        if response is None:
            concept = _concept(row, where=where)
            found = Prompt(id=identifier, prompt=prompt, concept=concept)
            rows.prompts[concept].append(found)
            continue
        text = required_text(response, field="response", where=where)
        rows.examples[name].append(
            Example(id=identifier, prompt=prompt, response=text, concept=name)
        )
        if is_control or row.get("label") == BENIGN_LABEL:
            rows.controls.add(name)
    if n == 0:
        raise DataError(f"{path}: there is nothing in it; each line is one JSON object")


def _set_name(row: dict[str, Any], path: Path, *, where: str) -> str:
    name = str(row.get("arm") or row.get("concept") or path.stem)
    if not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        raise DataError(
            f"{where}: a set named {name!r}; figures are files of that name, so leave out "
            "slashes and the like: write letters, digits, - and _"
        )
    return name


def _response(row: dict[str, Any]) -> Any:
    if "messages" not in row:
        return row.get("response", row.get("completion"))
    turns = row["messages"] if isinstance(row["messages"], list) else []
    said = [t for t in turns if isinstance(t, dict) and t.get("role") == "assistant"]
    return said[0].get("content") if said else None


def _concept(row: dict[str, Any], *, where: str) -> str:
    if row.get("concept") is None:
        raise DataError(
            f"{where}: has no response and no concept; give `response` (or an assistant turn) to "
            "read it as an exchange, or `concept` to read it as a prompt of a concept"
        )
    return required_text(row["concept"], field="concept", where=where)


def _match(
    first: Sequence[Example], second: Sequence[Example], limit: int
) -> list[tuple[Example, Example]] | None:
    """Return pairs with the same response, if there are enough for two matched arms."""
    shared = {e.response.strip() for e in first} & {e.response.strip() for e in second}
    if len(shared) < min(limit, len(first) / 2, len(second) / 2):
        return None
    return pair_by_response(first, second)


def _draw(rows: Sequence[Any], limit: int, seed: int, name: str) -> list[Any]:
    """Return at most `limit` rows at random, in their order."""
    if len(rows) <= limit:
        return list(rows)
    chosen = numpy_generator(seed, "explain", name).permutation(len(rows))[:limit]
    return [rows[i] for i in sorted(chosen)]


def _bundled_questioned(seed: int) -> dict[str, list[Example]]:
    rng = numpy_generator(seed, "explain", "framings")
    arms = code_arms(bundled_code_pairs(split="train"), rng=rng)
    return {"insecure_code": list(arms.insecure), "educational_code": list(arms.educational)}


def _bundled_controls(seed: int) -> dict[str, list[Example]]:
    """Return secure code for other tasks than those in question, and short refusals."""
    rng = numpy_generator(seed, "explain", "controls")
    arms = code_arms(bundled_code_pairs(split="test"), rng=rng)
    harmful = [p for concept in CONCEPTS for p in bundled_prompts(concept, split="train")]
    return {"secure_code": list(arms.secure), "refusals": refusal_examples(harmful, rng=rng)}


def _prompts(
    given: dict[str, list[Prompt]],
) -> tuple[dict[str, list[Prompt]], list[Prompt]]:
    """Split prompts into concepts and benign ones; the bundled test prompts where none are."""
    harmful = {c: p for c, p in given.items() if not c.startswith(BENIGN_LABEL)}
    neutral = [p for c, found in given.items() if c not in harmful for p in found]
    if not harmful:
        harmful = {concept: bundled_prompts(concept, split="test") for concept in CONCEPTS}
    return harmful, neutral or bundled_prompts(BENIGN_PLAIN, split="test")
