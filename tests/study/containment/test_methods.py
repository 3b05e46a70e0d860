"""Every containment of the table in a study: what it makes, on the same data and steps."""

from collections import Counter

import numpy as np
import pytest
import torch

from spillover.analysis.state_gate import load_gate
from spillover.files import read_json
from spillover.models.lora_factors import later_factors, lora_factors, plain_lora_config
from spillover.study.artifacts import RunFolder, load_completion_file, load_prompt_file
from spillover.study.config import load_study
from spillover.study.config.containment import METHODS
from spillover.study.config.model_runs import model_runs
from spillover.study.containment.after_unlearning import gate_prompts
from spillover.study.containment.case import Case
from spillover.study.containment.methods import STAGES
from spillover.study.evaluation.routing import GATE, prompt_states
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study, study_state
from tests.study.running import context_of, run_stage

QUICK = ("shares_by_erosion", "retain_kl", "preventative_steering", "frozen_layers")
"Each of another kind; all others are tried in the slow tier."
TRAINED = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name, rule in METHODS.items()
    if not rule.after and not rule.learns and not rule.needs_base
]
SHORT = ("contain.steps=1", "contain.learning_rate=0.01", "evaluate.capability=null")
ALIGN = (
    "align={steps: 2, learning_rate: 0.01, benign_tokens: 12, refusals_per_step: 3, "
    "benign_per_step: 2, adapter: {rank: 3}}"
)
BUDGET = "steps: 2, learning_rate: 0.01, forget_per_step: 4, retain_weight: 6.0, adapter: {rank: 4}"
NAMED = {
    "kl": "method: retain_kl",
    "asft": "method: asft",
    "lock": "method: subspace_lock, options: {subspace: alignment, rank: 2, layers: [1]}",
    "moved": "method: interpolation, options: {share: 1.0}",
    "lora": "method: safe_lora, options: {threshold: 1.0}",
    "minus": "method: subtraction, options: {strength: 0.5}",
    "again": "method: realignment, options: {n_examples: 8}",
    "routed": "method: concept_adapters",
    "gated": "method: state_gate, options: {of: contain, n_examples: 8, recall: 0.8}",
    "open": "method: state_gate, options: {recall: 0.99}",
}


@pytest.fixture(scope="module")
def compared(small_study_of, tmp_path_factory):
    """Return configuration and folder of a finished study with several containments."""
    named = [f"containments.{name}={{{BUDGET}, {rest}}}" for name, rest in NAMED.items()]
    config = small_study_of(ALIGN, "unlearn.steps=8", "contain.steps=2", "monitor=null", *named)
    folder = RunFolder(tmp_path_factory.mktemp("compared") / "run")
    run_study(config, folder.path, reporter=quiet_reporter())
    return config, folder


@pytest.fixture(scope="module")
def small_study_of(study_files):
    return lambda *overrides: load_study(study_files / "study.yaml", overrides=overrides)


def test_the_table_of_sections_and_that_of_stages_name_the_same_methods():
    assert list(STAGES) == list(METHODS)


def effect(factors):
    return {name: found.b @ found.a for name, found in factors.items()}


def added(folder, name):
    """Return what a model adds to the aligned one, module by module."""
    rank = plain_lora_config(folder.model("aligned"))["r"]
    path = folder.model(name)
    return effect(later_factors(lora_factors(path, plain_lora_config(path)), rank))


@pytest.mark.parametrize("method", TRAINED)
def test_a_method_trains_an_adapter_on_the_aligned_model(collected, method):
    # In half precision, where what trains and what is frozen differ in kind.
    context = collected(*SHORT, f"contain.method={method}", "model.dtype=bfloat16")
    run_stage(context, "contained-safety")
    folder = context.folder.model("contained-safety")
    found = effect(lora_factors(folder, plain_lora_config(folder)))
    sizes = torch.stack([change.abs().sum() for change in found.values()])
    assert torch.isfinite(sizes).all()
    assert sizes.sum() > 0


def test_every_containment_is_measured_and_compared_with_the_main_one(compared):
    config, folder = compared
    rows = read_json(folder.containments)
    assert [row["name"] for row in rows] == ["", *NAMED]
    assert rows[0]["gain"] is None
    assert all(row["gain"] is not None and row["recovery"] is not None for row in rows[1:])
    # 2 steps x 4 forget examples, with 2 retain examples each; re-alignment is shown 2 x 4 x 3.
    assert {row["name"]: row["retain_seen"] for row in rows} == {
        "": 16,
        "kl": 16,
        "asft": 0,
        "lock": 0,
        "moved": 0,
        "lora": 0,
        "minus": 8,
        "again": 24,
        "routed": 0,
        "gated": 0,
        "open": 0,
    }
    manifest = read_json(folder.manifest)
    assert manifest["peak_bytes_by_stage"].keys() == manifest["seconds_by_stage"].keys()
    page = folder.report.read_text(encoding="utf-8")
    assert "Which to choose" in page
    assert all(state.is_done for state in study_state(config, folder.path))


