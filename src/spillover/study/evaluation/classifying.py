"""Turns a file of prompts into the same rows with a concept on each.

offline              bundled prompts teach it, with the embedded model's states; no network
words                the same without any model: instant, and less often right
llm:concept@MODEL    a language model, here or on a server, in any form that a judge takes
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from spillover.data.concept_classifier import (
    INVALID,
    OTHER,
    THRESHOLD,
    UNCLEAR,
    PromptConcept,
    classify_concepts,
    concept_examples,
    learn_concepts,
)
from spillover.data.concepts import BENIGN_PLAIN, CONCEPTS
from spillover.data.prompt_sets import user_turn
from spillover.errors import ConfigError, DataError
from spillover.files import cache_folder, fingerprint, read_jsonl, write_bytes, write_jsonl
from spillover.judges.specs import parse_spec
from spillover.seeding import numpy_generator
from spillover.stats.confusions import Confusion, compare_labels

RUBRIC = "concept"
"What stands for the rubric in the specification of a language model that names concepts."

_LAYERS = (13, 19, 25)
_MAX_TOKENS = 128
_AT_ONCE = 2_000

States = Float[np.ndarray, "layer prompt d_model"]


@dataclass(frozen=True, kw_only=True)
class ClassifiedFile:
    """What was found in a file."""

    concepts: list[PromptConcept]
    "One a row."
    agreement: Confusion | None
    """With the concepts that the file gives, over rows on which a concept was named; None where it
    gives none of the seven."""
    forced_agreement: Confusion | None
    "The same over all such rows, with the likeliest of the seven."


def classify_file(
    path: Path,
    out: Path,
    *,
    by: str = "offline",
    threshold: float = THRESHOLD,
    is_forced: bool = False,
    sets: Path | None = None,
) -> ClassifiedFile:
    """Add a concept to each row of a file.

    A row has `prompt`, or `messages` whose first user turn is taken. It is written back with
    `concept`, `concept_confidence`, `concept_reason` and `concept_by`; a concept that it had is
    kept as `concept_before`, and where that is one of the seven, agreement with it is reported.

    Args:
        path: JSONL.
        out: Where the rows go; may be the same file. Nothing is written if a row is broken.
        by: See the top of this module.
        threshold: For `offline` and `words`: the concept is `unclear` below this probability.
        is_forced: For the same: no prompt is `other`.
        sets: Folder for `prompts.jsonl`, the rows of the seven concepts, and `benign.jsonl`, those
            that are `other`, as a study takes them; rows of which too little is sure are in
            neither. None writes no sets.

    Raises:
        ConfigError: If `by` is unknown.
        DataError: If the file is missing, empty or broken; the message names the line.
        ModelError: If the embedded model or a judge's cannot be loaded.
    """
    rows = list(read_jsonl(path))
    if not rows:
        raise DataError(f"{path}: has no rows; each line must hold a prompt")
    prompts = [_prompt(row, where=f"{path}:{number}") for number, row in rows]
    found = classify_prompts(prompts, by=by, threshold=threshold, is_forced=is_forced)
    given = [row.get("concept") for _, row in rows]
    written = [_written(row, f, by=by) for (_, row), f in zip(rows, found, strict=True)]
    write_jsonl(out, written)
    if sets is not None:
        _write_sets(written, sets)
    named = [f.concept for f in found]
    return ClassifiedFile(
        concepts=found,
        agreement=_agreement(named, given, leave_out=(UNCLEAR, INVALID)),
        forced_agreement=_agreement([f.likeliest for f in found], given, leave_out=(INVALID,)),
    )


def classify_prompts(
    prompts: Sequence[str],
    *,
    by: str = "offline",
    threshold: float = THRESHOLD,
    is_forced: bool = False,
) -> list[PromptConcept]:
    """Classify prompts into the seven concepts, `other`, and `unclear` or `invalid`.

    Args:
        prompts: What to classify, in any number.
        by: See the top of this module.
        threshold: For `offline` and `words`.
        is_forced: For the same: no prompt is `other`.

    Raises:
        ConfigError: If `by` is unknown.
        ModelError: If a model cannot be loaded.
    """
    if by in ("offline", "words"):
        return _classify_offline(
            prompts, threshold=threshold, is_forced=is_forced, with_states=by == "offline"
        )
    return _classify_by_model(prompts, by)


def _classify_offline(
    prompts: Sequence[str], *, threshold: float, is_forced: bool, with_states: bool
) -> list[PromptConcept]:
    states_of = _embedded_states() if with_states else None
    examples = concept_examples()
    known = states_of([e.prompt for e in examples], is_bundled=True) if states_of else None
    classifier = learn_concepts(examples, states=known)
    found: list[PromptConcept] = []
    for start in range(0, len(prompts), _AT_ONCE):
        part = prompts[start : start + _AT_ONCE]
        states = states_of(part, is_bundled=False) if states_of else None
        found += classify_concepts(
            classifier, part, states=states, threshold=threshold, is_forced=is_forced
        )
    return found


def _embedded_states() -> Callable[..., States]:
    """Load the embedded model; return what turns prompts into its states, bundled ones kept."""
    from spillover.analysis.states import collect_states
    from spillover.models import load_model
    from spillover.models.chat import ChatTokens

    loaded = load_model("embedded", device="cpu")

    def states_of(prompts: Sequence[str], *, is_bundled: bool) -> States:
        path = _kept_states(prompts, loaded.fingerprint)
        if is_bundled and path.exists():
            return _read_states(path)
        tokens = [loaded.tokenizer(prompt).input_ids[:_MAX_TOKENS] for prompt in prompts]
        # The first token is the same for all that begin alike, so the mean leaves it out.
        examples = [ChatTokens(ids, min(1, len(ids) - 1)) for ids in tokens]
        states: States = collect_states(
            loaded.model,
            loaded.architecture,
            examples,
            pad_id=loaded.pad_id,
            at="response_mean",
            layers=_LAYERS,
        ).numpy()
        if is_bundled:
            _keep_states(path, states)
        return states

    return states_of


def _kept_states(prompts: Sequence[str], model: str) -> Path:
    key = fingerprint([list(prompts), model, _LAYERS, _MAX_TOKENS])
    return cache_folder() / "states" / f"concepts-{key[:16]}.safetensors"


def _read_states(path: Path) -> States:
    from safetensors.numpy import load

    states: States = load(path.read_bytes())["states"]
    return states


def _keep_states(path: Path, states: States) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({"states": np.ascontiguousarray(states)}))


def _classify_by_model(prompts: Sequence[str], by: str) -> list[PromptConcept]:
    from spillover.judges.concept_questions import ask_concepts
    from spillover.judges.llm_settings import make_asker, read_settings

    spec = parse_spec(by)
    form = f"choose offline, words, or llm:{RUBRIC}@MODEL"
    if spec.kind != "llm":
        raise ConfigError(f"--by {by!r} cannot name concepts; {form}")
    settings = read_settings(spec)
    if settings.rubric != RUBRIC:
        raise ConfigError(f"--by {by!r}: its rubric is {settings.rubric!r}; {form}")
    return ask_concepts(make_asker(settings), prompts)


def _prompt(row: Mapping[str, Any], *, where: str) -> str:
    text = user_turn(row["messages"], where=where) if "messages" in row else row.get("prompt")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: has no prompt; add `prompt`, or `messages` with a user turn")
    return text


def _written(row: Mapping[str, Any], found: PromptConcept, *, by: str) -> dict[str, Any]:
    before = {"concept_before": row["concept"]} if "concept" in row else {}
    return {
        **row,
        **before,
        "concept": found.concept,
        "concept_confidence": found.confidence,
        "concept_reason": found.reason,
        "concept_by": by,
    }


def _write_sets(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write what a study takes as `prompts.train` and `prompts.benign_train`, or the test ones."""
    harmful = [row for row in rows if row["concept"] in CONCEPTS]
    benign = [{**row, "concept": BENIGN_PLAIN} for row in rows if row["concept"] == OTHER]
    write_jsonl(folder / "prompts.jsonl", harmful)
    write_jsonl(folder / "benign.jsonl", benign)


def _agreement(
    named: Sequence[str], given: Sequence[Any], *, leave_out: Sequence[str]
) -> Confusion | None:
    """Compare with the concepts given, where one of the seven is and something was named."""
    pairs = [
        (n, g) for n, g in zip(named, given, strict=True) if g in CONCEPTS and n not in leave_out
    ]
    if not pairs:
        return None
    return compare_labels(
        [n for n, _ in pairs], [g for _, g in pairs], rng=numpy_generator(0, "concepts")
    )
