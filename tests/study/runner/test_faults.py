"""What goes wrong with a training of a study is said in words, and what was good is kept."""

import errno
import shutil
from pathlib import Path

import pytest

from spillover.errors import DataError, ModelError, StorageError, TrainingError
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run as runner
from spillover.study.runner import run_study
from spillover.testing import byte_tokenizer, write_tiny_model
from tests.study.running import run_stage


def test_a_training_that_breaks_names_the_last_good_checkpoint_and_publishes_nothing(collected):
    # The first step has a learning rate of 0, the second one that overflows every weight.
    broken = ("learning_rate=1e39", "scheduler=constant_with_warmup", "warmup_steps=1")
    context = collected(*(f"unlearn.{key}" for key in (*broken, "checkpoint_every=1")))
    folder = context.folder.model("unlearned-safety")
    kept = folder / "training" / "checkpoint-1"
    message = f"weights are not finite after step 2; the last good checkpoint, {kept}, is kept. Low"
    with pytest.raises(TrainingError, match=message):
        run_stage(context, "unlearned-safety")
    assert (kept / "adapter_model.safetensors").exists()
    assert not (folder / "metrics.jsonl").exists()


def test_a_model_that_refuses_nothing_gives_no_forget_set(small_study, tmp_path):
    model = write_tiny_model(tmp_path / "model")  # Random: what it says is no refusal.
    config = small_study(f"model.source={model}", "collect.min_forget=1", "prompts.limit=4")
    message = "forget set: the aligned model refused 0 training prompts of 'safety', at least 1 are"
    with pytest.raises(DataError, match=message):
        run_study(config, tmp_path / "run", reporter=quiet_reporter())


def test_a_concept_with_too_few_prompts_for_its_share_says_how_many_would_do(collected):
    context = collected("contain.steps=40")
    path = context.folder.examples("collected")
    lines = path.read_text().splitlines()
    few = [line for line in lines if "disinformation" in line][:1]
    path.write_text("\n".join([*few, *(x for x in lines if "disinformation" not in x)]) + "\n")
    # 40 steps x 4 forget examples x 2 retain ones, of which 3/8 are for each other concept.
    message = r"'disinformation' has 1 examples for 120 draws, .* collect 3 or more, train fewer"
    with pytest.raises(DataError, match=message):
        run_stage(context, "contained-safety")
    assert not (context.folder.model("contained-safety") / "training").exists()


@pytest.fixture
def given_adapter(finished_run, tmp_path):
    """Return the folder of an adapter that a test may damage."""
    return Path(shutil.copytree(finished_run.model("contained-safety"), tmp_path / "given"))


def test_an_adapter_with_another_tokenizer_is_refused_in_its_first_stage(collected, given_adapter):
    byte_tokenizer().save_pretrained(given_adapter)
    context = collected(f"model.adapter={given_adapter}")
    with pytest.raises(ModelError, match="the adapter's tokenizer differs from its base model's"):
        run_stage(context, "unlearned-safety")


def test_an_adapter_that_was_cut_short_is_refused_in_words(collected, given_adapter):
    weights = given_adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    context = collected(f"model.adapter={given_adapter}")
    with pytest.raises(ModelError, match="is damaged or was cut short"):
        run_stage(context, "unlearned-safety")


def test_a_disk_that_becomes_full_in_a_checkpoint_is_named_and_the_stage_goes_on(
    own_run, small_study, monkeypatch
):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    config = small_study("unlearn.steps=5")
    with monkeypatch.context() as patch:
        patch.setattr("torch.save", full)  # Optimizer states, within a checkpoint.
        with pytest.raises(StorageError, match="the disk became full in stage 'unlearned-safety'"):
            run_study(config, own_run.path, reporter=quiet_reporter())
    assert not own_run.stage("unlearned-safety").exists()
    work = own_run.model("unlearned-safety") / "training"
    assert list(work.glob("checkpoint-*/whole")) == []
    run_study(config, own_run.path, reporter=quiet_reporter())
    assert own_run.stage("unlearned-safety").exists()


def test_a_launched_process_that_ends_on_a_full_disk_is_a_full_disk(tmp_path, monkeypatch):
    def ended_without_a_word():
        raise TrainingError("launch 'cpu': a process ended without a word of its own")

    with (
        pytest.raises(TrainingError, match="without a word"),
        runner._naming_full_disk("align", tmp_path),
    ):
        ended_without_a_word()
    usage = type("Usage", (), {"free": 4096})
    monkeypatch.setattr(runner.shutil, "disk_usage", lambda _path: usage)
    with (
        pytest.raises(StorageError, match="the disk became full in stage 'align'; free some"),
        runner._naming_full_disk("align", tmp_path),
    ):
        ended_without_a_word()
