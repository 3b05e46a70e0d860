"""Containment in two rounds: what is collected between them, and what the second begins with."""

import json
import shutil

import pytest
import torch

from spillover.models.lora_factors import later_factors, lora_factors, plain_lora_config
from spillover.study.artifacts import RunFolder, load_prompt_file
from spillover.study.evaluation.stages import own_words
from spillover.study.runner.plan import plan_study
from tests.study.running import run_stage

ROUNDS = (
    "contain.method=second_round",
    "contain.options={n_steps: 3}",
    "contain.adapter={rank: 4}",
    "contain.learning_rate=0.001",
    "evaluate.capability=null",
)
MODEL = "contained-safety"


def changes(folder, *, after=0):
    """Return what the adapters of a folder beyond the first `after` ranks add, by module."""
    found = later_factors(lora_factors(folder, plain_lora_config(folder)), after)
    return {name: factors.b @ factors.a for name, factors in found.items()}


def train_losses(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["kind"] == "train"]


def test_the_second_round_goes_on_from_the_first_with_steps_of_its_own(collected):
    context = collected(*ROUNDS, "contain.steps=2")
    run_stage(context, MODEL)
    first, last = context.folder.model(f"{MODEL}-round-1"), context.folder.model(MODEL)
    assert (len(train_losses(first)), len(train_losses(last))) == (2, 3)
    rank = plain_lora_config(first)["r"]
    assert plain_lora_config(last)["r"] == rank + 4
    kept = {name: factors.b @ factors.a for name, factors in _first(last, rank).items()}
    for name, change in changes(first).items():
        assert torch.equal(kept[name], change)
    assert sum(change.abs().sum() for change in changes(last, after=rank).values()) > 0


def _first(folder, rank):
    """Return the factors of the first `rank` ranks."""
    found = lora_factors(folder, plain_lora_config(folder))
    return {n: f._replace(a=f.a[:rank], b=f.b[:, :rank]) for n, f in found.items()}


def test_the_second_round_begins_with_its_own_start_as_the_reference(collected):
    context = collected(*ROUNDS, "contain.steps=2", "contain.beta=0.1")
    run_stage(context, MODEL)
    first_step = train_losses(context.folder.model(MODEL))[0]
    # At an untouched policy NPO is (2 / beta) ln 2.
    assert first_step["forget_loss"] == pytest.approx(13.863, abs=1e-2)


def test_what_is_still_refused_of_the_target_only_is_collected(collected):
    context = collected(*ROUNDS, "contain.steps=2")
    run_stage(context, MODEL)
    asked = {
        p.id for p in load_prompt_file(context.folder.prompts("train")) if p.concept == "safety"
    }
    cached = [
        json.loads(line)
        for path in context.folder.cache.glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    found = [row for row in cached if row.get("model") == f"{MODEL}-round-1"]
    assert {row["id"] for row in found} == asked


@pytest.mark.parametrize(("at_most", "n_steps"), [(0.4, 3), (0.5, 2)])
def test_there_is_a_second_round_where_more_than_a_share_is_still_refused(
    collected, monkeypatch, at_most, n_steps
):
    def every_other(context, said):
        found = own_words(context, said)
        assert len(found) == len(said)  # So the share of what is returned is a half.
        return found[::2]

    monkeypatch.setattr("spillover.study.containment.second_round.own_words", every_other)
    options = f"contain.options={{n_steps: 3, target_at_most: {at_most}}}"
    context = collected(*ROUNDS, "contain.steps=2", options)
    run_stage(context, MODEL)
    assert len(train_losses(context.folder.model(MODEL))) == n_steps


def test_where_nothing_is_refused_any_more_the_first_round_is_the_result(collected):
    context = collected(*ROUNDS, "contain.steps=12", "contain.learning_rate=0.05")
    run_stage(context, MODEL)
    first, last = context.folder.model(f"{MODEL}-round-1"), context.folder.model(MODEL)
    for name, change in changes(first).items():
        assert torch.equal(changes(last)[name], change)
    assert len(train_losses(last)) == 12


def test_both_rounds_are_outputs_so_that_other_settings_make_both_again(small_study, tmp_path):
    config, folder = small_study(*ROUNDS), RunFolder(tmp_path)
    (stage,) = [s for s in plan_study(config, folder) if s.name == MODEL]
    assert stage.outputs == (folder.model(MODEL), folder.model(f"{MODEL}-round-1"))


def test_a_kill_between_the_rounds_costs_no_training_twice(collected):
    context = collected(*ROUNDS, "contain.steps=2")
    run_stage(context, MODEL)
    first, last = context.folder.model(f"{MODEL}-round-1"), context.folder.model(MODEL)
    whole = (last / "adapter_model.safetensors").read_bytes()
    before = (first / "metrics.jsonl").stat().st_mtime_ns
    shutil.rmtree(last)
    run_stage(context, MODEL)
    assert (last / "adapter_model.safetensors").read_bytes() == whole
    assert (first / "metrics.jsonl").stat().st_mtime_ns == before
