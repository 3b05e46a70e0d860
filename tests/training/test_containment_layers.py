"""Layer sensitivity against what a small step really does, and freezing."""

import pytest
import torch

from spillover.errors import ConfigError, TrainingError
from spillover.training.containment_layers import (
    LayerSensitivity,
    freeze_layers,
    layer_sensitivities,
    most_sensitive,
)

IDS = torch.tensor([[5, 6, 7, 8]])
OTHER = torch.tensor([[50, 60, 70, 80]])


def loss_on(ids):
    return lambda model: model(input_ids=ids, labels=ids).loss


def layers_only(loaded):
    """Train what lies in layers and nothing else."""
    for name, p in loaded.model.named_parameters():
        p.requires_grad_(".layers." in name)
    return loaded.model


def test_conflicts_add_up_to_what_a_small_step_does_to_safety(fresh):
    loaded = fresh()
    model = layers_only(loaded)
    task, safety = loss_on(IDS), lambda m: -loss_on(IDS)(m) + 0.5 * loss_on(OTHER)(m)
    found = layer_sensitivities(model, loaded.architecture, task=task, safety=safety)
    assert [row.layer for row in found] == [0, 1]
    before = safety(model).item()
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(task(model), trained)
    length = torch.stack([g.norm() for g in gradients]).norm()
    with torch.no_grad():
        for p, g in zip(trained, gradients, strict=True):
            p.sub_(1e-2 * g / length)
    rise = (safety(model).item() - before) / 1e-2
    assert sum(row.conflict for row in found) == pytest.approx(rise, rel=0.05)
    assert rise > 0


def test_a_task_in_a_layer_that_safety_ignores_has_no_conflict_there(fresh):
    loaded = fresh()
    model = layers_only(loaded)
    weight = model.get_submodule("model.layers.0.mlp.up_proj").weight
    found = layer_sensitivities(
        model, loaded.architecture, task=loss_on(IDS), safety=lambda _m: weight.sum()
    )
    assert found[0].safety_norm > 0
    assert (found[1].conflict, found[1].safety_norm) == (0.0, 0.0)
    assert found[1].task_norm > 0


def test_without_trained_layers_or_a_gradient_it_is_refused(fresh):
    loaded = fresh()
    with pytest.raises(TrainingError, match="no trained weight lies in a layer"):
        layer_sensitivities(
            loaded.model, loaded.architecture, task=loss_on(IDS), safety=loss_on(IDS)
        )
    model = layers_only(loaded)
    with pytest.raises(TrainingError, match="the task's gradient is zero"):
        layer_sensitivities(
            model,
            loaded.architecture,
            task=lambda m: 0.0 * loss_on(IDS)(m),
            safety=loss_on(IDS),
        )


def rows(*conflicts):
    return [
        LayerSensitivity(layer=i, conflict=c, safety_norm=1.0, task_norm=1.0)
        for i, c in enumerate(conflicts)
    ]


def test_the_layers_of_highest_conflict_are_chosen_in_order_of_depth():
    assert most_sensitive(rows(0.1, 0.9, -3.0, 0.5), n=2) == [1, 3]


@pytest.mark.parametrize("n", [0, 2])
def test_freezing_no_layer_or_all_is_refused(n):
    with pytest.raises(ConfigError, match=f"freezing {n} of 2 trained layers"):
        most_sensitive(rows(0.1, 0.2), n=n)


def test_frozen_layers_are_not_trained_and_the_others_are(fresh):
    loaded = fresh()
    model = layers_only(loaded)
    n = freeze_layers(model, loaded.architecture, [-1])
    assert n == sum(p.numel() for p in loaded.architecture.layer(model, 1).parameters())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".layers.0." in name for name in trained)
    with pytest.raises(ConfigError, match="would freeze 9 of 9 trained tensors"):
        freeze_layers(model, loaded.architecture, [0])
    with pytest.raises(ConfigError, match="would freeze 0 of 9 trained tensors"):
        freeze_layers(model, loaded.architecture, [1])
