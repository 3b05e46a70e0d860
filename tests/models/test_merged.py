"""A model with an adapter merged into it afterwards is the one that was loaded with it."""

import pytest
import torch

from spillover.errors import ModelError
from spillover.models.adapters import add_lora
from spillover.models.loading import load_model
from spillover.models.merged import with_adapter
from spillover.testing import write_tiny_model


@pytest.fixture
def folders(tmp_path):
    """Return a base and an adapter of it that changes something."""
    source = write_tiny_model(tmp_path / "base")
    base = load_model(source, dtype="float32", device="cpu")
    policy = add_lora(base.model, base.architecture, rank=2)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    policy.save_pretrained(tmp_path / "adapter")
    return source, tmp_path / "adapter"


def weights(loaded):
    return torch.cat([p.detach().flatten() for p in loaded.model.parameters()])


def test_merging_later_gives_the_same_weights_and_identity(folders):
    source, adapter = folders
    given = load_model(source, adapter=adapter, dtype="float32", device="cpu")
    base = load_model(source, dtype="float32", device="cpu")
    before = weights(base)
    later = with_adapter(base, adapter)
    assert torch.equal(weights(later), weights(given))
    assert not torch.equal(weights(later), before)
    assert later.weights_fingerprint == given.weights_fingerprint
    assert later.fingerprint != base.fingerprint
    assert not any(p.requires_grad for p in later.model.parameters())


def test_an_adapter_whose_weights_were_cut_short_is_refused_in_words(folders):
    source, adapter = folders
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    base = load_model(source, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match=r"safetensors is damaged or was cut short .*; copy it"):
        with_adapter(base, adapter)
