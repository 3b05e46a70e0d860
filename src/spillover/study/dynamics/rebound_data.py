"""Answers of both kinds for a study of rebound, made by the model itself and kept in a file."""

from collections.abc import Sequence
from pathlib import Path

from spillover.data.prompt_sets import bundled_prompts
from spillover.errors import DataError
from spillover.files import read_jsonl, write_jsonl
from spillover.models.loading import LoadedModel
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.dynamics.elasticity_data import (
    SETS,
    Opposites,
    harmful_prompts,
    refusals_and_answers,
)
from spillover.study.dynamics.rebound_measures import ReboundSettings
from spillover.study.dynamics.retraining import answers_of
from spillover.study.progress import Reporter


def own_opposites(
    loaded: LoadedModel, chosen: ReboundSettings, needed: int, reporter: Reporter
) -> Opposites:
    """Pair written refusals to bundled harmful prompts with what the model says to them."""
    rng = numpy_generator(0, "rebound data")
    prompts = harmful_prompts(limit=needed + chosen.n_held_out, rng=rng)
    reporter.say(f"answering {len(prompts)} prompts for the negative examples")
    answers = answers_of(
        loaded,
        prompts,
        max_new_tokens=chosen.max_new_tokens,
        seed=derive_seed(0, "negative"),
        batch_size=chosen.batch_size,
    )
    return refusals_and_answers(prompts, answers, rng=rng)


def proxy_answers(loaded: LoadedModel, chosen: ReboundSettings) -> list[Example]:
    """Return the model's own answers to benign prompts."""
    prompts = bundled_prompts("benign_plain", split="test")[: chosen.n_proxy]
    return answers_of(
        loaded,
        prompts,
        max_new_tokens=chosen.max_new_tokens,
        seed=derive_seed(0, "proxy"),
        batch_size=chosen.batch_size,
    )


def save_sets(path: Path, opposites: Opposites, proxy: Sequence[Example]) -> None:
    """Write both kinds of answers and the proxy to one file."""
    rows = [
        {"set": name, **example.to_dict()}
        for name, examples in zip(
            SETS, (opposites.positive, opposites.negative, proxy), strict=True
        )
        for example in examples
    ]
    write_jsonl(path, rows)


def load_sets(path: Path) -> tuple[Opposites, tuple[Example, ...]]:
    """Read what `save_sets` wrote.

    Raises:
        DataError: If the proxy has fewer than two answers.
    """
    found: dict[str, list[Example]] = {name: [] for name in SETS}
    for _, row in read_jsonl(path):
        found[row["set"]].append(Example.from_dict({k: v for k, v in row.items() if k != "set"}))
    if len(found["proxy"]) < 2:
        raise DataError(f"{path}: {len(found['proxy'])} answers to benign prompts; give n_proxy 2")
    return Opposites(tuple(found["positive"]), tuple(found["negative"])), tuple(found["proxy"])
