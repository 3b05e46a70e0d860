"""The table of containment methods: complete, documented, and every callback starts."""

import numpy as np
import pytest
import torch

from spillover.errors import ConfigError
from spillover.training.containment import (
    CONTAINMENTS,
    ContainmentParts,
    containment_callbacks,
)
from spillover.training.containment_penalties import RetainBatches
from spillover.training.containment_subspaces import orthonormal_basis
from spillover.training.references import second_model
from tests.training.examples import RETAIN
from tests.training.guarding import hf_trainer, trained_weights

IN_TRAINING = [name for name, method in CONTAINMENTS.items() if method.start is not None]


def parts(loaded, frozen):
    tokens = [loaded.chat.example_ids(e) for own in RETAIN.values() for e in own]
    return ContainmentParts(
        architecture=loaded.architecture,
        retain=RetainBatches(
            tokens, pad_id=loaded.pad_id, batch_size=2, rng=np.random.default_rng(0)
        ),
        frozen=second_model(frozen),
        vector=torch.ones(32),
        layer=0,
        stream_directions={0: torch.eye(32)[:1]},
        output_bases={"model.layers.0.mlp.down_proj": orthonormal_basis(torch.eye(32)[:1])},
    )


def test_the_table_names_these_methods():
    assert list(CONTAINMENTS) == [
        "retain_ce",
        "retain_kl",
        "ldifs",
        "asft",
        "shares_by_erosion",
        "interleaved",
        "interleaved_ranked",
        "preventative_steering",
        "concept_ablation",
        "safe_grad",
        "concept_gradient",
        "subspace_lock",
        "frozen_layers",
        "concept_adapters",
        "safe_lora",
        "interpolation",
        "subtraction",
        "realignment",
    ]


@pytest.mark.parametrize("name", CONTAINMENTS)
def test_every_method_has_a_documented_function_and_a_source(name):
    method = CONTAINMENTS[name]
    assert method.function.__doc__
    assert method.source
    assert bool(method.needs) is (method.start is not None)


@pytest.mark.parametrize("name", [n for n in IN_TRAINING if n != "asft"])
def test_every_method_of_a_training_step_goes_into_a_plain_trainer_and_changes_it(
    name, fresh, tmp_path
):
    weights = []
    for contained in (False, True):
        loaded = fresh()
        callbacks = containment_callbacks(name, parts(loaded, fresh().model)) if contained else []
        trainer = hf_trainer(loaded, tmp_path / str(contained), callbacks=callbacks, max_steps=2)
        trainer.train()
        weights.append(trained_weights(trainer.model))
    changed = [n for n in weights[0] if not torch.equal(weights[0][n], weights[1][n])]
    assert changed
    assert all(torch.isfinite(w).all() for w in weights[1].values())


@pytest.mark.parametrize("name", IN_TRAINING)
def test_a_method_without_its_parts_says_which(name):
    with pytest.raises(ConfigError, match=f"{name}' needs {CONTAINMENTS[name].needs[0]}"):
        containment_callbacks(name, ContainmentParts())


def test_methods_outside_of_a_training_step_name_their_function():
    with pytest.raises(ConfigError, match=r"acts on after, .* call .*\.interpolate_layers"):
        containment_callbacks("interpolation", ContainmentParts())


def test_a_method_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="containment 'hope' is not known; choose one of retain"):
        containment_callbacks("hope", ContainmentParts())
