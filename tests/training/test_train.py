"""Whole trainings of tiny models: killed and resumed, their folders, and what they refuse."""

import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.testing import assert_close
from transformers import TrainerCallback

from spillover.files import read_journal
from spillover.models.loading import load_model
from spillover.models.logprobs import next_token_logprobs
from spillover.records import Prompt
from spillover.training import (
    LoraSettings,
    MonitorSettings,
    TrainingSettings,
    make_objective,
    train,
)
from spillover.training.callbacks import WHOLE
from tests.training.examples import PEFT_WARNING, Interruption, StopAt, schedule

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

SETTINGS = TrainingSettings(
    steps=6,
    units_per_step=4,
    learning_rate=5e-3,
    scheduler="linear",
    warmup_steps=2,
    accumulation=2,
    checkpoint_every=2,
    seed=3,
)
MONITOR = MonitorSettings(
    prompts=tuple(Prompt(id=f"p{i}", prompt=f"say {i}", concept="bias") for i in range(3)), every=2
)
ADAPTER_FILES = {"adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"}


LORA = LoraSettings(rank=2, dropout=0.2)


def run(loaded, folder, *, lora=LORA, **options):
    return train(
        loaded,
        schedule(24, retain_per_forget=1),
        objective=make_objective("anpo"),
        folder=folder,
        settings=SETTINGS,
        lora=lora,
        **options,
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(base_folder, tmp_path_factory):
    """Return the contents of a folder whose training was never stopped, by whether it watched."""
    found = {}
    for monitor in (None, MONITOR):
        folder = tmp_path_factory.mktemp("uninterrupted")
        run(load_model(base_folder, dtype="float32", device="cpu"), folder, monitor=monitor)
        found[monitor is not None] = contents(folder)
    return found


@pytest.mark.parametrize(
    ("step", "watched"),
    # Checkpoints are at 2, 4 and 6; None is after the last step, before the result is saved.
    [(1, True), (2, False), (3, True), (5, False), (6, True), (None, False), (None, True)],
)
def test_a_training_that_was_killed_resumes_to_the_same_bytes(
    fresh, tmp_path, uninterrupted, step, watched
):
    monitor = MONITOR if watched else None
    with pytest.raises(Interruption):
        run(fresh(), tmp_path, monitor=monitor, callbacks=[StopAt(step)])
    run(fresh(), tmp_path, monitor=monitor)
    assert contents(tmp_path) == uninterrupted[watched]


def test_a_training_that_was_killed_again_and_again_resumes_to_the_same_bytes(
    fresh, tmp_path, uninterrupted
):
    for step in (1, 3, 4, 5):
        with pytest.raises(Interruption):
            run(fresh(), tmp_path, monitor=MONITOR, callbacks=[StopAt(step)])
    run(fresh(), tmp_path, monitor=MONITOR)
    assert contents(tmp_path) == uninterrupted[True]


def test_a_resumed_training_does_only_the_steps_that_are_missing(fresh, tmp_path):
    with pytest.raises(Interruption):
        run(fresh(), tmp_path, callbacks=[StopAt(5)])
    done = []
    run(fresh(), tmp_path, report=done.append)
    assert done == [5, 6]


def test_a_checkpoint_that_was_cut_short_is_removed_and_not_used(fresh, tmp_path, uninterrupted):
    with pytest.raises(Interruption):
        run(fresh(), tmp_path, callbacks=[StopAt(5)])
    latest = tmp_path / "checkpoint-4"
    (latest / WHOLE).unlink()
    (latest / "adapter_model.safetensors").write_bytes(b"cut")
    done = []
    run(fresh(), tmp_path, report=done.append)
    assert done == [3, 4, 5, 6]
    assert contents(tmp_path) == uninterrupted[False]


def test_a_metrics_line_that_was_cut_short_is_written_again(fresh, tmp_path, uninterrupted):
    with pytest.raises(Interruption):
        run(fresh(), tmp_path, callbacks=[StopAt(3)])
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "train", "st')
    run(fresh(), tmp_path)
    assert contents(tmp_path) == uninterrupted[False]


def test_full_rank_training_resumes_to_the_same_bytes(fresh, tmp_path):
    run(fresh(), tmp_path / "whole", lora=None)
    with pytest.raises(Interruption):
        run(fresh(), tmp_path / "killed", lora=None, callbacks=[StopAt(3)])
    run(fresh(), tmp_path / "killed", lora=None)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_the_folder_holds_the_adapter_and_its_metrics_and_nothing_is_printed(
    fresh, tmp_path, capfd
):
    assert run(fresh(), tmp_path) == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == ADAPTER_FILES
    assert capfd.readouterr().out == ""


def test_the_folder_loads_as_an_adapter_of_the_base_and_changes_its_answers(fresh, tmp_path):
    loaded = fresh()
    folder = run(loaded, tmp_path, lora=LoraSettings(rank=2))
    tuned, before = fresh(adapter=folder), fresh()
    ids = [before.chat.prompt_ids("bad 1"), before.chat.prompt_ids("good 2")]
    answers = [next_token_logprobs(m, ids, pad_id=0) for m in (tuned.model, loaded.model.eval())]
    assert_close(answers[0], answers[1], atol=1e-5, rtol=0)  # As the model in training ended.
    assert not torch.allclose(answers[0], next_token_logprobs(before.model, ids, pad_id=0))
    assert tuned.fingerprint != before.fingerprint


def test_another_seed_gives_another_adapter(fresh, tmp_path, uninterrupted):
    other = train(
        fresh(),
        schedule(24, retain_per_forget=1),
        objective=make_objective("anpo"),
        folder=tmp_path,
        settings=replace(SETTINGS, seed=4),
        lora=LORA,
    )
    name = "adapter_model.safetensors"
    assert contents(other)[name] != uninterrupted[False][name]


class CastsSeen(TrainerCallback):
    """Notes whether PEFT's adapters cast their input while a step is done."""

    def __init__(self):
        self.seen = set()
        self.model = None

    def on_step_end(self, args, state, control, **kwargs):
        self.model = kwargs["model"]
        self.seen |= self.casting()

    def casting(self):
        modules = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        return {module.cast_input_dtype_enabled for module in modules}


@pytest.mark.parametrize(("dtype", "casts"), [("float32", True), ("bfloat16", False)])
def test_adapters_cast_their_input_only_where_autocast_does_not(fresh, tmp_path, dtype, casts):
    watch = CastsSeen()
    folder = run(fresh(dtype=dtype), tmp_path, monitor=MONITOR, callbacks=[watch])
    assert watch.seen == {casts}
    assert watch.casting() == {True}
    rows = [row for row in read_journal(folder / "metrics.jsonl") if row["kind"] == "train"]
    assert rows[0]["forget_loss"] == pytest.approx(13.8629, abs=0.05)
    assert rows[-1]["forget_loss"] < rows[0]["forget_loss"]


def test_leaving_the_casts_out_changes_no_number(fresh, tmp_path, monkeypatch):
    lora = LoraSettings(rank=2)
    without = run(fresh(dtype="bfloat16"), tmp_path / "without", lora=lora)
    # The room's `train` is the function, which hides the module of that name.
    module = sys.modules[train.__module__]
    monkeypatch.setattr(module, "_without_input_casts", lambda *_args, **_options: nullcontext())
    assert contents(run(fresh(dtype="bfloat16"), tmp_path / "cast", lora=lora)) == contents(without)


def test_float16_trains_on_a_processor_without_autocast_for_it(fresh, tmp_path):
    folder = run(fresh(dtype="float16"), tmp_path, lora=LoraSettings(rank=2), monitor=MONITOR)
    rows = [row for row in read_journal(folder / "metrics.jsonl") if row["kind"] == "train"]
    assert rows[-1]["forget_loss"] < rows[0]["forget_loss"]


@pytest.mark.parametrize(
    ("n_units", "changes", "message"),
    [
        (23, {}, "23 units given, 24 needed for 6 steps"),
        (25, {}, "25 units given, 24 needed for 6 steps"),
        (24, {"accumulation": 3}, "accumulation 3 must divide units_per_step 4"),
        (0, {"steps": 0}, "0 units given"),
    ],
)
def test_units_must_fit_the_settings(fresh, tmp_path, n_units, changes, message):
    with pytest.raises(ValueError, match=message):
        train(
            fresh(),
            schedule(n_units),
            objective=make_objective("npo"),
            folder=tmp_path / "never",
            settings=replace(SETTINGS, **changes),
            lora=LoraSettings(rank=2),
        )
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("objective", "retain_per_forget", "message"),
    [
        ("npo", 1, "24 retain examples in 24 units, but the objective has no use for them"),
        ("anpo", 0, "0 retain examples in 24 units, but the objective needs them in every unit"),
        ("sft", 1, "24 forget examples in 24 units, but the objective has no use for them"),
    ],
)
def test_units_must_fit_the_objective(fresh, tmp_path, objective, retain_per_forget, message):
    with pytest.raises(ValueError, match=message):
        train(
            fresh(),
            schedule(24, retain_per_forget=retain_per_forget),
            objective=make_objective(objective),
            folder=tmp_path,
            settings=SETTINGS,
            lora=LoraSettings(rank=2),
        )
