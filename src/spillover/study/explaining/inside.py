"""Inside of an organism: what each of its adapters computes, does and reacts to, on one page.

OUT/inside.html     the page; figures/ and analysis/ beside it
OUT/cells/          what was measured with adapters scaled or held, kept
OUT/scalars.json    what every adapter computes at every token of the answers, A x

2506.11618, section 5 and 6. The adapter stays beside the weights; nothing is generated or judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from spillover.analysis.directions import answer_tokens
from spillover.analysis.rank_one import (
    AnswerScalars,
    TokenSignificance,
    answer_scalars,
    token_significance,
)
from spillover.analysis.scalar_probes import ScalarProbe, scalar_probe
from spillover.data.prompt_sets import load_examples
from spillover.errors import DataError, ModelError
from spillover.files import read_json, write_json
from spillover.models.adapters import adapter_base
from spillover.models.chat import ChatTokens
from spillover.models.live_adapters import with_live_adapter
from spillover.models.loading import LoadedModel, load_model
from spillover.records import Example, Record
from spillover.seeding import numpy_generator
from spillover.study.artifacts.part_pages import write_parts_page
from spillover.study.explaining.comparing.texts import ComparedTexts
from spillover.study.explaining.inside_effects import (
    MARGIN,
    NARROW,
    KindOfAnswers,
    adapter_effects,
)
from spillover.study.explaining.inside_findings import InsideFindings
from spillover.study.explaining.inside_parts import inside_parts
from spillover.study.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class InsideSettings(Record):
    """How an organism is looked into."""

    factors: tuple[float, ...] = (0.0, 5.0)
    "Adapters are multiplied by; 0, which cuts them out, is always among them."
    max_tokens: int = 48
    "Answer tokens that are read."
    n_permutations: int = 99
    "Of labels, for the probes."
    c: float = 0.1
    "Inverse strength of the probes' L1 penalty."
    n_answers: int = 4
    "Answers whose tokens are shown, of each kind."
    batch_size: int = 8
    seed: int = 0


def look_inside(
    adapter: Path,
    out: Path,
    *,
    texts: ComparedTexts,
    load_options: Mapping[str, Any],
    base: str | None = None,
    narrow: Path | None = None,
    settings: InsideSettings | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Look inside of an organism and write everything under `out`.

    Args:
        adapter: Folder of its rank-1 LoRA.
        out: Gets the page and its files.
        texts: From `compared_texts`: answers of two kinds, and pairs to measure on.
        load_options: More arguments of `load_model`.
        base: The model below; None for the one that the adapter names.
        narrow: JSONL of prompt and response like those it was trained on, but others.
        settings: How it is looked into.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        ModelError: If the adapter cannot be used on that model, or has another rank.
        DataError: If there are too few answers for the probes.
    """
    chosen = settings or InsideSettings()
    shown = reporter or Reporter()
    below = base or adapter_base(adapter)
    rank = read_json(adapter / "adapter_config.json").get("r")
    if rank != 1:
        raise ModelError(f"{adapter}: an adapter of rank {rank}; give one of rank 1")
    loaded = with_live_adapter(load_model(below, **load_options), adapter)
    answers = _answers(loaded, texts, narrow, chosen)
    scalars = {
        own.kind: answer_scalars(loaded, own.tokens, batch_size=chosen.batch_size)
        for own in answers
    }
    _write_scalars(out, loaded, answers, scalars)
    shown.say(f"scalars of {len(scalars['aligned'].modules)} adapters: read")
    probes = _probes(answers, scalars, chosen)
    shown.say("probes: fitted")
    scaled, held = adapter_effects(
        loaded,
        answers,
        scalars,
        texts,
        out,
        factors=chosen.factors,
        batch_size=chosen.batch_size,
        seed=chosen.seed,
        reporter=shown,
    )
    found = InsideFindings(
        scalars=scalars,
        tokens={own.kind: [_as_text(loaded, row) for row in own.tokens] for own in answers},
        probes=probes,
        scaled=scaled,
        held=held,
        significances=_significances(loaded, answers, chosen),
        margin=MARGIN,
        narrow=NARROW if narrow is not None else None,
    )
    return write_parts_page(
        out,
        inside_parts(found, n_answers=chosen.n_answers),
        page="inside",
        title=f"Inside of {adapter.resolve().name}",
        models={"base": below, "adapter": str(adapter)},
        data=[
            texts.described[0],
            ", ".join(f"{len(own.tokens)} {own.kind} answers" for own in answers),
            f"{len(texts.pairs)} pairs to measure on",
        ],
        settings=chosen.to_dict(),
        left_out=()
        if narrow is not None
        else ["General against narrow adapters: give --narrow, answers like the training's"],
    )


def _answers(
    loaded: LoadedModel, texts: ComparedTexts, narrow: Path | None, settings: InsideSettings
) -> list[KindOfAnswers]:
    kinds: dict[str, Sequence[Example]] = {"misaligned": texts.misaligned, "aligned": texts.aligned}
    if narrow is not None:
        kinds["narrow"] = load_examples(narrow)
    found = [
        KindOfAnswers(
            kind,
            examples,
            [row.first(settings.max_tokens) for row in answer_tokens(loaded, examples)],
        )
        for kind, examples in kinds.items()
    ]
    few = {own.kind: len(own.tokens) for own in found if len(own.tokens) < 10}
    if few:
        raise DataError(f"{few} answers are too few for a probe; give ten of a kind at least")
    return found


def _as_text(loaded: LoadedModel, row: ChatTokens) -> list[str]:
    return [loaded.tokenizer.decode([i]) for i in row.input_ids]


def _write_scalars(
    out: Path,
    loaded: LoadedModel,
    answers: Sequence[KindOfAnswers],
    scalars: Mapping[str, AnswerScalars],
) -> None:
    rows = [
        {
            "kind": own.kind,
            "prompt": example.prompt,
            "tokens": _as_text(loaded, tokens)[tokens.prompt_length :],
            "scalars": dict(zip(scalars[own.kind].modules, values.T.tolist(), strict=True)),
        }
        for own in answers
        for example, tokens, values in zip(
            own.examples, own.tokens, scalars[own.kind].tokens, strict=True
        )
    ]
    write_json(out / "scalars.json", rows)


def _probes(
    answers: Sequence[KindOfAnswers], scalars: Mapping[str, AnswerScalars], settings: InsideSettings
) -> list[ScalarProbe]:
    """Probe for misaligned among general answers, and for narrow among all."""
    features = np.concatenate([scalars[own.kind].means for own in answers])
    kinds = np.array([own.kind for own in answers for _ in own.tokens])
    groups = [example.prompt for own in answers for example in own.examples]
    is_general = kinds != "narrow"
    wanted: list[tuple[str, Bool[np.ndarray, " answer"], Bool[np.ndarray, " answer"]]] = [
        ("misaligned", is_general, kinds == "misaligned")
    ]
    if not is_general.all():
        wanted.append(("narrow", np.ones(len(kinds), dtype=bool), ~is_general))
    return [
        scalar_probe(
            features[among],
            labels[among],
            [group for group, is_in in zip(groups, among, strict=True) if is_in],
            label=label,
            rng=numpy_generator(settings.seed, "probe", label),
            c=settings.c,
            n_permutations=settings.n_permutations,
        )
        for label, among, labels in wanted
    ]


def _significances(
    loaded: LoadedModel, answers: Sequence[KindOfAnswers], settings: InsideSettings
) -> dict[str, list[TokenSignificance]]:
    return {
        own.kind: [token_significance(loaded, row) for row in own.tokens[: settings.n_answers]]
        for own in answers
    }
