"""`sweep`, `export` and `doctor STUDY` from the command line: what is printed, and exit codes."""

import pytest


def test_a_study_is_estimated_for_hardware_that_is_told(command):
    line = ("doctor", "narrow_unlearning", "--size", "70B", "--gpus", 8, "--gpu-memory", 80)
    eight = ("--set", "align=null", "--set", "contain.forget_per_step=8")
    code, output, _ = command(*line, *eight)
    assert code == 0
    assert "70.6 billion parameters on 8 x H100, 80 GiB each" in output
    assert "estimates, no measurements" in output
    assert "how far to trust these: measured only on the embedded model" in output
    (ddp,) = [row for row in output.splitlines() if row.split()[:3] == ["8", "x", "ddp"]]
    assert ddp.endswith("does not fit")
    (shared,) = [
        row for row in output.splitlines() if row.strip().startswith("8 x fsdp2 or zero3 ")
    ]
    assert "does not fit" not in shared


def test_what_an_estimate_leaves_out_is_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Where the recipe's files are not.
    line = ("doctor", "organisms_rank_1", "--size", "7B", "--gpus", 1)
    code, output, _ = command(*line)
    assert code == 0
    assert "not counted: finetune medical (data/bad_medical_advice.jsonl is not there)" in output
    assert "not counted: suites" in output
    assert "there is no training to place" in output
    code, output, _ = command("doctor", "insecure_code", "--scale", "embedded", *line[2:])
    assert code == 0
    assert "insecure_code_embedded: 7.62 billion parameters" in output
    assert output.count("  finetune ") == 4


def test_hardware_that_is_not_known_is_the_users_mistake(command):
    code, _, messages = command("doctor", "quickstart", "--size", "7B", "--gpus", 1, "--gpu", "Z9")
    assert code == 2
    assert "gpu 'Z9' is not known" in messages


def test_a_sweep_without_a_grid_takes_the_study_s_at_another_scale(command, tmp_path):
    study = ("sweep", "unlearning_qwen_safety", "--out", tmp_path / "s", "--dry-run")
    code, output, _ = command(*study, "--scale", "embedded")
    assert code == 0
    assert len(output.splitlines()) == 12  # 2 objectives x 2 objectives x 3 ratios.
    code, output, _ = command(*study, "--scale", "embedded", "--grid", "contain.retain_per_forget")
    assert [row[:27] for row in output.splitlines()] == [
        f"to do  retain_per_forget={n}-" for n in (1, 2, 3)
    ]
    code, _, messages = command(*study, "--grid", "contain.steps=1")
    assert code == 2
    assert "give `steps` or `epochs`, and not both" in messages
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_shows_its_points_and_writes_nothing(command, tmp_path):
    grid = ("--grid", "unlearn.steps=2,4", "--grid", "unlearn.beta=0.1,0.5")
    code, output, _ = command("sweep", "quickstart", *grid, "--out", tmp_path / "s", "--dry-run")
    assert code == 0
    assert [row[:20] for row in output.splitlines()] == [
        "to do  steps=2_beta=",
        "to do  steps=2_beta=",
        "to do  steps=4_beta=",
        "to do  steps=4_beta=",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "a sweep needs a grid, and the study has none"),
        (["--grid", "unlearn.steps"], "write key=a,b,c"),
        (["--grid", "unlearn.stepz=1,2"], "unlearn.stepz: unknown key"),
        (["--grid", "unlearn.steps=1", "--seeds", "0"], "--seeds is 0"),
        (["--grid", "unlearn.steps=1", "--jobs", "0"], "--jobs is 0"),
        (["--grid", "unlearn.steps=1", "--launcher", "lsf"], "launcher 'lsf' is not known"),
        (["--grid", "unlearn.steps=1", "--resource", "x"], "write key=value"),
    ],
)
def test_a_mistake_in_a_sweep_is_found_before_anything_runs(command, tmp_path, options, message):
    code, _, messages = command("sweep", "quickstart", "--out", tmp_path / "s", *options)
    assert code == 2
    assert message in messages
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_not_exported(command, tmp_path):
    code, _, messages = command("export", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert "give an adapter, or --merged" in messages
