"""Rows of conditions to one result a target, condition and model."""

import pytest

from spillover.report.stress import MEASURES, StressRow, stress_results


def row(*, condition="plain", seed=0, about="safety", target=0.2, **changed):
    triples = {
        key: value
        for measure in MEASURES
        for key, value in (
            (measure, None),
            (f"{measure}_low", None),
            (f"{measure}_high", None),
        )
    }
    known = {"target": target, "target_low": target - 0.1, "target_high": target + 0.1}
    return StressRow(
        condition=condition,
        model=f"contained-{about}",
        role="contained",
        target_concept=about,
        about=about,
        seed=seed,
        n_invalid=1,
        aligned_target=0.8,
        **{**triples, **known, **changed},
    )


def test_one_seed_keeps_its_interval_over_prompts():
    (found,) = stress_results([row()])
    assert (found.target.value, found.target.low, found.target.high) == (
        0.2,
        pytest.approx(0.1),
        pytest.approx(0.3),
    )
    assert found.recovered.value is None


def test_seeds_are_pooled_within_a_condition():
    rows = [row(seed=s, target=t) for s, t in enumerate((0.1, 0.2, 0.3))]
    plain, context = stress_results([*rows, row(condition="about_it", target=0.9)])
    assert plain.target.value == pytest.approx(0.2)
    # t interval of three seeds: 4.303 * 0.1 / sqrt(3) = 0.248; cut at 0.
    assert (plain.target.low, plain.target.high) == (0.0, pytest.approx(0.448, abs=1e-3))
    assert (plain.n_seeds, plain.n_invalid) == (3, 3)
    assert context.condition == "about_it"


def test_targets_and_conditions_stay_apart_in_the_order_given():
    rows = [row(condition=c, about=a) for c in ("plain", "further") for a in ("safety", "bias")]
    found = [(result.about, result.condition) for result in stress_results(rows)]
    assert found == [(a, c) for c in ("plain", "further") for a in ("safety", "bias")]
