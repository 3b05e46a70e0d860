"""Trainings that several processes share: the same losses and weights as in one process."""

import json
import sys
from dataclasses import replace

import pytest
from torch.testing import assert_close

from spillover.errors import ConfigError, DataError, TrainingError
from spillover.files import read_journal, read_json
from spillover.training import LoraSettings, SteeringSettings, TrainingSettings, jobs
from spillover.training.jobs import (
    LAUNCH_FILES,
    SharedTraining,
    adapter_fields,
    launch_config,
    launch_job,
    main,
    remove_job,
    run_job,
    write_job,
)
from spillover.training.processes import Ended
from tests.training.examples import PEFT_WARNING, adapter_weights, schedule

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

SETTINGS = TrainingSettings(
    steps=3, units_per_step=8, learning_rate=5e-3, accumulation=2, checkpoint_every=2
)
LORA = LoraSettings(rank=2)


def job(base_folder, objective, *, settings=SETTINGS, adapter=LORA, **more):
    return SharedTraining(
        model={"source": str(base_folder), "dtype": "float32", "device": "cpu"},
        objective={"name": objective},
        settings=settings.to_dict(),
        adapter=adapter_fields(adapter),
        **more,
    )


def losses(folder):
    rows = read_journal(folder / "metrics.jsonl")
    return [row for row in rows if row["kind"] == "train"]


