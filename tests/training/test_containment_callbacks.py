"""Containment inside a real trainer: what one step does, and what is there before and after."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close

from spillover.errors import ConfigError, ModelError, TrainingError
from spillover.training.containment_activations import concept_ablation, preventative_steering
from spillover.training.containment_callbacks import (
    GradientCallback,
    PenaltyCallback,
    SafetyGradient,
    TrainingHook,
    WeightsCallback,
)
from spillover.training.containment_subspaces import (
    lock_subspaces,
    orthonormal_basis,
    output_modules,
    project_gradients,
)
from tests.training.examples import PEFT_WARNING
from tests.training.guarding import hf_trainer, rows, trained_weights

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

SGD = {
    "optim": "sgd",
    "max_grad_norm": 0.0,
    "max_steps": 1,
    "lr_scheduler_type": "constant",
    "seed": 3,
}


def change(fresh, folder, callbacks, **options):
    """What one training changed in each weight."""
    loaded = fresh()
    before = trained_weights(loaded.model)
    trainer = hf_trainer(loaded, folder, callbacks=callbacks, **{**SGD, **options})
    trainer.train()
    after = trained_weights(trainer.model)
    return {name: after[name] - before[name] for name in before}


def size(model):
    """A penalty whose gradient is known: half the squared length of the embedding."""
    return 0.5 * model.get_input_embeddings().weight.square().sum()


def test_a_penalty_adds_its_weighted_gradient_to_the_tasks(fresh, tmp_path):
    alone = change(fresh, tmp_path / "a", [])
    both = change(fresh, tmp_path / "b", [PenaltyCallback(size, weight=0.25)])
    name = "model.embed_tokens.weight"
    weight = fresh().model.get_input_embeddings().weight
    # The gradient of half the square is the weight itself; the learning rate is 0.01.
    assert_close(both[name] - alone[name], -0.01 * 0.25 * weight, atol=1e-6, rtol=0)
    other = "model.norm.weight"
    assert_close(both[other], alone[other])


def test_a_penalty_counts_once_a_step_however_often_gradients_are_accumulated(fresh, tmp_path):
    callback = PenaltyCallback(size)
    change(fresh, tmp_path, [callback], gradient_accumulation_steps=4, max_steps=2)
    assert len(callback.values) == 2


def test_a_penalty_that_is_not_finite_stops_with_a_message(fresh, tmp_path):
    broken = PenaltyCallback(lambda model: size(model) * float("nan"))
    with pytest.raises(TrainingError, match="penalty is nan at step 1"):
        change(fresh, tmp_path, [broken])


WHOLE = {"per_device_train_batch_size": 16}
"One step sees all rows, so that a penalty can be on the same."


def task_loss(tokenizer, *, sign):
    """The task's own loss on all rows as a penalty, or what opposes it."""
    found = rows(tokenizer)
    batch = {key: torch.tensor([row[key] for row in found]) for key in found[0]}
    return lambda model: sign * model(**batch).loss


def test_a_task_that_only_works_against_safety_moves_nothing(fresh, tiny, tmp_path):
    callback = SafetyGradient(task_loss(tiny.tokenizer, sign=-1.0), weight=0.0)
    found = change(fresh, tmp_path, [callback], **WHOLE)
    assert max(d.abs().max().item() for d in found.values()) < 1e-6
    assert callback.conflicts[0].cosine == pytest.approx(-1.0, abs=1e-4)


def test_a_task_that_serves_safety_is_left_alone(fresh, tiny, tmp_path):
    alone = change(fresh, tmp_path / "a", [], **WHOLE)
    callback = SafetyGradient(task_loss(tiny.tokenizer, sign=1.0), weight=0.0)
    found = change(fresh, tmp_path / "b", [callback], **WHOLE)
    for name, expected in alone.items():
        assert_close(found[name], expected, atol=1e-7, rtol=0)
    assert callback.conflicts[0].cosine == pytest.approx(1.0, abs=1e-4)


def test_a_penalty_on_nothing_that_is_trained_is_refused(fresh, tmp_path):
    with pytest.raises(TrainingError, match="depends on no trained weight"):
        change(fresh, tmp_path, [SafetyGradient(lambda model: torch.zeros(()))])


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("fp16", True, "cannot work with fp16"),
        ("deepspeed", {"zero_optimization": {"stage": 3}}, "cannot work under DeepSpeed"),
    ],
)
def test_pieces_and_scaled_gradients_are_refused(setting, value, message, fresh, tmp_path):
    trainer = hf_trainer(fresh(), tmp_path)
    setattr(trainer.args, setting, value)
    with pytest.raises(ConfigError, match=message):
        PenaltyCallback(size).on_train_begin(trainer.args, trainer.state, trainer.control)


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


def test_steering_is_there_in_training_mode_only_and_gone_afterwards(fresh):
    loaded = fresh()
    model, ids = loaded.model, torch.tensor([[5, 6, 7]])
    plain = logits(model, ids)
    edits = preventative_steering(torch.ones(32), layer=0, strength=2.0)
    stack = TrainingHook(edits, loaded.architecture).applied(model)
    assert torch.equal(logits(model.eval(), ids), plain)
    assert not torch.allclose(logits(model.train(), ids), plain)
    stack.close()
    assert torch.equal(logits(model, ids), plain)


