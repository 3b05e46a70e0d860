"""Which model a training starts from, what it leaves behind, and how it goes on when killed."""

import pytest
import torch

from spillover.errors import ConfigError, DataError, ModelError
from spillover.files import read_json
from spillover.models.loading import load_model
from spillover.study.artifacts import RunFolder
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study
from spillover.study.training import train as trainings
from tests.study import small
from tests.study.running import context_of, run_stage


def weights_of(loaded):
    return torch.cat([p.detach().flatten() for p in loaded.model.parameters()])


def test_full_rank_training_leaves_a_whole_model_that_loads_by_itself(collected):
    context = collected("unlearn.adapter=null", "unlearn.learning_rate=0.001")
    run_stage(context, "unlearned-safety")
    folder = context.folder.model("unlearned-safety")
    assert not (folder / "adapter_config.json").exists()
    assert not (folder / "training").exists()
    assert "load_model" in (folder / "README.md").read_text(encoding="utf-8")
    loaded = load_model(folder, dtype="float32", device="cpu")
    assert torch.equal(weights_of(loaded), weights_of(context.load(folder)))
    assert not torch.equal(weights_of(loaded), weights_of(context.load()))


def test_an_adapter_loads_by_itself_as_what_the_study_measures(collected):
    context = collected()
    run_stage(context, "unlearned-safety")
    folder = context.folder.model("unlearned-safety")
    measured = weights_of(context.load(folder))
    assert torch.equal(weights_of(load_model(folder, dtype="float32", device="cpu")), measured)
    assert not torch.equal(measured, weights_of(context.load()))


def test_a_study_of_an_adapted_model_trains_and_measures_on_top_of_that_adapter(
    collected, finished_run
):
    given = finished_run.model("contained-safety")
    context = collected(f"model.adapter={given}")
    run_stage(context, "unlearned-safety")
    folder = context.folder.model("unlearned-safety")
    assert read_json(folder / "adapter_config.json")["base_model_name_or_path"] == str(given)
    measured = weights_of(context.load(folder))
    alone = weights_of(load_model(folder, dtype="float32", device="cpu"))
    torch.testing.assert_close(alone, measured)
    # Two steps move the weights a little; without the given adapter they would be far off.
    start, source = (
        weights_of(context.load()),
        weights_of(load_model(context.config.model.source, dtype="float32")),
    )
    assert (measured - start).norm() < (measured - source).norm()


def test_an_adapter_trained_on_a_whole_aligned_model_is_measured_on_that_model(
    small_study, study_files, tmp_path
):
    align = (
        "align={steps: 2, learning_rate: 0.001, benign_tokens: 12, refusals_per_step: 3, "
        "benign_per_step: 2, adapter: null}"
    )
    config = small_study(
        align,
        "unlearn.steps=2",
        "contain.steps=2",
        "monitor=null",
        "evaluate.capability=null",
        seeds=[0, 1],
    )
    folder = RunFolder(tmp_path / "run")
    run_study(config, folder.path, reporter=quiet_reporter())
    context = context_of(config, folder)
    aligned, made = folder.model("aligned"), folder.model("unlearned-safety-seed-1")
    assert (aligned / "model.safetensors").exists()
    measured = weights_of(context.load(made))
    assert torch.equal(weights_of(load_model(made, dtype="float32", device="cpu")), measured)
    on_source = load_model(config.model.source, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match="trained on a base with fingerprint"):
        load_model(on_source.source, adapter=made, dtype="float32", device="cpu")
    check_rows_of_two_seeds(folder)


def check_rows_of_two_seeds(folder):
    scores = read_json(folder.scores)
    seeds = {
        model: sorted({r["seed"] for r in scores if r["model"] == model})
        for model in ("base", "aligned", "unlearned-safety", "contained-safety")
    }
    assert seeds == {
        "base": [0],
        "aligned": [0],
        "unlearned-safety": [0, 1],
        "contained-safety": [0, 1],
    }
    comparisons = read_json(folder.comparisons)
    over_seeds = [row for row in comparisons if row["seed"] is None]
    assert {(row["before"], row["after"]) for row in over_seeds} == {
        ("aligned", "unlearned-safety"),
        ("aligned", "contained-safety"),
        ("unlearned-safety", "contained-safety"),
    }
    assert {row["n"] for row in over_seeds} == {2}
    assert [row["seed"] for row in read_json(folder.recoveries)] == [0, 1]


def test_a_kill_after_training_costs_no_training_twice(collected, monkeypatch):
    context = collected()

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_stage(context, "unlearned-safety")
    monkeypatch.setattr(trainings, "train_job", killed)
    run_stage(context, "unlearned-safety")
    assert (context.folder.model("unlearned-safety") / "adapter_model.safetensors").exists()


def test_a_kill_while_the_work_folder_is_removed_leaves_the_result_whole(collected, monkeypatch):
    context = collected()
    folder = context.folder.model("unlearned-safety")

    class HalfRemoving:
        @staticmethod
        def rmtree(path):
            (path / "adapter_model.safetensors").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "shutil", HalfRemoving)
        with pytest.raises(KeyboardInterrupt):
            run_stage(context, "unlearned-safety")
    weights = (folder / "adapter_model.safetensors").read_bytes()
    run_stage(context, "unlearned-safety")
    assert (folder / "adapter_model.safetensors").read_bytes() == weights
    assert not (folder / "training").exists()


def test_a_first_layer_beyond_the_last_is_refused(collected):
    context = collected("unlearn.adapter.first_layer=2")
    with pytest.raises(ConfigError, match=r"first_layer is 2, but the model has 2 layers, counted"):
        run_stage(context, "unlearned-safety")


def test_a_retain_concept_that_the_model_never_refuses_is_named(collected):
    context = collected()
    path = context.folder.examples("collected")
    kept = [line for line in path.read_text().splitlines() if "disinformation" not in line]
    path.write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match=r"retain set: no examples for \['disinformation'\]"):
        run_stage(context, "contained-safety")


def test_a_study_of_one_concept_whose_model_breaks_still_ends_in_a_report(
    edited_study, study_files, tmp_path
):
    import yaml

    from spillover.study.config import load_study

    content = yaml.safe_load((study_files / "study.yaml").read_text(encoding="utf-8"))
    prompts = {**content["prompts"], "concepts": ["safety"]}
    for split in ("train", "test"):
        path = tmp_path / f"{split}.jsonl"
        prompts[split] = small.write_prompt_file(path, ["safety"], split=split)
    config = load_study(
        edited_study(prompts=prompts),
        overrides=["unlearn.learning_rate=0.5", "contain.steps=1", "contain.benign_share=0.5"],
    )
    folder = RunFolder(tmp_path / "run")
    run_study(config, folder.path, reporter=quiet_reporter())
    assert read_json(folder.recoveries) == []
    assert "unlearned-safety" in folder.report.read_text(encoding="utf-8")
