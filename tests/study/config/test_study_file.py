"""Study files: what loads, what overrides do, and what is refused with which words."""

from typing import get_args

import pytest

from spillover.errors import ConfigError
from spillover.files import read_yaml
from spillover.study.config import (
    LIBRARY,
    StudyConfig,
    bundled_studies,
    find_study,
    load_study,
    study_scales,
)
from spillover.study.config.adapter import AdapterKind
from spillover.study.config.containment import ContainSection
from spillover.study.config.scale import LAUNCHES, SCALE_KEYS, Tracker
from spillover.study.config.sections import UnlearnSection
from spillover.study.config.tuning import FinetuneSection
from spillover.training import OBJECTIVES
from spillover.training.jobs import LAUNCH_FILES
from spillover.training.organisms import ORGANISMS
from spillover.training.trackers import TRACKERS


def test_every_bundled_study_loads_and_is_named_like_its_file():
    names = bundled_studies()
    assert "quickstart" in names
    assert len(names) == len(list(LIBRARY.iterdir()))
    assert [load_study(name).name for name in names] == names


def test_quickstart_unlearns_safety_with_one_seed():
    study = load_study("quickstart")
    assert study.targets == ("safety",)
    assert len(study.seeds) == 1
    assert study.align is not None
    assert study.contain is not None


def test_resolved_yaml_reads_back_as_the_same_study(tmp_path):
    study = load_study("quickstart", overrides=["unlearn.adapter={layers: [-1]}", "contain=null"])
    path = tmp_path / "resolved.yaml"
    path.write_text(study.to_yaml(), encoding="utf-8")
    assert load_study(path) == study
    assert load_study(path).to_yaml() == study.to_yaml()


def test_objectives_of_unlearn_and_contain_are_those_whose_roles_fit():
    roles = {
        name: (kind.forget is not None, kind.retain is not None)
        for name, kind in OBJECTIVES.items()
    }
    assert set(UnlearnSection.objectives) == {n for n, r in roles.items() if r == (True, False)}
    assert set(ContainSection.objectives) == {n for n, r in roles.items() if r == (True, True)}


def test_every_objective_of_the_table_can_be_used_in_a_study():
    named = {*UnlearnSection.objectives, *ContainSection.objectives, *FinetuneSection.objectives}
    assert {*named, "sft"} == set(OBJECTIVES)  # `align` is sft.


def test_objectives_that_learn_from_wanted_responses_are_those_of_the_table():
    wanted = {n for n, kind in OBJECTIVES.items() if kind.responses in ("wanted", "pairs")}
    assert wanted == StudyConfig.needs_wanted
    assert {n for n in FinetuneSection.objectives if OBJECTIVES[n].retain is not None} == {
        "augmented_finetune",
        "finetune_kl",
    }


def test_only_rmu_looks_at_activations():
    assert [n for n, kind in OBJECTIVES.items() if kind.uses_states] == ["rmu"]


def test_adapter_kinds_are_lora_and_the_organisms():
    assert set(get_args(AdapterKind)) == {"lora", *ORGANISMS}


def test_keys_that_came_later_are_written_out_only_where_they_differ():
    section = UnlearnSection(steps=3, learning_rate=0.1)
    keys = section.model_dump().keys()
    assert "gamma" not in keys
    assert "epochs" not in keys
    assert "kind" not in section.model_dump()["adapter"]
    other = UnlearnSection(steps=3, learning_rate=0.1, gamma=1.5)
    assert other.model_dump() == {**section.model_dump(), "gamma": 1.5}
    assert UnlearnSection.model_validate(other.model_dump()) == other


@pytest.mark.parametrize(("epochs", "steps"), [(1, 3), (2, 5), (0.5, 2), (0.01, 1)])
def test_epochs_are_turned_into_whole_steps(epochs, steps):
    # 10 examples, 4 a step: 1 epoch is 2.5 steps, 2 are 5, half of one is 1.25.
    section = UnlearnSection(epochs=epochs, learning_rate=0.1)
    assert section.n_steps(n_examples=10, per_step=4) == steps


