"""Rebound: does a model that was trained further go back faster?

2406.06144, section 4.2. A model is trained on some positive examples and then on more and more
negative ones; its score and its distance from where it started are read off on the way.

    OUT/rebound.html   the page; figures/, analysis/ beside it
    OUT/rebound.json   every curve and its description
    OUT/opposites.jsonl, OUT/models, OUT/runs   what a run that was stopped goes on from

Departure: the paper trains one model for each number of negative examples; here one training goes
through all of them at a constant rate, and is measured on the way. The score is not a classifier's
but the log-probability margin of positive over negative answers to held-out prompts, which needs
none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spillover.analysis.compression import ChangeRatio
from spillover.analysis.elasticity import Rebound, ReboundCurve, rebound, rebound_growth
from spillover.analysis.token_distances import token_distributions
from spillover.errors import ConfigError
from spillover.files import read_json, write_json
from spillover.memory import release_freed_memory
from spillover.models.live_adapters import with_live_adapter
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts.part_pages import write_parts_page
from spillover.study.dynamics.elasticity_data import load_opposites
from spillover.study.dynamics.elasticity_parts import rebound_parts
from spillover.study.dynamics.rebound_data import load_sets, own_opposites, proxy_answers, save_sets
from spillover.study.dynamics.rebound_measures import ReboundCase, ReboundSettings, measured_run
from spillover.study.dynamics.resistance import claim_folder
from spillover.study.dynamics.retraining import fine_tune, model_with
from spillover.study.progress import Reporter


def write_rebound(
    model: str,
    out: Path,
    *,
    load_options: Mapping[str, Any],
    data: Path | None = None,
    settings: ReboundSettings | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Run a study of rebound and write its page; what was done before is not done again.

    Args:
        model: What `load_model` takes; the base to which the model may go back.
        out: Gets everything.
        load_options: More arguments of `load_model`.
        data: JSONL of prompt, positive and negative; None for written refusals and the model's own
            answers to the bundled harmful prompts.
        settings: The trainings.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        ConfigError: If settings ask for too little, or `out` holds another study.
        InputError: If the model or the file cannot be used.
    """
    chosen = settings or ReboundSettings()
    _check(chosen)
    claim_folder(out, "rebound", [model, data, chosen.to_dict()])
    shown = reporter or Reporter()
    case = _case(model, out, load_options, data, chosen, shown)
    places = [(seed, n) for seed in chosen.seeds for n in sorted(set(chosen.n_positive))]
    runs = [_run(case, seed, n) for seed, n in places]
    curves = [_curve(run) for run in runs]
    found = [
        rebound(
            curve,
            threshold=chosen.threshold,
            rng=numpy_generator(curve.seed, "knee", str(curve.n_positive)),
        )
        for curve in curves
    ]
    write_json(
        out / "rebound.json",
        {"curves": [c.to_dict() for c in curves], "rebounds": [f.to_dict() for f in found]},
    )
    return _page(case, data, curves, found, runs)


def _page(
    case: ReboundCase,
    data: Path | None,
    curves: Sequence[ReboundCurve],
    found: Sequence[Rebound],
    runs: Sequence[Mapping[str, Any]],
) -> Path:
    chosen = case.settings
    can_compare = len(chosen.seeds) > 1 and len(set(chosen.n_positive)) > 1
    growth = rebound_growth(found) if can_compare else None
    ratios = [ChangeRatio.from_dict(run["ratio"]) for run in runs if run["ratio"] is not None]
    return write_parts_page(
        case.out,
        rebound_parts(curves, found, growth, runs=runs, ratios=ratios),
        page="rebound",
        title=f"Rebound of {Path(case.model).name}",
        models={"base": case.model},
        data=[
            f"{len(case.train.positive)} prompts to train on and {len(case.held_out.positive)} "
            f"held out, from {'bundled refusals' if data is None else data.name}"
        ],
        settings=chosen.to_dict(),
        left_out=[]
        if ratios
        else ["Ratio of changes: give the size of the pre-training data in tokens"],
    )


def _check(chosen: ReboundSettings) -> None:
    per_step = chosen.how.examples_per_step
    uneven = [n for n in (*chosen.n_positive, chosen.n_negative) if n % per_step or n < 1]
    measured = -(-chosen.n_negative // (per_step * chosen.every)) + 1
    if uneven or measured < 4 or not chosen.seeds:
        raise ConfigError(
            f"numbers of examples {uneven} are no multiples of {per_step} a step, there are "
            f"{measured} measurements of a curve and {len(chosen.seeds)} seeds; give multiples, "
            "four measurements or more (lower `every`), and a seed"
        )


def _case(
    model: str,
    out: Path,
    load_options: Mapping[str, Any],
    data: Path | None,
    chosen: ReboundSettings,
    reporter: Reporter,
) -> ReboundCase:
    loaded = model_with(model, [], load_options)
    needed = max(*chosen.n_positive, chosen.n_negative)
    path = out / "opposites.jsonl"
    if not path.exists():
        found = (
            load_opposites(data)
            if data is not None
            else own_opposites(loaded, chosen, needed, reporter)
        )
        save_sets(path, found, proxy_answers(loaded, chosen))
    opposites, proxy = load_sets(path)
    train, held_out = opposites.split(chosen.n_held_out)
    if len(train.positive) < needed:
        reporter.say(
            f"{len(train.positive)} prompts for {needed} examples: some are seen more than once"
        )
    texts = [loaded.chat.example_ids(e) for e in (*held_out.positive, *held_out.negative)]
    start = token_distributions(
        loaded.model, texts, pad_id=loaded.pad_id, batch_size=chosen.batch_size
    )
    return ReboundCase(model, load_options, out, chosen, train, held_out, proxy, start, reporter)


def _run(case: ReboundCase, seed: int, n_positive: int) -> Mapping[str, Any]:
    """Train on positive, then on negative examples, and measure on the way."""
    name = f"seed-{seed}_positive-{n_positive}"
    path = case.out / "runs" / f"{name}.json"
    if path.exists():
        found: Mapping[str, Any] = read_json(path)
        return found
    chosen, folder = case.settings, case.out / "models" / name
    per_step = chosen.how.examples_per_step
    positive = fine_tune(
        model_with(case.model, [], case.load_options),
        _drawn(case.train.positive, n_positive, seed),
        folder / "positive",
        steps=n_positive // per_step,
        how=chosen.how,
        seed=derive_seed(seed, "positive"),
    )
    negative = fine_tune(
        model_with(case.model, [positive], case.load_options),
        _drawn(case.train.negative, chosen.n_negative, seed),
        folder / "negative",
        steps=chosen.n_negative // per_step,
        how=chosen.how,
        seed=derive_seed(seed, "negative"),
        dense=folder / "dense",
        every=chosen.every,
    )
    loaded = with_live_adapter(model_with(case.model, [positive], case.load_options), negative)
    run = measured_run(case, loaded, folder / "dense", seed, n_positive)
    write_json(path, run)
    case.reporter.say(f"seed {seed}, {n_positive} positive examples: measured")
    del loaded
    release_freed_memory(collect=True)
    return run


def _drawn(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    order = numpy_generator(seed, "examples").permutation(len(examples))[:n]
    return [examples[int(i)] for i in order]


def _curve(run: Mapping[str, Any]) -> ReboundCurve:
    rows = run["rows"]
    return ReboundCurve(
        seed=rows[0]["seed"],
        n_positive=rows[0]["n_positive"],
        n_negative=tuple(row["n_negative"] for row in rows),
        score=tuple(row["score"] for row in rows),
        distance=tuple(row["distance"] for row in rows),
    )