def test_hooks_last_from_the_first_step_to_the_last(fresh, tmp_path):
    loaded = fresh()
    edits = preventative_steering(torch.ones(32), layer=0, strength=2.0)
    trainer = hf_trainer(
        loaded, tmp_path, callbacks=[TrainingHook(edits, loaded.architecture)], **SGD
    )
    steered = change(
        fresh, tmp_path / "b", [TrainingHook(edits, loaded.architecture)], learning_rate=0.0
    )
    assert max(d.abs().max().item() for d in steered.values()) == 0.0
    before = loaded.architecture.layer(loaded.model, 0)._forward_hooks
    assert len(before) == 0
    trainer.train()
    assert len(loaded.architecture.layer(trainer.model, 0)._forward_hooks) == 0


def test_ablation_takes_the_subspace_out_of_the_stream(tiny):
    directions = torch.eye(32)[:2] * torch.tensor([[3.0], [0.1]])
    (place,) = concept_ablation({1: directions})
    h = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    once = place.edit(h)
    assert_close(once[..., :2], torch.zeros(2, 3, 2))
    assert_close(once[..., 2:], h[..., 2:])
    assert_close(place.edit(once), once)


def test_steering_by_nothing_and_ablation_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="does nothing; give both"):
        preventative_steering(torch.zeros(4), layer=0, strength=1.0)
    with pytest.raises(ConfigError, match="at least one layer"):
        concept_ablation({})
    with pytest.raises(ConfigError, match="rank 4 in 4 dimensions"):
        concept_ablation({0: torch.eye(4)})


def bases(loaded, *, rank=3):
    modules = output_modules(loaded.model, loaded.architecture, [0, 1])
    directions = torch.randn(rank, 32, generator=torch.Generator().manual_seed(2))
    return dict.fromkeys(modules, orthonormal_basis(directions))


def test_modules_that_write_to_the_stream_are_found(tiny):
    assert output_modules(tiny.model, tiny.architecture, [1]) == [
        "model.layers.1.self_attn.o_proj",
        "model.layers.1.mlp.down_proj",
    ]


def test_locked_weights_never_move_into_the_subspace_whatever_the_optimizer(fresh, tmp_path):
    options = {"optim": "adamw_torch", "weight_decay": 0.3, "max_steps": 5}
    found = bases(fresh())
    free = change(fresh, tmp_path / "a", [], **options)
    locked = change(fresh, tmp_path / "b", [WeightsCallback(lock_subspaces(found))], **options)
    for path, basis in found.items():
        name = f"{path}.weight"
        assert (basis.T @ free[name]).norm() > 0.01
        assert (basis.T @ locked[name]).norm() < 1e-5
        assert locked[name].norm() > 0.01


def test_gradients_without_the_subspace_keep_sgd_out_of_it_but_not_adam(fresh, tmp_path):
    found = bases(fresh())
    for optimizer, holds in (("sgd", True), ("adamw_torch", False)):
        moved = change(
            fresh,
            tmp_path / optimizer,
            [GradientCallback(project_gradients(found))],
            optim=optimizer,
            max_steps=3,
        )
        parts = [(u.T @ moved[f"{path}.weight"]).norm().item() for path, u in found.items()]
        assert (max(parts) < 1e-5) is holds


def test_a_locked_adapter_writes_nothing_into_the_subspace(fresh):
    loaded = fresh()
    config = LoraConfig(r=4, target_modules=["o_proj", "down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(loaded.model, config)
    found = bases(loaded)
    lock = lock_subspaces(found)(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(4)))
    lock()
    for path, basis in found.items():
        module = model.get_base_model().get_submodule(path)
        update = module.lora_B["default"].weight @ module.lora_A["default"].weight
        assert (basis.T @ update).norm() < 1e-5
        assert update.norm() > 0.1


def test_a_lock_holds_where_weights_are_kept_transposed(tiny_family):
    loaded = tiny_family("gpt2")
    weight = loaded.model.get_submodule("transformer.h.0.mlp.c_proj").weight
    before = weight.detach().clone()
    weight.requires_grad_(True)
    basis = orthonormal_basis(torch.eye(32)[:2])
    lock = lock_subspaces({"transformer.h.0.mlp.c_proj": basis})(loaded.model)
    with torch.no_grad():
        weight.add_(1.0)
        lock()
        # (in, out): the first two outputs are back, the others moved.
        assert_close(weight[:, :2], before[:, :2])
        assert_close(weight[:, 2:], before[:, 2:] + 1.0)
        weight.copy_(before)
    weight.requires_grad_(False)


def test_a_lock_of_nothing_that_is_trained_or_of_another_width_is_refused(fresh):
    loaded = fresh()
    with pytest.raises(ModelError, match=r"none of the modules .* is trained"):
        lock_subspaces(bases(loaded))(loaded.model)
    loaded.model.requires_grad_(True)
    wide = {"model.layers.0.mlp.down_proj": torch.eye(64)[:, :2]}
    with pytest.raises(ConfigError, match="writes 32 values, the basis has shape"):
        lock_subspaces(wide)(loaded.model)
