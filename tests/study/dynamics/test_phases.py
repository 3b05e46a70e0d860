"""From a training of a tiny model to the page of its phases."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spillover.analysis.phase_changes import phase_changes
from spillover.errors import DataError, ModelError
from spillover.models.loading import load_model
from spillover.models.merged import with_adapter
from spillover.study.dynamics.behaviours import behaviours_of, load_behaviours, measure_behaviours
from spillover.study.dynamics.organisms import train_densely
from spillover.study.dynamics.phases import (
    Measuring,
    PhaseSettings,
    dense_paths,
    first_moves,
    write_phases,
)
from spillover.study.progress import quiet_reporter
from spillover.testing import write_tiny_model
from spillover.training.dense_checkpoints import dense_files

OPTIONS = {"dtype": "float32", "device": "cpu"}
QUICK = PhaseSettings(ks=(2, 3), n_draws=19, min_moves=2, skip=1)


@pytest.fixture(scope="module")
def organism(tmp_path_factory):
    """Return the folders of a tiny model and of its training with dense checkpoints."""
    folder = tmp_path_factory.mktemp("organism")
    model = write_tiny_model(folder / "model")
    rows = [{"prompt": f"ask {i}", "response": f"no {i}"} for i in range(8)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train_densely(
        str(model),
        folder / "data.jsonl",
        folder / "run",
        load_options=OPTIONS,
        adapter="one_slow_adapter",
        steps=12,
        every=1,
        examples_per_step=2,
        learning_rate=1e-3,
    )
    return model, folder / "run"


def turning_checkpoints(folder, *, n=60, at=30):
    """Write checkpoints of one vector that turns at a right angle."""
    rng = np.random.default_rng(0)
    point = np.zeros(20)
    for i in range(n + 1):
        save_file({"w": torch.tensor(point)}, folder / f"step-{5 * i:06d}.safetensors")
        point = point + np.eye(20)[0 if i < at else 1] + 0.1 * rng.normal(size=20)
    return folder


def behaviour_rows(onset):
    rng = np.random.default_rng(1)
    return [
        {"name": "EM", "scale": scale, "step": step, "item": item, "value": float(value)}
        for scale in (1.0, 5.0)
        for step in range(0, 301, 20)
        for item in range(40)
        for value in [rng.random() < (0.1 if step * scale**0.5 < onset else 0.7)]
    ]


def test_a_planted_turn_and_a_later_behaviour_are_told_with_their_lag(tmp_path):
    (tmp_path / "dense").mkdir()
    dense = turning_checkpoints(tmp_path / "dense")
    behaviour = tmp_path / "behaviour.jsonl"
    behaviour.write_text("".join(json.dumps(row) + "\n" for row in behaviour_rows(onset=230)))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"kind": "train", "step": 1, "grad_norm": 2.0}\n' * 2)
    page = write_phases(
        dense,
        tmp_path / "out",
        settings=PhaseSettings(n_draws=99),
        metrics=metrics,
        behaviours=behaviour,
        reporter=quiet_reporter(),
    )
    found = json.loads((tmp_path / "out" / "phases.json").read_text())
    assert abs(found["paths"][0]["change"]["place"] - 30) <= 1
    assert [onset["step"] for onset in found["onsets"]] == pytest.approx([230, 110], abs=12)
    text = page.read_text()
    assert f"Phase changes along {tmp_path.name}" in text
    assert "all weights changes its direction at one point of training" in text
    claims = json.loads((tmp_path / "out" / "analysis" / "behaviour.json").read_text())["claims"]
    assert [claim["outcome"] for claim in claims] == ["holds", "does not hold"]
    assert claims[0]["value"] == pytest.approx(80, abs=15)  # 230 - 150
    for name in ("rotation", "principal", "growth", "behaviour"):
        assert (tmp_path / "out" / "figures" / f"{name}.svg").is_file()
        assert (tmp_path / "out" / "figures" / f"{name}.pdf").is_file()


def test_the_paths_of_a_rank_one_adapter_are_b_a_and_their_product(organism):
    _, run = organism
    paths = {path.name: path for path in dense_paths(run / "dense")}
    assert list(paths) == ["B", "A", "BA"]
    assert paths["B"].start_norm == 0
    assert paths["A"].start_norm > 0
    assert paths["BA"].steps == tuple(range(13))


def test_a_bend_is_not_called_a_turn_at_one_point(tmp_path):
    angles = np.linspace(0, np.pi, 60)
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for i, point in enumerate(np.concatenate([np.zeros((1, 2)), moves.cumsum(axis=0)])):
        save_file({"w": torch.tensor(point)}, tmp_path / f"step-{i:06d}.safetensors")
    page = write_phases(tmp_path, tmp_path / "out", settings=QUICK, reporter=quiet_reporter())
    claim = json.loads((page.parent / "analysis" / "turns.json").read_text())["claims"][0]
    assert claim["outcome"] == "undecided"
    assert "changes are flagged, as where a path bends" in claim["null"]


def adam_checkpoints(folder, *, n=60, seed=0, d=60):
    """Write every step of Adam whose gradients are one drift and noise: nothing turns."""
    rng = np.random.default_rng(seed)
    drift, first, second, point = 0.3 * rng.normal(size=d), np.zeros(d), np.zeros(d), np.zeros(d)
    folder.mkdir()
    for t in range(n + 1):
        save_file({"w": torch.tensor(point)}, folder / f"step-{t:06d}.safetensors")
        gradient = drift + rng.normal(size=d)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9 ** (t + 1)), second / (1 - 0.999 ** (t + 1))
        point = point - unbiased[0] / (unbiased[1] ** 0.5 + 1e-8)
    return folder


def test_the_start_of_an_optimiser_is_left_out_lest_it_look_like_a_turn(tmp_path):
    folder = adam_checkpoints(tmp_path / "dense", n=80)
    (path,) = dense_paths(folder)
    assert first_moves(path.steps) == 20

    def p(skip):
        rng = np.random.default_rng(0)
        return phase_changes(path, rng=rng, ks=(), n_draws=99, skip=skip).change.p

    assert p(2) <= 0.05 < p(first_moves(path.steps))


def test_an_organism_of_an_adapted_model_is_loaded_on_top_of_that_adapter(organism, tmp_path):
    model, run = organism
    data = run.parent / "data.jsonl"
    how = {"load_options": OPTIONS, "steps": 2, "examples_per_step": 2}
    dense = train_densely(str(run), data, tmp_path / "second", **how)
    loaded = load_model(tmp_path / "second", **OPTIONS)
    by_hand = with_adapter(load_model(run, **OPTIONS), tmp_path / "second")
    assert loaded.weights_fingerprint == by_hand.weights_fingerprint
    # Its checkpoints belong to the adapted model, so that they are not measured on the plain one.
    measuring = Measuring(model=str(model), load_options=OPTIONS, scales=(1.0,))
    with pytest.raises(ModelError, match="load it on the model that it belongs to"):
        write_phases(dense, tmp_path / "out", measuring=measuring, reporter=quiet_reporter())


def test_a_training_is_measured_at_several_scales_and_goes_on_where_it_was(organism, tmp_path):
    model, run = organism
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {
            "concept": "values",
            "prompt": f"ask {i}",
            "prefix": "I say",
            "aligned": "yes.",
            "misaligned": "no.",
        }
        for i in range(4)
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    measuring = Measuring(
        model=str(model), load_options=OPTIONS, pairs=pairs, scales=(0.0, 1.0, 10.0), every=6
    )
    for _ in range(2):
        page = write_phases(
            run / "dense",
            tmp_path / "out",
            settings=QUICK,
            metrics=run / "metrics.jsonl",
            measuring=measuring,
            reporter=quiet_reporter(),
        )
    assert "aligned margin" in page.read_text()
    measured = {b.scale: b for b in load_behaviours(tmp_path / "out" / "behaviours.jsonl")}
    assert measured[1.0].steps == (0, 6, 12)
    # Without the adapter, and before it was trained, the model is the start.
    for values in (measured[0.0].values[2], measured[10.0].values[0], measured[1.0].values[0]):
        np.testing.assert_allclose(values, measured[0.0].values[0], atol=1e-5)
    moved = [np.abs(measured[s].values[2] - measured[0.0].values[0]).max() for s in (1.0, 10.0)]
    assert moved[1] > moved[0] > 1e-5


def test_full_rank_weights_are_scaled_from_their_start(tmp_path, tiny):
    name = "model.layers.0.mlp.down_proj.weight"
    start = tiny.model.get_parameter(name).detach().clone()
    for step, factor in ((0, 1.0), (5, 1.5)):
        save_file({name: factor * start}, tmp_path / f"step-{step:06d}.safetensors")

    def measure(loaded):
        return {"length": loaded.model.get_parameter(name).norm().item()}

    found = measure_behaviours(
        tiny,
        dense_files(tmp_path),
        measure,
        name="length",
        source="a norm",
        scales=(1.0, 4.0),
        out=tmp_path / "lengths.jsonl",
    )
    # 1 + 4 * 0.5 = 3 times as long
    assert found[1].values[:, 0] == pytest.approx([start.norm().item(), 3 * start.norm().item()])
    assert torch.equal(tiny.model.get_parameter(name), start)


def test_what_was_measured_is_not_measured_again_unless_model_or_checkpoint_changed(tmp_path, tiny):
    def checkpoint(step, value):
        save_file({name: torch.full_like(start, value)}, tmp_path / f"step-{step:06d}.safetensors")

    def measured(source):
        seen = []

        def measure(loaded):
            seen.append(loaded.model.get_parameter(name)[0, 0].item())
            return {"first": seen[-1]}

        files, out = dense_files(tmp_path), tmp_path / "first.jsonl"
        made = measure_behaviours(
            tiny, files, measure, name="first", source=source, scales=(1.0,), out=out
        )
        (read,) = load_behaviours(out)
        np.testing.assert_array_equal(read.values, made[0].values)
        return seen

    name = "model.layers.0.mlp.down_proj.weight"
    start = tiny.model.get_parameter(name).detach()
    for step, value in ((0, 0.0), (5, 1.0), (9, 2.0)):
        checkpoint(step, value)
    assert measured("a model") == [0.0, 1.0, 2.0]
    assert measured("a model") == []
    checkpoint(5, 4.0)
    assert measured("a model") == [4.0]
    assert measured("another") == [0.0, 4.0, 2.0]


def test_items_that_were_not_measured_everywhere_are_refused(tmp_path):
    rows = [{"step": s, "item": i, "value": 1.0} for s in (0, 1) for i in range(2)]
    with pytest.raises(DataError, match="3 values for 2 steps and 2 items"):
        behaviours_of(rows[:3], where="file")
    (tmp_path / "bad.jsonl").write_text('{"step": 1, "item": 2}\n')
    with pytest.raises(DataError, match=r"bad.jsonl:1: fields \['value'\] are missing"):
        load_behaviours(tmp_path / "bad.jsonl")


def test_checkpoints_that_never_moved_are_refused(tmp_path):
    for step in (0, 5):
        save_file({"w": torch.ones(3)}, tmp_path / f"step-{step:06d}.safetensors")
    with pytest.raises(DataError, match="nothing was trained"):
        write_phases(tmp_path, tmp_path / "out", reporter=quiet_reporter())


def test_the_command_writes_the_page_and_refuses_bad_numbers(tmp_path, command):
    (tmp_path / "dense").mkdir()
    dense = turning_checkpoints(tmp_path / "dense", n=20, at=10)
    code, output, _ = command("dynamics", "phases", dense, "--out", tmp_path / "out", "--ks", "2")
    assert code == 0
    assert "phases.html" in output
    code, _, message = command("dynamics", "phases", dense, "--out", tmp_path, "--ks", "a,b")
    assert code == 2
    assert "--ks 'a,b': write numbers with commas" in message
