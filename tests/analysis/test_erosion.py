"""Erosion by layer: known fractions are read back, bands hold, and nothing is found in nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from spillover.analysis.alignment_directions import Projections
from spillover.analysis.erosion import SetProjections, erosion_by_layer
from spillover.analysis.model_projections import project_models
from tests.analysis.chains import EVERYWHERE, LAST_LINEAR, chain, exchanges


def projections(values):
    """One sample an example: values are direction, layer, example."""
    values = np.asarray(values, dtype=np.float64)
    return Projections(
        definition="flattened",
        layers=tuple(range(values.shape[1])),
        total=values,
        squares=values**2,
        n_samples=np.ones(values.shape[2]),
    )


def planted(rng, *, base, aligned, tuned, n=60, noise=0.5, n_random=0):
    """Projections about given means a layer, with noise that the three models share in part."""
    shared = rng.normal(0, 3, size=(1 + n_random, 1, n))

    def around(means):
        means = np.asarray(means, dtype=np.float64)
        rows = np.zeros((1 + n_random, len(means), n))
        rows[0] = means[:, None]
        return projections(rows + shared + rng.normal(0, noise, size=rows.shape))

    return SetProjections(
        name="planted", base=around(base), aligned=around(aligned), tuned=around(tuned)
    )


OTHERS = exchanges(10, seed=2)


def models_eroded_by(fraction, loaded, *, parameters, direction_examples=OTHERS, **settings):
    base, aligned, tuned = chain(loaded, fraction=fraction, parameters=parameters)
    found = project_models(
        base,
        aligned,
        tuned,
        direction_examples=direction_examples,
        sets={"other": OTHERS},
        generator=torch.Generator().manual_seed(0),
        **{"n_random": 0, **settings},
    )
    return erosion_by_layer(found["other"], rng=np.random.default_rng(0), n_resamples=200)


def test_means_separations_and_the_fraction_are_those_worked_by_hand():
    # base 0 and 2, aligned 10 and 14, tuned 7 and 9: means 1, 12, 8 and deviations 1, 2, 1.
    curve = erosion_by_layer(
        SetProjections(
            name="two",
            base=projections([[[0, 2]]]),
            aligned=projections([[[10, 14]]]),
            tuned=projections([[[7, 9]]]),
        ),
        rng=np.random.default_rng(0),
    )
    (row,) = curve.layers
    assert (row.base.value, row.aligned.value, row.tuned.value) == (1, 12, 8)
    assert (row.gap.value, row.shift.value) == (11, 4)
    assert row.fraction.value == pytest.approx(4 / 11)
    assert row.separation_aligned_base.value == pytest.approx(11 / 3)
    assert row.separation_tuned_base.value == pytest.approx(7 / 2)
    assert row.separation_aligned_tuned.value == pytest.approx(4 / 3)
    # Resamples hold the first example twice, both, or the second twice: fractions 3/10 to 5/12.
    assert row.fraction.ci_low == pytest.approx(3 / 10)
    assert row.fraction.ci_high == pytest.approx(5 / 12)


def test_tokens_as_samples_weigh_by_their_number():
    def of(total, squares):
        return Projections(
            definition="tokens",
            layers=(0,),
            total=np.array([[total]], dtype=np.float64),
            squares=np.array([[squares]], dtype=np.float64),
            n_samples=np.array([1.0, 3.0]),
        )

    # Aligned: one token of 2, three of 4: mean 14 / 4, mean square 52 / 4, variance 0.75.
    curve = erosion_by_layer(
        SetProjections(
            name="t",
            base=of([0, 0], [0, 0]),
            aligned=of([2, 12], [4, 48]),
            tuned=of([1, 6], [1, 12]),
        ),
        rng=np.random.default_rng(0),
    )
    (row,) = curve.layers
    assert row.aligned.value == pytest.approx(3.5)
    assert row.separation_aligned_base.value == pytest.approx(3.5 / np.sqrt(0.75))
    assert row.fraction.value == pytest.approx(0.5)


@pytest.mark.parametrize("definition", ["flattened", "tokens"])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.6, 1.0, 1.3])
def test_interpolated_weights_of_a_linear_layer_are_read_back_exactly(tiny, definition, fraction):
    curve = models_eroded_by(
        fraction,
        tiny,
        parameters=LAST_LINEAR,
        definition=definition,
        direction_examples=exchanges(200, seed=1),
    )
    first, last = curve.layers
    assert last.fraction.value == pytest.approx(fraction, abs=1e-4)
    assert last.fraction.ci_low == pytest.approx(fraction, abs=1e-4)
    assert last.fraction.ci_high == pytest.approx(fraction, abs=1e-4)
    # The first layer does not depend on the changed weight: no gap, so no fraction.
    assert first.fraction is None
    assert first.gap.value == 0


@pytest.mark.parametrize("definition", ["flattened", "tokens"])
def test_interpolated_weights_of_all_layers_erode_monotonically(tiny, definition):
    curves = [
        models_eroded_by(fraction, tiny, parameters=EVERYWHERE, definition=definition)
        for fraction in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for layer in (0, 1):
        values = [curve.layers[layer].fraction.value for curve in curves]
        assert values[0] == pytest.approx(0, abs=1e-5)
        assert values[-1] == pytest.approx(1, abs=1e-5)
        assert all(np.diff(values) > 0.05)


def test_batches_change_nothing(tiny):
    one = models_eroded_by(0.4, tiny, parameters=EVERYWHERE, batch_size=1)
    other = models_eroded_by(0.4, tiny, parameters=EVERYWHERE, batch_size=16)
    for layer in (0, 1):
        expected = one.layers[layer].fraction.value
        assert other.layers[layer].fraction.value == pytest.approx(expected, abs=1e-4)


def test_scaling_all_projections_changes_no_fraction():
    found = planted(np.random.default_rng(0), base=[0] * 4, aligned=[9] * 4, tuned=[6] * 4)
    scaled = dataclasses.replace(
        found,
        **{
            name: dataclasses.replace(
                getattr(found, name),
                total=-7 * getattr(found, name).total,
                squares=49 * getattr(found, name).squares,
            )
            for name in ("base", "aligned", "tuned")
        },
    )
    one = erosion_by_layer(found, rng=np.random.default_rng(1))
    other = erosion_by_layer(scaled, rng=np.random.default_rng(1))
    for row, same in zip(one.layers, other.layers, strict=True):
        assert same.fraction.value == pytest.approx(row.fraction.value)
        assert same.fraction.ci_low == pytest.approx(row.fraction.ci_low)
    assert one.onset.layer == other.onset.layer


def test_bands_hold_the_true_fraction_as_often_as_they_say():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = planted(rng, base=[0], aligned=[10], tuned=[6], n=40, noise=2)
        row = erosion_by_layer(found, rng=rng, n_resamples=300).layers[0]
        held += row.fraction.ci_low <= 0.4 <= row.fraction.ci_high
    assert 0.89 <= held / 200 <= 0.99


def test_the_planted_onset_is_found_with_a_narrow_interval():
    base, aligned = [0] * 12, [10] * 12
    tuned = [10] * 6 + [6] * 6
    found = planted(np.random.default_rng(0), base=base, aligned=aligned, tuned=tuned)
    onset = erosion_by_layer(found, rng=np.random.default_rng(1)).onset
    assert (onset.layer, onset.low, onset.high) == (6, 6, 6)
    assert onset.share_found == 1


def test_a_single_eroded_layer_is_no_onset_but_the_last_ones_are():
    base, aligned = [0] * 8, [10] * 8
    spike = [10, 10, 5, 10, 10, 10, 10, 10]
    end = [10, 10, 10, 10, 10, 10, 10, 5]
    rng = np.random.default_rng(0)
    curves = [
        erosion_by_layer(planted(rng, base=base, aligned=aligned, tuned=tuned), rng=rng)
        for tuned in (spike, end)
    ]
    assert curves[0].onset.layer is None
    assert curves[0].onset.high is None
    assert curves[1].onset.layer == 7


def test_a_model_that_did_not_erode_seldom_has_an_onset():
    rng = np.random.default_rng(3)
    onsets = [
        erosion_by_layer(
            planted(rng, base=[0] * 10, aligned=[4] * 10, tuned=[4] * 10, n=30, noise=3),
            rng=rng,
            n_resamples=200,
            threshold=0.01,
            sustain=1,
        ).onset.layer
        for _ in range(200)
    ]
    # Its critical value is two-sided over ten layers, so at most 5% in truth; 9% by chance.
    assert sum(onset is not None for onset in onsets) <= 18


def test_a_gap_that_is_not_told_from_zero_has_no_fraction():
    found = planted(np.random.default_rng(0), base=[0, 0], aligned=[0, 8], tuned=[0, 8], noise=3)
    first, last = erosion_by_layer(found, rng=np.random.default_rng(1)).layers
    assert first.fraction is None
    assert last.fraction is not None


def test_random_directions_move_less_than_the_one_that_eroded():
    rng = np.random.default_rng(0)
    found = planted(rng, base=[0, 0], aligned=[9, 9], tuned=[5, 9], n_random=99)
    first, last = erosion_by_layer(found, rng=rng, n_resamples=50).layers
    assert first.p_random == pytest.approx(0.01)
    assert last.p_random > 0.05


def test_p_values_against_random_directions_are_uniform_where_nothing_moved_along_one():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = planted(rng, base=[0], aligned=[9], tuned=[9], n=6, noise=1, n_random=19)
        # p is a multiple of 1/20; spread over its step it is uniform on [0, 1].
        value = erosion_by_layer(found, rng=rng, n_resamples=2).layers[0].p_random
        p.append(value - rng.random() / 20)
    assert kstest(p, "uniform").pvalue > 0.01


def test_the_table_and_the_figure_have_every_layer(tmp_path):
    found = planted(np.random.default_rng(0), base=[0] * 3, aligned=[9] * 3, tuned=[5] * 3)
    curve = erosion_by_layer(found, rng=np.random.default_rng(0), n_resamples=50)
    frame = curve.to_frame()
    assert frame["layer"].tolist() == [0, 1, 2]
    assert frame["fraction"].between(frame["fraction_low"], frame["fraction_high"]).all()
    curve.plot().savefig(tmp_path / "erosion.svg")
    assert (tmp_path / "erosion.svg").stat().st_size > 1000
    assert "60 examples of planted" in curve.caption


def test_projections_that_cannot_be_compared_are_refused():
    rng = np.random.default_rng(0)
    found = planted(rng, base=[0], aligned=[1], tuned=[1])
    shorter = dataclasses.replace(found, base=projections(np.zeros((1, 1, 5))))
    with pytest.raises(ValueError, match="projected in different ways"):
        erosion_by_layer(shorter, rng=rng)
    broken = dataclasses.replace(found, tuned=projections(np.full((1, 1, 60), np.nan)))
    with pytest.raises(ValueError, match="projections of tuned are not all finite"):
        erosion_by_layer(broken, rng=rng)
    with pytest.raises(ValueError, match="sustain is 0"):
        erosion_by_layer(found, rng=rng, sustain=0)
    one = {name: projections([[[1.0]]]) for name in ("base", "aligned", "tuned")}
    with pytest.raises(ValueError, match="needs at least two"):
        erosion_by_layer(SetProjections(name="one", **one), rng=rng)