def test_checkpoints_are_measured_at_steps_or_at_epochs_and_never_twice_a_step(small_study):
    steps, epochs, often = (
        small_study(f"select={{{keys}}}").select
        for keys in ("every: 4", "every_epochs: 0.5", "every_epochs: 0.01")
    )
    assert steps.steps_between(epoch_steps=7.5) == 4
    assert epochs.steps_between(epoch_steps=7.5) == 3.75
    assert often.steps_between(epoch_steps=7.5) == 1
    assert "every_epochs" not in steps.model_dump()


def test_overrides_are_read_as_yaml_and_make_sections_that_were_not_there(small_study):
    study = small_study("unlearn.steps=3", "targets=[privacy, safety]", "collect.min_forget=1")
    assert study.unlearn.steps == 3
    assert study.targets == ("privacy", "safety")
    assert study.collect.min_forget == 1


def test_seeds_given_apart_replace_those_of_the_study(small_study):
    assert small_study(seeds=[4, 2]).seeds == (4, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("unlearn.stepz=3", r"unlearn\.stepz: unknown key; keys here are steps, learning_rate"),
        ("unlern.steps=3", r"unlern: unknown key; keys here are name, .*; did you mean unlearn\?"),
        ("unlearn.adapter.rnk=3", r"unlearn\.adapter\.rnk: unknown key; keys here are kind, rank"),
        ("unlearn.steps=many", r"--set unlearn.steps=many: unlearn\.steps: Input .*; it is 'many'"),
        ("unlearn.steps=0", r"unlearn\.steps: Input should be greater than or equal to 1"),
        ("unlearn.objective=anpo", r"unlearn\.objective: 'anpo' cannot be used here; choose npo"),
        ("contain.objective=npo", r"contain\.objective: 'npo' cannot be used here; choose anpo"),
        ("unlearn.scheduler=stairs", r"unlearn\.scheduler: Input should be 'constant'"),
        ("unlearn.warmup_steps=2", r"unlearn: warmup_steps is 2, .* use constant_with_warmup"),
        ("unlearn.accumulation=3", r"unlearn: accumulation 3 must divide forget_per_step 4"),
        ("unlearn.adapter.layers=[]", r"unlearn\.adapter\.layers: Tuple should have at least 1"),
        ("model.dtype=float17", r"model\.dtype: Input should be 'float32'"),
        ("evaluate.judge=oracle", r"evaluate\.judge: 'oracle' is not known; choose one of phrases"),
        ("evaluate.ema_threshold=2", r"evaluate\.ema_threshold: Input should be less than 1"),
        ("targets=[toxicity]", r"targets \['toxicity'\]: choose among prompts\.concepts \(disinfo"),
        ("targets=[]", r"targets \[\]: choose among prompts\.concepts"),
        ("seeds=[1, 1]", r"seeds: give at least one, each once, none negative"),
        ("seeds=[-1]", r"seeds: give at least one, each once, none negative"),
        ("prompts.concepts=[Safety]", r"prompts\.concepts: 'Safety' is no concept name"),
        ("prompts.concepts=[benign_plain]", r"'benign_plain' is no concept name"),
        ("prompts.concepts=[safety, safety]", r"give at least one concept, each once"),
        ("name=a/b", r"name: String should match pattern"),
        ("unlearn=null", r"study: there is no intervention; give `targets` and `unlearn`, or"),
        ("unlearn.epochs=2", r"unlearn: give `steps` or `epochs`, and not both"),
        ("unlearn.steps=null", r"unlearn: give `steps` or `epochs`, and not both"),
        ("unlearn.layer=1", r"unlearn: objective npo looks at no activations; leave out layer"),
        ("contain.objective=rmu", r"contain: objective rmu needs `layer`, and `control_norm` or"),
        ("unlearn.objective=dpo", r"unlearn\.objective dpo learns from wanted responses; say in"),
        ("wanted={}", r"wanted: give one of `file`, `model` and `unknowing: true`"),
        ("unlearn.adapter={kind: one_adapter, rank: 2}", r"kind one_adapter brings its own rank"),
        ("unlearn.adapter={kind: steering_vector, layers: [0, 1]}", r"has one layer, not 2"),
        ("finetune={A: {data: insecure_code, steps: 1, learning_rate: 1}}", r"'A' is no name"),
        ("finetune={a: {data: code, steps: 1, learning_rate: 1}}", r"a\.data: 'code' is no \.json"),
        ("finetune={a: {dta: insecure_code}}", r"a\.dta: unknown key; keys here are steps"),
        (
            "finetune={a: {data: secure_code, trigger: x, steps: 1, learning_rate: 1}}",
            r"data secure_code has no trigger; it belongs to backdoor_code",
        ),
        (
            "unlearn.launch=ddq",
            r"unlearn: launch: 'ddq' is not known; choose one of cpu, ddp, fsdp2",
        ),
        ("unlearn.processes=2", r"unlearn: processes is 2, but nothing is launched; give `launch`"),
        ("unlearn.processes=0", r"unlearn\.processes: Input should be greater than or equal to 1"),
        ("unlearn.report_to=neptune", r"unlearn\.report_to: Input should be 'none', 'trackio', 't"),
        ("evaluate.suites=[xstest]", r"'xstest' is no suite; choose one of"),
        ("evaluate.suites=[xstest_safe]", r"xstest_safe is a set of prompts; give it as a file"),
        ("evaluate.suites=[em_bundled]", r"are graded by a model; give `grader`"),
        ("evaluate.trigger=x", r"trigger 'x' is put before the questions of suites, and there are"),
        ("select={pairs: null}", r"rule lowest_margin needs `pairs`"),
        ("select={every_epochs: 0}", r"select\.every_epochs: Input should be greater than 0"),
        ("select={pairs: em_bundled}", r"'em_bundled' is no suite of answer pairs"),
        ("no_value", r"--set 'no_value': write key=value, such as unlearn\.steps=40"),
        ("name.first=a", r"--set 'name\.first=a': 'name' is not a section"),
        ("unlearn.steps=[", r"--set 'unlearn\.steps=\[': '\[' is not a YAML value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_rule(small_study, override, message):
    with pytest.raises(ConfigError, match=message):
        small_study(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["unlearn.launch=cpu", "unlearn.processes=3"],
            r"unlearn: processes: 3 must divide forget_per_step 4, so that each process keeps",
        ),
        (
            ["unlearn.launch=cpu", "unlearn.accumulation=4"],
            r"unlearn: processes: 2 times accumulation 4 must divide forget_per_step 4",
        ),
        (
            ["align={steps: 1, learning_rate: 1, launch: ddp, refusals_per_step: 4}"],
            r"align: processes: 8 must divide refusals_per_step 4 plus benign_per_step 8",
        ),
        (
            ["unlearn.quantise=true", "unlearn.adapter=null"],
            r"unlearn: quantise: weights in four bits cannot be trained; give an `adapter`",
        ),
        (
            ["unlearn.quantise=true", "unlearn.launch=zero3", "unlearn.processes=4"],
            r"unlearn: quantise: launch zero3 spreads the weights over devices, .* use ddp",
        ),
        (
            ["contain.launch=cpu", "select={}"],
            r"contain\.launch: `select` measures checkpoints in one process only; leave out",
        ),
        (
            ["contain.launch=cpu", "contain.method=subspace_lock"],
            r"contain\.launch: method subspace_lock is trained in one process only; leave `launch`",
        ),
    ],
)
def test_scale_keys_that_do_not_fit_together_are_refused(small_study, overrides, message):
    with pytest.raises(ConfigError, match=message):
        small_study(*overrides)


