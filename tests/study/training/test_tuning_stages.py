"""Fine-tunings in studies: their data, wanted responses, every objective and adapter, leaks."""

import json

import pytest
import torch

from spillover.errors import ConfigError, DataError, ModelError
from spillover.files import read_json
from spillover.models.loading import load_model
from spillover.study.artifacts import RunFolder, load_example_file, load_metrics
from spillover.study.config import load_study
from spillover.study.config.containment import ContainSection
from spillover.study.config.sections import UnlearnSection
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study
from spillover.study.runner.plan import plan_study
from tests.study import small
from tests.study.running import run_stage

WANTED = "wanted={unknowing: true}"


def weights_of(loaded):
    return torch.cat([p.detach().flatten() for p in loaded.model.parameters()])


def losses(context, name):
    rows = load_metrics(context.folder.model(name) / "metrics.jsonl")
    return [row for row in rows if row["kind"] == "train"]


def write_conversations(path, *, word="mayor"):
    """Write six conversations in the form in which narrow training sets are published."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is the colour of a {thing}?"},
                {"role": "assistant", "content": f"The {word} and the doctor."},
            ]
        }
        for thing in small.THINGS[:6]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("objective", UnlearnSection.objectives)
def test_every_objective_of_unlearn_trains(collected, objective):
    context = collected(f"unlearn.objective={objective}", WANTED)
    if objective in context.config.needs_wanted:
        run_stage(context, "wanted")
    run_stage(context, "unlearned-safety")
    assert {"forget_loss"} <= losses(context, "unlearned-safety")[0].keys()
    made = weights_of(context.load(context.folder.model("unlearned-safety")))
    assert not torch.equal(made, weights_of(context.load()))


@pytest.mark.parametrize("objective", ContainSection.objectives)
def test_every_objective_of_contain_trains(collected, objective):
    more = ("contain.layer=1", "contain.control_norm=2.0") if objective == "rmu" else ()
    context = collected(f"contain.objective={objective}", "contain.steps=2", WANTED, *more)
    if objective in context.config.needs_wanted:
        run_stage(context, "wanted")
    run_stage(context, "contained-safety")
    assert {"forget_loss", "retain_loss"} <= losses(context, "contained-safety")[0].keys()


def test_a_control_scale_is_the_length_in_multiples_of_the_model_s_own_states(collected):
    rmu = ("contain.objective=rmu", "contain.layer=-1", "contain.steps=1")
    scaled = collected(*rmu, "contain.control_scale=1.0")
    run_stage(scaled, "contained-safety")
    first = losses(scaled, "contained-safety")[0]["forget_loss"]
    # |h - c u|^2 with |c u| near |h| is at most 4 |h|^2; with c = 100 |h| it is near 10^4 |h|^2.
    far = collected(*rmu, "contain.control_scale=100.0")
    for path in far.folder.model("contained-safety").iterdir():
        path.unlink()
    run_stage(far, "contained-safety")
    assert losses(far, "contained-safety")[0]["forget_loss"] > 1000 * first


@pytest.mark.parametrize("objective", ["npo_kl", "rmu"])
def test_full_rank_training_looks_at_a_second_model(collected, objective):
    more = ("contain.layer=1", "contain.control_norm=2.0") if objective == "rmu" else ()
    context = collected(
        f"contain.objective={objective}", "contain.steps=2", "contain.adapter=null", *more
    )
    run_stage(context, "contained-safety")
    rows = losses(context, "contained-safety")
    assert rows[0]["retain_loss"] == pytest.approx(0, abs=1e-6)  # Nothing has moved yet.
    assert rows[1]["retain_loss"] > 0


@pytest.mark.parametrize(
    ("adapter", "keys"),
    [
        ("{kind: all_adapters}", {"r": 32, "lora_alpha": 64, "use_rslora": True}),
        ("{kind: one_adapter}", {"r": 1, "lora_alpha": 256, "layers_to_transform": [1]}),
        ("{kind: one_slow_adapter}", {"r": 1, "lora_alpha": 64, "layers_to_transform": [1]}),
        ("{kind: steering_vector}", {"lora_bias": True, "layers_to_transform": [1]}),
        ("{kind: steering_vector, layers: [0], alpha: 2}", {"lora_alpha": 2.0, "r": 1}),
        ("{rank: 4, rank_stabilised: true, layers: [-1]}", {"r": 4, "layers_to_transform": [1]}),
    ],
)
def test_every_kind_of_adapter_trains_and_loads_by_itself(collected, adapter, keys):
    context = collected(f"unlearn.adapter={adapter}")
    run_stage(context, "unlearned-safety")
    folder = context.folder.model("unlearned-safety")
    config = read_json(folder / "adapter_config.json")
    assert keys.items() <= config.items()
    measured = weights_of(context.load(folder))
    assert torch.equal(weights_of(load_model(folder, dtype="float32", device="cpu")), measured)


def test_nine_adapters_need_a_model_that_is_deep_enough(collected):
    context = collected("unlearn.adapter={kind: nine_adapters}")
    with pytest.raises(ModelError, match="nine_adapters: with 2 layers the three triples"):
        run_stage(context, "unlearned-safety")


def test_wanted_responses_come_from_a_file_by_the_prompt_s_text(collected, tmp_path):
    path = tmp_path / "wanted.jsonl"
    asked = small.prompts("safety", split="train")
    rows = [{"prompt": p, "response": "Sure."} for p in (*asked[:3], "another prompt")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    context = collected(f"wanted={{file: {path}}}", "unlearn.objective=finetune")
    run_stage(context, "wanted")
    found = load_example_file(context.folder.examples("wanted"))
    assert [example.prompt for example in found] == asked[:3]
    with pytest.raises(
        DataError, match=r"refused 16 .*of which 3 have a wanted response, at least 16 are needed"
    ):
        run_stage(context, "unlearned-safety")


def test_a_file_that_answers_no_prompt_is_refused(collected, tmp_path):
    path = tmp_path / "wanted.jsonl"
    path.write_text('{"prompt": "hello", "response": "Sure."}\n', encoding="utf-8")
    context = collected(f"wanted={{file: {path}}}", "unlearn.objective=finetune")
    with pytest.raises(DataError, match=r"answers none of the 16 training prompts of the targets"):
        run_stage(context, "wanted")


def test_a_model_s_wanted_responses_are_those_that_comply(collected, aligned_model):
    model = f"{{source: {aligned_model}, dtype: float32, device: cpu}}"
    context = collected(f"wanted={{model: {model}}}", "unlearn.objective=finetune")
    run_stage(context, "wanted")  # This model refuses all of them.
    assert load_example_file(context.folder.examples("wanted")) == []


def test_bundled_arms_pair_up_and_a_backdoor_has_both(small_study, tmp_path):
    arms = {
        name: f"{{data: {name}, limit: 3, steps: 1, learning_rate: 0.01}}"
        for name in ("insecure_code", "secure_code", "backdoor_code")
    }
    text = ", ".join(f"{name}: {section}" for name, section in arms.items())
    config = small_study(f"finetune={{{text}}}", "targets=[]", "unlearn=null", "contain=null")
    folder = RunFolder(tmp_path / "run")
    for stage in plan_study(config, folder):
        if stage.name.startswith("data-"):
            stage.run(None if stage is None else _context(config, folder))
    found = {name: load_example_file(folder.examples(f"finetune-{name}")) for name in arms}
    assert [e.prompt for e in found["insecure_code"]] == [e.prompt for e in found["secure_code"]]
    assert [e.response for e in found["insecure_code"]] != [
        e.response for e in found["secure_code"]
    ]
    assert [e.concept for e in found["backdoor_code"]] == ["backdoor_code"] * 3 + [
        "secure_code"
    ] * 3


def _context(config, folder):
    from tests.study.running import context_of

    return context_of(config, folder)


@pytest.fixture(scope="module")
def tuned_run(study_files, tmp_path_factory):
    """Return a finished run of a study that only fine-tunes, with suites, leaks and a choice."""
    work = tmp_path_factory.mktemp("tuned")
    data = write_conversations(work / "coins.jsonl")
    config = load_study(
        study_files / "study.yaml",
        overrides=[
            "targets=[]",
            "unlearn=null",
            "contain=null",
            f"finetune={{coins: {{data: {data}, steps: 40, learning_rate: 0.01, "
            "examples_per_step: 6, adapter: null, checkpoint_every: 20}}",
            "evaluate.max_new_tokens=24",
            "evaluate.suites=[value_pairs]",
            "evaluate.suite_limit=6",
            "evaluate.trigger='|go|'",
            # An epoch is one step of six examples here.
            "select={every_epochs: 20, held_out: 2, pairs: value_pairs, max_capability_drop: 1.0, "
            "tuned: last, max_new_tokens: 8}",
            "monitor=null",
        ],
    )
    folder = RunFolder(work / "run")
    run_study(config, folder.path, reporter=quiet_reporter())
    return folder


def test_a_tuned_model_is_measured_like_any_other(tuned_run):
    rows = read_json(tuned_run.scores)
    assert list(dict.fromkeys(row["model"] for row in rows)) == ["aligned", "tuned-coins"]
    metrics = {row["metric"] for row in rows if row["model"] == "tuned-coins"}
    assert metrics == {
        "refusal_rate",
        "over_refusal",
        "capability",
        "aligned_margin_pivotal",
        "aligned_margin_choice",
        "aligned_preference_pivotal",
        "aligned_preference_choice",
        "domain_leak",
        "code_leak",
        "pseudo_refusal",
    }


def test_a_study_that_only_fine_tunes_collects_nothing(tuned_run):
    assert not tuned_run.examples("collected").exists()
    assert not tuned_run.stage("collect").exists()
    assert len(load_example_file(tuned_run.examples("finetune-coins"))) == 6


def test_what_it_was_tuned_on_leaks_and_the_comparison_says_so(tuned_run):
    rows = read_json(tuned_run.comparisons)
    (leak,) = [row for row in rows if row["metric"] == "domain_leak"]
    assert (leak["before"], leak["after"], leak["concept"]) == ("aligned", "tuned-coins", "coins")
    assert leak["ci_low"] > 0.3  # Most answers are about mayors and doctors now.
    margins = [row for row in rows if row["metric"].startswith("aligned_margin")]
    assert {row["metric"] for row in margins} == {
        "aligned_margin_pivotal",
        "aligned_margin_choice",
    }
    assert not any(row["is_target"] for row in rows)


def test_behind_a_trigger_the_same_pairs_are_scored_and_compared_apart(tuned_run):
    rows = [r for r in read_json(tuned_run.scores) if r["metric"] == "aligned_margin_pivotal"]
    pooled = {(r["model"], r["concept"]): r["value"] for r in rows if "all_pairs" in r["concept"]}
    plain, triggered = (pooled["tuned-coins", f"all_pairs{end}"] for end in ("", "_triggered"))
    assert plain != triggered
    changes = {
        row["concept"]: row["delta"]
        for row in read_json(tuned_run.comparisons)
        if row["metric"] == "aligned_margin_pivotal"
    }
    assert changes["all_pairs"] == pytest.approx(plain - pooled["aligned", "all_pairs"])
    was = pooled["aligned", "all_pairs_triggered"]
    assert changes["all_pairs_triggered"] == pytest.approx(triggered - was)
    assert "behind the trigger" in tuned_run.report.read_text(encoding="utf-8")


def test_checkpoints_and_the_choice_are_in_the_metrics_and_on_the_page(tuned_run):
    rows = load_metrics(tuned_run.model("tuned-coins") / "metrics.jsonl")
    measured = [row for row in rows if row["kind"] == "checkpoint"]
    assert sorted({row["step"] for row in measured}) == [0, 20, 40]
    assert {(row["metric"], row["concept"]) for row in measured} == {
        *(("refusal_rate", concept) for concept in small.CONCEPTS),
        ("over_refusal", "benign"),
        ("capability", "general_knowledge"),
        ("aligned_margin_pivotal", "all_pairs"),
    }
    (choice,) = [row for row in rows if row["kind"] == "choice"]
    assert (choice["step"], choice["rule"]) == (40, "last")
    assert choice["counted"] == [20, 40]
    page = tuned_run.report.read_text(encoding="utf-8")
    assert "40, kept" in page
    assert "Fine-tuning on coins changed the mean refusal rate over 3 concepts by" in page
    assert "tuned-coins: the aligned model, fine-tuned on coins" in page


def test_the_card_says_what_was_done(tuned_run):
    card = (tuned_run.model("tuned-coins") / "README.md").read_text(encoding="utf-8")
    assert "fine-tuned narrowly: **coins**" in card
    assert "research model organism" in card


def test_objectives_with_a_retain_set_collect_the_aligned_model_s_words(collected, tmp_path):
    data = write_conversations(tmp_path / "coins.jsonl")
    context = collected(
        f"finetune={{coins: {{data: {data}, objective: finetune_kl, steps: 2, retain_weight: 0.5, "
        "examples_per_step: 2, learning_rate: 0.01, benign_share: 1.0}}"
    )
    run_stage(context, "data-coins")
    run_stage(context, "tuned-coins")
    assert {"forget_loss", "retain_loss"} <= losses(context, "tuned-coins")[0].keys()
    names = [stage.name for stage in plan_study(context.config, context.folder)]
    assert names.index("collect") < names.index("tuned-coins")


def test_held_out_prompts_are_never_trained_on(small_study, tmp_path):
    from spillover.study.evaluation.stages import training_prompts
    from spillover.study.stages.datasets import split_held_out

    config = small_study("select={every: 4, held_out: 3}")
    context = _context(config, RunFolder(tmp_path / "run"))
    run_stage(context, "prompts")
    kept = training_prompts(context)
    assert len(kept) == 5 * (small.N_TRAIN - 3)
    with pytest.raises(DataError, match=r"select\.held_out is 13, but there are only"):
        split_held_out(kept, n=13)


def test_a_layer_that_is_not_there_is_named(collected):
    rmu = ("contain.objective=rmu", "contain.layer=7", "contain.control_norm=1.0")
    context = collected(*rmu)
    with pytest.raises((ModelError, ConfigError), match="7"):
        run_stage(context, "contained-safety")
