"""Layers in four bits: how much is lost, what stays, and what is said without bitsandbytes."""

import pytest
import torch

from spillover.errors import ModelError
from spillover.models.quantising import quantised
from spillover.testing import tiny_model


def logits(loaded):
    with torch.no_grad():
        return loaded.model(input_ids=torch.tensor([[1, 5, 9, 20]])).logits


def test_without_bitsandbytes_it_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ModelError, match="nf4 needs the package bitsandbytes; `pip install"):
        quantised(tiny, device=torch.device("cpu"))


def test_layers_are_in_four_bits_and_answer_nearly_alike(tmp_path):
    bitsandbytes = pytest.importorskip(
        "bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes"
    )
    loaded = tiny_model(tmp_path)
    before, head = logits(loaded), loaded.model.lm_head.weight.clone()
    small = quantised(loaded, device=torch.device("cpu"))
    kinds = {type(m) for n, m in small.model.named_modules() if n.endswith("_proj")}
    assert kinds == {bitsandbytes.nn.Linear4bit}
    assert torch.equal(small.model.lm_head.weight, head)
    assert torch.nn.functional.cosine_similarity(logits(small), before, dim=-1).min() > 0.95
    assert small.fingerprint != loaded.fingerprint