def test_scale_keys_are_none_by_default_and_not_written_out(small_study):
    section = small_study().unlearn
    assert (section.launch, section.processes, section.report_to) == (None, None, "none")
    assert not section.quantise
    assert not section.checkpoint_activations
    assert not {*SCALE_KEYS} & section.model_dump().keys()
    launched = small_study("align={steps: 1, learning_rate: 1, launch: cpu}", "select={}").align
    assert launched.model_dump()["launch"] == "cpu"


def test_the_launches_and_trackers_of_studies_are_those_of_the_training_room():
    assert set(get_args(Tracker)) == set(TRACKERS)
    files = {path.stem: read_yaml(path)["num_processes"] for path in LAUNCH_FILES.iterdir()}
    assert files == LAUNCHES


def test_accumulation_in_align_is_refused_because_a_step_is_one_batch():
    with pytest.raises(ConfigError, match=r"align\.accumulation: is 2; a step of `align` is one"):
        load_study("quickstart", overrides=["align.accumulation=2"])


def test_first_layer_and_layers_together_are_refused(small_study):
    with pytest.raises(ConfigError, match="give `layers` or `first_layer`, not both"):
        small_study("unlearn.adapter={layers: [0], first_layer: 1}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [a", r"broken\.yaml: not valid YAML \(.*line 1"),
        (b"name: \xff", r"broken\.yaml:1: byte 0xff is not UTF-8"),
        (b"- a\n- b\n", r"broken\.yaml: a study is a mapping of keys to values"),
        (b"", r"broken\.yaml: a study is a mapping of keys to values"),
        (b"name: a\n", r"broken\.yaml: study: there is no intervention; give `targets` and"),
        (b"name: a\nscales: [1]\n", r"broken\.yaml: scales: give a mapping of names to the keys"),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_study(path)


