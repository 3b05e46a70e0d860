"""What is too little or does not fit is said before models have been read for minutes."""

from types import SimpleNamespace

import pytest

from spillover.analysis.erosion_pairs import MeasuredErosion, pairs_lack
from spillover.errors import DataError, ModelError
from spillover.study.explaining.analyses import READINGS
from spillover.study.explaining.requirements import require_enough, require_same_shape

OF_SETS, OF_PROMPTS = READINGS["traces"], READINGS["concept_states"]


def case(*, n_rows=4, n_prompts=4, n_too_long=0):
    return SimpleNamespace(
        tokens={"insecure": [0] * 5, "plain": [0] * n_rows},
        n_too_long={"insecure": 0, "plain": n_too_long},
        prompts={"safety": [0] * n_prompts, "benign": [0] * 4},
    )


def test_four_of_each_are_enough():
    require_enough(case(), READINGS.values())


def test_a_set_of_three_is_refused_unless_no_set_is_read():
    with pytest.raises(DataError, match="plain: 3 responses; give at least 4 of each set"):
        require_enough(case(n_rows=3), [OF_SETS])
    require_enough(case(n_rows=3), [OF_PROMPTS])


def test_prompts_that_were_too_long_are_counted():
    with pytest.raises(DataError, match="0 responses, without 6 whose prompts are too long"):
        require_enough(case(n_rows=0, n_too_long=6), [OF_SETS])


def test_a_concept_of_three_prompts_is_refused_unless_no_prompt_is_read():
    with pytest.raises(DataError, match="safety: 3 prompts; give at least 4 of each concept"):
        require_enough(case(n_prompts=3), [OF_SETS, OF_PROMPTS])
    require_enough(case(n_prompts=3), [OF_SETS])


def loaded(*, n_layers, d_model=8):
    return SimpleNamespace(
        source="m", architecture=SimpleNamespace(n_layers=n_layers, d_model=d_model)
    )


def test_models_of_other_shapes_are_refused():
    shapes = {}
    require_same_shape(loaded(n_layers=2), shapes, "base")
    require_same_shape(loaded(n_layers=2), shapes, "aligned")
    with pytest.raises(ModelError, match="base has 2 of 8, aligned has 2 of 8, tuned has 3 of 8"):
        require_same_shape(loaded(n_layers=3), shapes, "tuned")


def eroded(erosions):
    return tuple(
        MeasuredErosion(intervention=name, target_concept="safety", concept=c, erosion=erosion)
        for name in ("unlearned", "contained")
        for c, erosion in zip("abc", erosions, strict=True)
    )


@pytest.mark.parametrize(
    ("measured", "lack"),
    [
        (eroded([0.1, 0.2, 0.3]), None),
        (eroded([0.0, 0.0, 0.0]), "every erosion is 0.0; there is nothing to predict"),
        (eroded([0.1, 0.2, 0.3])[:4], "4 pairs of 3 concepts; a prediction needs at least five"),
    ],
)
def test_what_keeps_erosion_from_being_foretold_is_said(measured, lack):
    found = pairs_lack(["safety", "a", "b", "c"], measured)
    assert found is None if lack is None else found.startswith(lack)


def test_a_target_without_prompts_keeps_erosion_from_being_foretold():
    found = pairs_lack(["a", "b", "c"], eroded([0.1, 0.2, 0.3]))
    assert found == "target concepts ['safety'] have no entanglement; measure it for all targets"
