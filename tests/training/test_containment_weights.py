"""Weights after training: interpolation, subtraction, Safe LoRA and AsFT by hand."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close

from spillover.errors import ConfigError, ModelError
from spillover.models.lora_factors import LoraFactors
from spillover.training.containment_subspaces import orthonormal_basis, weight_subspaces
from spillover.training.containment_weights import (
    alignment_projector,
    asft_penalty,
    interpolate_layers,
    safe_lora,
    safe_lora_projector,
    subtract_change,
)
from tests.training.examples import PEFT_WARNING

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)


def shifted(state, by):
    return {name: w + by for name, w in state.items()}


def test_interpolation_by_layer_by_hand(tiny):
    aligned = tiny.model.state_dict()
    tuned = shifted(aligned, 1.0)
    found = interpolate_layers(
        tuned, aligned, tiny.architecture, shares={0: 1.0, 1: 0.25}, elsewhere=0.0
    )
    name = "model.layers.{}.mlp.down_proj.weight"
    assert_close(found[name.format(0)], aligned[name.format(0)])
    # 0.75 (w + 1) + 0.25 w
    assert_close(found[name.format(1)], aligned[name.format(1)] + 0.75)
    assert torch.equal(found["model.norm.weight"], tuned["model.norm.weight"])


def test_interpolation_refuses_other_models_shares_and_layers(tiny):
    state = tiny.model.state_dict()
    with pytest.raises(ModelError, match="1 weights are in one model only, such as extra"):
        interpolate_layers({**state, "extra": torch.ones(1)}, state, tiny.architecture, shares={})
    with pytest.raises(ConfigError, match=r"shares \[1.5\] are not in \[0, 1\]"):
        interpolate_layers(state, state, tiny.architecture, shares={0: 1.5})
    with pytest.raises(ConfigError, match=r"layers \[2\] do not exist"):
        interpolate_layers(state, state, tiny.architecture, shares={2: 0.5})


def test_subtraction_takes_a_change_out_again(tiny):
    aligned = tiny.model.state_dict()
    change = {"model.layers.0.mlp.down_proj.weight": torch.full((32, 64), 0.5)}
    tuned = {name: w + change[name] if name in change else w for name, w in aligned.items()}
    found = subtract_change(tuned, change)
    for name, weight in aligned.items():
        assert_close(found[name], weight)
    half = subtract_change(tuned, change, strength=0.5)
    name = next(iter(change))
    assert_close(half[name], aligned[name] + 0.25)


def test_subtraction_of_nothing_or_of_other_weights_is_refused(tiny):
    with pytest.raises(ModelError, match="0 of 0 changes"):
        subtract_change(tiny.model.state_dict(), {})
    with pytest.raises(ModelError, match=r"1 of 1 changes have no weight .* nowhere"):
        subtract_change(tiny.model.state_dict(), {"nowhere": torch.ones(1)})


# Alignment wrote on the first output only.
BASE = torch.zeros(3, 2)
ALIGNED = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])


def test_projectors_by_hand():
    # V V^T has one entry, 25; |V| is 5.
    assert_close(safe_lora_projector(ALIGNED, BASE), torch.diag(torch.tensor([5.0, 0, 0])))
    assert_close(alignment_projector(ALIGNED, BASE), torch.diag(torch.tensor([1.0, 0, 0])))


def test_an_exact_projector_projects():
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(6, 2, generator=generator) @ torch.randn(2, 5, generator=generator)
    c = alignment_projector(v, torch.zeros(6, 5))
    assert_close(c @ c, c, atol=1e-5, rtol=0)
    assert_close(c @ v, v, atol=1e-5, rtol=0)
    assert_close(c.trace(), torch.tensor(2.0))


def test_projectors_of_no_change_and_of_full_rank_are_refused():
    with pytest.raises(ConfigError, match="weights are equal here"):
        safe_lora_projector(BASE, BASE)
    with pytest.raises(ConfigError, match="rank 0 in 3 dimensions"):
        alignment_projector(BASE, BASE)
    with pytest.raises(ConfigError, match="rank 3 in 3 dimensions"):
        alignment_projector(torch.eye(3), torch.zeros(3, 3))
    assert alignment_projector(torch.eye(3), torch.zeros(3, 3), rank=1).trace() == pytest.approx(1)


def factors(b):
    return LoraFactors(torch.tensor([[1.0, 2.0]]), torch.tensor(b)[:, None], torch.zeros(3))


def test_safe_lora_projects_what_leaves_the_alignment_subspace_only():
    c = alignment_projector(ALIGNED, BASE)
    given = {
        "out": factors([0.1, 0.0, 2.0]),
        "in": factors([2.0, 0.1, 0.0]),
        "free": factors([1.0] * 3),
    }
    found, changes = safe_lora(given, {"out": c, "in": c}, threshold=0.5)
    # cos(C B A, B A) = |C B| / |B|: 0.1 / 2.0025 = 0.0499 and 2 / 2.0025 = 0.9988.
    assert [round(change.cosine, 4) for change in changes] == [0.0499, 0.9988]
    assert [change.is_projected for change in changes] == [True, False]
    assert_close(found["out"].b[:, 0], torch.tensor([0.1, 0.0, 0.0]))
    assert found["in"] is given["in"]
    assert found["free"] is given["free"]


def test_asft_penalises_what_an_adapter_writes_outside_by_hand(fresh):
    config = LoraConfig(r=1, lora_alpha=2, target_modules=["down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(fresh().model, config)
    path = "model.layers.0.mlp.down_proj"
    module = model.get_base_model().get_submodule(path)
    with torch.no_grad():
        module.lora_A["default"].weight.fill_(0.0)[0, 0] = 3.0
        module.lora_B["default"].weight.fill_(0.0)[:2, 0] = torch.tensor([5.0, 0.5])
    c = torch.zeros(32, 32)
    c[0, 0] = 1.0
    # Outside is output 1: alpha / r = 2, times 0.5 * 3, squared: 9.
    value = asft_penalty({path: c})(model)
    assert value.item() == pytest.approx(9.0)
    (gradient,) = torch.autograd.grad(value, [module.lora_B["default"].weight])
    assert gradient[0, 0] == 0
    assert gradient[1, 0] > 0
    with pytest.raises(ModelError, match="has no LoRA"):
        asft_penalty({"model.layers.0.mlp.up_proj": c})(model)


def test_a_planted_change_is_found_in_the_weights(fresh):
    base, aligned = fresh().model, fresh().model
    path = "model.layers.1.self_attn.o_proj"
    direction = torch.zeros(32)
    direction[5] = 1.0
    with torch.no_grad():
        aligned.get_submodule(path).weight.add_(direction[:, None] * torch.ones(32))
    found = weight_subspaces(aligned, base, [path], rank=1)[path]
    assert_close(found[:, 0].abs(), direction, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="rank 0"):
        weight_subspaces(base, base, [path], rank=1)
    with pytest.raises(ModelError, match="give the full path"):
        weight_subspaces(aligned, base, ["o_proj"], rank=1)


def test_a_basis_is_orthonormal_and_spans_what_was_given():
    directions = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    basis = orthonormal_basis(torch.cat([directions, directions[:1] + directions[1:2]]))
    assert_close(basis.T @ basis, torch.eye(3), atol=1e-5, rtol=0)
    assert_close(directions @ basis @ basis.T, directions, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (torch.zeros(2, 4), "rank 0 in 4 dimensions, from 2 directions; rank 0 contains nothing"),
        (
            torch.eye(4),
            "rank 4 in 4 dimensions, from 4 directions; rank 0 contains",
        ),
        (torch.full((1, 4), float("nan")), "directions that are not all finite"),
    ],
)
def test_a_subspace_of_rank_0_or_full_rank_is_refused(directions, message):
    with pytest.raises(ConfigError, match=message):
        orthonormal_basis(directions)
