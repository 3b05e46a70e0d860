"""Grids: how they are read, which points they have, and what is refused before anything runs."""

import pytest

from spillover.errors import ConfigError
from spillover.study.sweep.points import grid_points, parse_grid, point_study, sweep_grid


def test_every_combination_is_a_point_the_last_key_fastest():
    points = grid_points(parse_grid(["unlearn.steps=10,20", "unlearn.beta=0.1,0.5"]))
    assert [tuple(point.settings.values()) for point in points] == [
        (10, 0.1),
        (10, 0.5),
        (20, 0.1),
        (20, 0.5),
    ]
    assert points[0].name.startswith("steps=10_beta=0.1-")


def test_names_are_the_same_in_a_larger_grid_and_differ_for_keys_that_end_alike():
    alone = grid_points(parse_grid(["unlearn.steps=10"]))
    larger = grid_points(parse_grid(["unlearn.steps=5,10"]))
    other = grid_points(parse_grid(["contain.steps=10"]))
    assert alone[0].name == larger[1].name
    assert alone[0].name != other[0].name


def test_names_are_fit_for_files_whatever_the_values_are():
    (point,) = grid_points(parse_grid(["model.source=../a b/'c:d'"]))
    assert "/" not in point.name
    assert " " not in point.name


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["unlearn.steps"], "write key=a,b,c"),
        (["unlearn.steps="], "write key=a,b,c"),
        (["=1,2"], "write key=a,b,c"),
        (["a=1", "a=2"], "a is given twice"),
        (["seeds=1,2"], "seeds cannot be swept; use --seeds"),
        (["a=1,1"], "a value is given twice"),
        (["a=[1"], "are not YAML values"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(grid, message):
    with pytest.raises(ConfigError, match=message):
        parse_grid(grid)


PUBLISHED = {"unlearn.steps": (10, 20), "contain.steps": (5,)}


def test_the_grid_of_the_study_is_taken_where_none_is_given():
    assert sweep_grid([], PUBLISHED) == {"unlearn.steps": [10, 20], "contain.steps": [5]}


def test_a_key_alone_takes_the_study_s_values_and_one_with_values_takes_these():
    assert sweep_grid(["unlearn.steps"], PUBLISHED) == {"unlearn.steps": [10, 20]}
    given = ["contain.steps", "unlearn.steps=7", "unlearn.beta=0.1,0.5"]
    assert sweep_grid(given, PUBLISHED) == {
        "contain.steps": [5],
        "unlearn.steps": [7],
        "unlearn.beta": [0.1, 0.5],
    }


@pytest.mark.parametrize(
    ("grid", "published", "message"),
    [
        ([], {}, r"a sweep needs a grid, and the study has none; give --grid key=a,b,c"),
        (["unlearn.beta"], PUBLISHED, r"--grid 'unlearn\.beta': write key=a,b,c"),
        (["unlearn.steps", "unlearn.steps=1"], PUBLISHED, r"unlearn\.steps is given twice, alone"),
        ([], {"seeds": ((0,), (1,))}, r"grid\.seeds: it cannot be swept; take it out"),
        ([], {"unlearn.steps": ()}, r"grid\.unlearn\.steps: it has no values"),
        ([], {"unlearn.steps": (1, 1)}, r"grid\.unlearn\.steps: a value is given twice"),
        (
            [],
            {"a": tuple(range(40)), "b": tuple(range(26))},
            r"1040 points, more than 1000: a \(40\), b \(26\); name the keys that you want",
        ),
    ],
)
def test_a_grid_of_the_study_that_cannot_be_swept_is_refused(grid, published, message):
    with pytest.raises(ConfigError, match=message):
        sweep_grid(grid, published)


def test_a_point_is_the_study_with_its_settings_and_seeds(study_files):
    (point,) = grid_points(parse_grid(["unlearn.learning_rate=5e-4"]))
    config = point_study(
        study_files / "study.yaml", point, overrides=["unlearn.steps=3"], n_seeds=2
    )
    assert (config.unlearn.learning_rate, config.unlearn.steps) == (5e-4, 3)
    assert config.seeds == (0, 1)


def test_a_setting_that_the_study_does_not_take_names_point_and_key(study_files):
    _, point = grid_points(parse_grid(["unlearn.steps=3,0"]))
    with pytest.raises(ConfigError, match=r"point steps=0-\w{6}: .*unlearn\.steps"):
        point_study(study_files / "study.yaml", point)