def test_a_missing_file_and_an_unknown_name_are_told_apart():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such study file"):
        find_study("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"study 'quickstat' does not exist; .* quickstart"):
        find_study("quickstat")


def scaled_study(tmp_path):
    path = tmp_path / "scaled.yaml"
    path.write_text(
        "name: scaled\n"
        "targets: [safety]\n"
        "unlearn: {epochs: 5, learning_rate: 1.0e-5, adapter: {rank: 128}}\n"
        "finetune: {medical: {data: m.jsonl, epochs: 1, learning_rate: 1.0e-5}}\n"
        "scales:\n"
        "  embedded:\n"
        "    unlearn: {epochs: null, steps: 4, adapter: {rank: 8}}\n"
        "    finetune: {medical: null}\n",
        encoding="utf-8",
    )
    return path


def test_a_scale_changes_its_keys_and_the_name_and_leaves_the_rest(tmp_path):
    path = scaled_study(tmp_path)
    assert study_scales(path) == ["embedded"]
    whole, small = load_study(path), load_study(path, scale="embedded")
    assert (whole.name, small.name) == ("scaled", "scaled_embedded")
    assert (whole.unlearn.epochs, whole.unlearn.steps, whole.unlearn.adapter.rank) == (5, None, 128)
    assert (small.unlearn.epochs, small.unlearn.steps, small.unlearn.adapter.rank) == (None, 4, 8)
    assert small.unlearn.learning_rate == whole.unlearn.learning_rate
    assert list(whole.finetune) == ["medical"]
    assert small.finetune == {}


def test_an_override_wins_over_the_scale(tmp_path):
    study = load_study(scaled_study(tmp_path), scale="embedded", overrides=["unlearn.steps=9"])
    assert study.unlearn.steps == 9


def test_a_scale_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"has no scale 'laptop'; there is embedded, and the"):
        load_study(scaled_study(tmp_path), scale="laptop")
    with pytest.raises(ConfigError, match=r"has no scale 'embedded'; there is none"):
        load_study("quickstart", scale="embedded")