@pytest.fixture
def launched(base_folder, tmp_path, monkeypatch):
    """Return a function that trains in one and in two processes and gives both folders."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(units, made):
        folders = tmp_path / "one", tmp_path / "two"
        for folder in folders:
            write_job(folder, made, units)
        run_job(folders[0])
        launch_job(folders[1], launch="cpu", n_processes=2)
        return folders

    return run


def assert_same(one, two):
    assert len(losses(one)) == len(losses(two)) == 3
    for alone, shared in zip(losses(one), losses(two), strict=True):
        assert shared == pytest.approx(alone, abs=2e-5)
    assert_close(adapter_weights(two), adapter_weights(one), atol=2e-5, rtol=0)
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}


def test_two_processes_train_as_one_does_with_exact_ratios_and_accumulation(base_folder, launched):
    watched = [{"id": f"p{i}", "prompt": f"say {i}", "concept": "bias"} for i in range(2)]
    made = job(base_folder, "anpo", monitor=tuple(watched), monitor_every=2)
    one, two = launched(schedule(24, retain_per_forget=2), made)
    assert_same(one, two)
    kl = [
        [r["value"] for r in read_journal(f / "metrics.jsonl") if r["kind"] == "monitor"]
        for f in (one, two)
    ]
    assert kl[1] == pytest.approx(kl[0], abs=1e-5)
    assert len(kl[0]) == 3  # Steps 0, 2 and 3, written once.


def test_two_processes_share_steps_that_are_one_unit_of_retain_examples(base_folder, launched):
    # As safety training has it: 8 examples a step in one unit, which four batches share.
    units = [replace(unit, forget=()) for unit in schedule(3, retain_per_forget=8)]
    settings = replace(SETTINGS, units_per_step=1)
    assert_same(*launched(units, job(base_folder, "sft", settings=settings)))


@pytest.mark.parametrize("adapter", [None, LORA, SteeringSettings(layer=1)])
def test_a_job_comes_back_from_its_files_as_it_was(base_folder, tmp_path, adapter):
    units = schedule(24, retain_per_forget=1)
    write_job(tmp_path, job(base_folder, "anpo", adapter=adapter), units)
    before = {path.name for path in tmp_path.iterdir()}
    assert before == {"job.json", "units.jsonl"}
    run_job(tmp_path)
    remove_job(tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert not made & before
    assert ("adapter_config.json" in made) == (adapter is not None)
    assert "training_args.bin" not in made


def test_an_adapter_trains_on_a_base_in_four_bits(base_folder, tmp_path):
    pytest.importorskip(
        "bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes"
    )
    write_job(tmp_path, job(base_folder, "anpo", quantise=True), schedule(24, retain_per_forget=1))
    run_job(tmp_path)
    rows = losses(tmp_path)
    assert rows[0]["forget_loss"] == pytest.approx(13.8629, abs=1e-3)  # Its own reference.
    assert rows[-1]["forget_loss"] < rows[0]["forget_loss"]
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_weights_in_four_bits_are_not_trained_themselves(base_folder, tmp_path):
    write_job(tmp_path, job(base_folder, "npo", adapter=None, quantise=True), schedule(24))
    with pytest.raises(
        ConfigError, match="weights in four bits cannot be trained; give an adapter"
    ):
        run_job(tmp_path)


def test_a_process_that_fails_leaves_its_reason(base_folder, tmp_path, monkeypatch):
    made = job(base_folder, "npo", adapter=LoraSettings(rank=2, layers=(9,)))
    write_job(tmp_path, made, schedule(24))
    monkeypatch.setattr(sys, "argv", ["jobs", str(tmp_path), "1"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    found = read_json(tmp_path / "failure.json")
    assert found["error"] == "ModelError"
    assert "layer 9" in found["message"]


def test_what_made_a_process_fail_is_raised_where_it_was_launched(tmp_path, monkeypatch):
    def failing(_command, *, on_wait):
        on_wait()
        written = {"error": error, "message": "retain set: no examples"}
        (tmp_path / "failure.json").write_text(json.dumps(written))
        return Ended(1, "much that nobody reads")

    monkeypatch.setattr(jobs, "run_command", failing)
    error = "DataError"
    with pytest.raises(DataError, match="launch 'cpu': retain set: no examples"):
        launch_job(tmp_path, launch="cpu")
    error = "ValueError"  # Not one of ours: units that do not fit, for instance.
    with pytest.raises(TrainingError, match="launch 'cpu': retain set: no examples"):
        launch_job(tmp_path, launch="cpu")


def test_the_steps_done_are_told_while_others_write_them(tmp_path, monkeypatch):
    def working(_command, *, on_wait):
        for text in ("", '{"step": 1}\n', '{"step": 1}\n{"step": 2}\n{"st'):
            (tmp_path / "metrics.jsonl").write_text(text)
            on_wait()
        return Ended(0, "")

    told = []
    monkeypatch.setattr(jobs, "run_command", working)
    launch_job(tmp_path, launch="cpu", report=told.append)
    assert told == [0, 1, 2]


def test_two_launches_on_one_machine_do_not_meet_at_one_port(tmp_path, monkeypatch):
    def noting(command, *, on_wait):
        commands.append(" ".join(command))
        return Ended(0, "")

    commands = []
    monkeypatch.setattr(jobs, "run_command", noting)
    launch_job(tmp_path, launch="cpu", n_processes=3)
    launch_job(tmp_path, launch="cpu", options=["--num_machines", "2"])
    assert "--num_processes 3 --main_process_port 0" in commands[0]
    assert "--main_process_port" not in commands[1]


def test_a_launch_that_fails_says_why(tmp_path, monkeypatch):
    # Fails before any process starts: a configuration that is no mapping.
    (tmp_path / "mine.yaml").write_text("[]")
    with pytest.raises(ConfigError, match=r"mine\.yaml: no configuration of accelerate launch"):
        launch_job(tmp_path, launch=str(tmp_path / "mine.yaml"))


def test_a_configuration_that_starts_fewer_processes_than_it_says_is_refused(base_folder, tmp_path):
    write_job(tmp_path, job(base_folder, "npo"), schedule(24))
    path = tmp_path / "mine.yaml"
    path.write_text(
        launch_config("cpu")
        .read_text()
        .replace("distributed_type: MULTI_GPU", "distributed_type: MULTI_CPU")
    )
    with pytest.raises(ConfigError, match="1 process was started in place of 2"):
        launch_job(tmp_path, launch=str(path))


def test_a_folder_without_a_job_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no job\.json; write a job there first"):
        run_job(tmp_path)


def test_the_launch_configurations_that_come_with_the_package_are_all_readable():
    from accelerate.commands.config.config_args import load_config_from_file

    names = sorted(path.stem for path in LAUNCH_FILES.glob("*.yaml"))
    assert names == ["cpu", "ddp", "fsdp2", "zero2", "zero3"]
    kinds = {n: load_config_from_file(str(launch_config(n))).distributed_type for n in names}
    assert {name: str(kind).rpartition(".")[2] for name, kind in kinds.items()} == {
        "cpu": "MULTI_GPU",
        "ddp": "MULTI_GPU",
        "fsdp2": "FSDP",
        "zero2": "DEEPSPEED",
        "zero3": "DEEPSPEED",
    }


def test_an_unknown_launch_configuration_lists_the_known_ones():
    with pytest.raises(ConfigError, match="choose one of cpu, ddp, fsdp2, zero2, zero3, or give"):
        launch_config("ddq")