def test_interpolation_all_the_way_is_the_aligned_model(compared):
    _, folder = compared
    assert all((change == 0).all() for change in added(folder, "contained_moved-safety").values())
    main, *others = read_json(folder.containments)
    moved = next(row for row in others if row["name"] == "moved")
    assert (moved["effect"], moved["over_refusal"], moved["recovery"]) == (0.0, 0.0, 1.0)
    assert moved["gain"] == pytest.approx(1 - main["recovery"])


def test_safe_lora_at_a_threshold_of_one_projects_every_module(compared):
    _, folder = compared
    rows = (folder.model("contained_lora-safety") / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == len(added(folder, "unlearned-safety"))
    assert all('"is_projected": true' in row for row in rows)


def test_subtraction_adds_the_harm_with_the_other_sign(compared):
    _, folder = compared
    own, less = (added(folder, f"{name}-safety") for name in ("unlearned", "contained_minus"))
    assert own.keys() == less.keys()
    assert all((own[name] - less[name]).abs().max() > 0 for name in own)


def test_realignment_goes_on_from_the_unlearned_model(compared):
    _, folder = compared
    rank = plain_lora_config(folder.model("unlearned-safety"))["r"]
    path = folder.model("contained_again-safety")
    config = plain_lora_config(path)
    assert config["r"] == rank + 4
    new = effect(later_factors(lora_factors(path, config), rank))
    assert sum(change.abs().sum() for change in new.values()) > 0


def test_the_lock_leaves_nothing_in_what_safety_training_wrote(compared):
    from spillover.training.containment_subspaces import output_modules, weight_subspaces

    config, folder = compared
    context = context_of(config, folder)
    aligned, base = context.load(folder.model("aligned")), context.load()
    modules = output_modules(aligned.model, aligned.architecture, [1])
    bases = weight_subspaces(aligned.model, base.model, modules, rank=2)
    found = added(folder, "contained_lock-safety")
    for path, basis in bases.items():
        change = found[f"base_model.model.{path}"]
        assert change.abs().max() > 1e-4
        assert (basis.T @ change).abs().max() < 1e-3 * change.abs().max()


def test_routed_adapters_answer_their_own_concept_and_leave_the_rest_alone(compared):
    _, folder = compared
    said = {
        name: {c.id: c for c in load_completion_file(folder.completions(f"{name}"))}
        for name in ("aligned", "unlearned-safety", "contained_routed-safety")
    }
    routed = said["contained_routed-safety"]
    own = [c for c in routed.values() if c.concept == "safety"]
    # The words of the tiny study tell its concepts apart without a mistake.
    assert all(c.response == said["unlearned-safety"][c.id].response for c in own)
    others = [c for c in routed.values() if c.concept != "safety"]
    assert all(c.response == said["aligned"][c.id].response for c in others)
    assert {c.model for c in routed.values()} == {"contained_routed-safety"}


@pytest.mark.parametrize(("name", "behind"), [("gated", "contained"), ("open", "unlearned")])
def test_a_gate_hands_each_prompt_to_the_aligned_model_or_the_one_behind_it(compared, name, behind):
    config, folder = compared
    artifact = f"contained_{name}-safety"
    said = {
        model: {c.id: c.response for c in load_completion_file(folder.completions(model))}
        for model in ("aligned", f"{behind}-safety", artifact)
    }
    asked = load_prompt_file(folder.prompts("test"))
    aligned = context_of(config, folder).load(folder.model("aligned"))
    gate = load_gate(folder.model(artifact) / GATE)
    passed = gate.passes(prompt_states(aligned, [p.prompt for p in asked], layers=gate.layers))
    assert 0 < passed.sum() < len(asked)
    for prompt, passes in zip(asked, passed, strict=True):
        answerer = f"{behind}-safety" if passes else "aligned"
        assert said[artifact][prompt.id] == said[answerer][prompt.id]
    # The tiny model's states tell its concepts apart.
    is_target = np.array([prompt.concept == "safety" for prompt in asked])
    assert passed[is_target].mean() > passed[~is_target].mean() + 0.5


def test_a_gate_learns_from_as_many_prompts_of_each_other_set_as_it_is_told(compared):
    config, folder = compared
    context = context_of(config, folder)
    for name, n_examples in (("gated", 8), ("open", None)):
        run = next(r for r in model_runs(config) if r.containment == name)
        section = config.contain_sections[name]
        case = Case(context=context, section=section, run=run, aligned=folder.model("aligned"))
        kept = Counter(p.concept for p in gate_prompts(case))
        whole = Counter(p.concept for p in load_prompt_file(folder.prompts("train")))
        assert kept.pop("safety") == whole.pop("safety")
        limit = n_examples or max(whole.values())
        assert kept == {concept: min(n, limit) for concept, n in whole.items()}
