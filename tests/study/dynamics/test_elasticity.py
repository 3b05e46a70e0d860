"""Studies of resistance and rebound on a tiny model, whole and resumed."""

import json

import pytest

from spillover.errors import ConfigError, DataError
from spillover.study.dynamics.elasticity_data import load_opposites
from spillover.study.dynamics.rebound import write_rebound
from spillover.study.dynamics.rebound_measures import ReboundSettings
from spillover.study.dynamics.resistance import ResistanceSettings, write_resistance
from spillover.study.dynamics.retraining import FineTuning
from spillover.study.progress import quiet_reporter
from spillover.testing import write_tiny_model

OPTIONS = {"dtype": "float32", "device": "cpu"}
HOW = FineTuning(examples_per_step=2, learning_rate=5e-3, rank=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a random model."""
    return str(write_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def pairs(tmp_path):
    """Return a file of prompts with answers of both kinds."""
    rows = [
        {"prompt": f"ask {i}", "positive": "I cannot", "negative": f"Sure {i}"} for i in range(24)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(folder):
    return {path.name: path.read_text() for path in folder.rglob("*.json")}


def test_resistance_compares_the_same_budgets_forwards_and_back(model, tmp_path):
    rows = [{"prompt": f"ask {i}", "response": "I cannot"} for i in range(20)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ResistanceSettings(
        seeds=(0, 1), slices=2, slice_steps=2, steps=2, n_prompts=6, max_new_tokens=4, how=HOW
    )

    def write():
        return write_resistance(
            model,
            tmp_path / "out",
            load_options=OPTIONS,
            data=data,
            settings=settings,
            reporter=quiet_reporter(),
        )

    page = write()
    found = json.loads((tmp_path / "out" / "resistance.json").read_text())
    assert found["resistance"]["n_cells"] == 2
    for cell in found["cells"]:
        for side in (cell["forward"], cell["inverse"]):
            assert side["loss"] > 0
            assert side["kl"] > 0
            # A random model's answers at temperature 1: about ln(259) nats a token at most.
            assert 0 < side["entropy"] < 6
    assert "Inverse training ends with a lower loss" in page.read_text()
    assert not (page.parent / "tensors").exists()
    assert "tensors/" not in page.read_text()
    before = contents(tmp_path / "out")
    # What a kill took is made again, to the same numbers.
    (tmp_path / "out" / "cells" / "seed-1_1-to-2.json").unlink()
    assert write() == page
    assert contents(tmp_path / "out") == before
    with pytest.raises(ConfigError, match="choose another --out"):
        write_resistance(
            model, tmp_path / "out", load_options=OPTIONS, settings=settings, data=None
        )


def test_rebound_is_measured_from_the_trained_model_on(model, pairs, tmp_path):
    settings = ReboundSettings(
        seeds=(0, 1),
        n_positive=(2, 12),
        n_negative=12,
        every=1,
        n_held_out=4,
        n_proxy=3,
        max_new_tokens=4,
        pretraining_tokens=1e6,
        threshold=1e-4,
        how=HOW,
    )

    def write(**changes):
        return write_rebound(
            model,
            tmp_path / "out",
            **{
                "load_options": OPTIONS,
                "data": pairs,
                "settings": settings,
                "reporter": quiet_reporter(),
                **changes,
            },
        )

    page = write()
    found = json.loads((tmp_path / "out" / "rebound.json").read_text())
    assert [(c["seed"], c["n_positive"]) for c in found["curves"]] == [
        (0, 2),
        (0, 12),
        (1, 2),
        (1, 12),
    ]
    for few, many in zip(found["curves"][::2], found["curves"][1::2], strict=True):
        assert few["n_negative"] == [0, 2, 4, 6, 8, 10, 12]
        # More positive training leads further away and prefers positive answers more.
        assert many["distance"][0] > few["distance"][0] > 0
        assert many["score"][0] > few["score"][0]
        assert many["score"][-1] < many["score"][0]
    text = page.read_text()
    assert "With 12 positive examples the score falls faster than with 2" in text
    assert "theorem 4.2" in text
    assert "the same negative ones take more of the score away" in text
    n = sum(run["examples_to_threshold"] is not None for run in found["rebounds"])
    threshold = found["rebounds"][0]["threshold"]
    assert f"A distance of {threshold:g} nats a token was reached in {n} of 4 runs" in text
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "runs" / "seed-0_positive-12.json").unlink()
    write()
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_positive": (3,)}, r"examples \[3\] are no multiples of 2"),
        ({"n_negative": 4, "every": 2}, "2 measurements of a curve"),
        ({"seeds": ()}, "0 seeds"),
    ],
)
def test_settings_that_give_no_curve_are_refused(model, tmp_path, changes, message):
    settings = ReboundSettings(**{"n_positive": (2,), "n_negative": 12, "how": HOW, **changes})
    with pytest.raises(ConfigError, match=message):
        write_rebound(model, tmp_path, load_options=OPTIONS, settings=settings)


def test_one_seed_or_one_slice_shows_no_resistance(model, tmp_path):
    with pytest.raises(ConfigError, match="1 seeds and 3 slices"):
        write_resistance(
            model, tmp_path, load_options=OPTIONS, settings=ResistanceSettings(seeds=(0,))
        )


def test_pairs_that_lack_an_answer_are_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "ask", "positive": "no"}\n')
    with pytest.raises(DataError, match=r"pairs.jsonl:1: field 'negative' is missing"):
        load_opposites(path)


def test_the_commands_refuse_numbers_that_are_none(tmp_path, command):
    for name in ("resistance", "rebound"):
        code, _, message = command("dynamics", name, "nowhere", "--out", tmp_path, "--seeds", "one")
        assert code == 2
        assert "--seeds 'one': write numbers" in message
