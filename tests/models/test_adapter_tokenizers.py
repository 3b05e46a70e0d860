"""An adapter that brings a tokenizer must bring its base's."""

import pytest

from spillover.errors import ModelError
from spillover.models.adapters import add_lora
from spillover.models.loading import load_model
from spillover.testing import byte_tokenizer, write_tiny_model


@pytest.fixture
def adapter(tmp_path):
    """Return an adapter's folder; its base lies beside it."""
    base = load_model(write_tiny_model(tmp_path / "base"), dtype="float32", device="cpu")
    policy = add_lora(base.model, base.architecture, rank=2)
    policy.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_with_its_bases_tokenizer_or_none_is_loaded(adapter):
    alone = load_model(adapter, dtype="float32", device="cpu")
    byte_tokenizer().save_pretrained(adapter)
    assert load_model(adapter, dtype="float32", device="cpu").fingerprint == alone.fingerprint


def test_an_adapter_with_another_tokenizer_is_refused_and_a_token_named(adapter):
    other = byte_tokenizer()
    other.add_tokens(["<|new|>"])
    other.save_pretrained(adapter)
    message = r"differs from its base model's in 1 tokens: '<\|new\|>' is 259 there and None here"
    with pytest.raises(ModelError, match=message):
        load_model(adapter, dtype="float32", device="cpu")


def test_a_damaged_tokenizer_beside_an_adapter_is_refused(adapter):
    byte_tokenizer().save_pretrained(adapter)
    (adapter / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="tokenizer beside the adapter cannot be read"):
        load_model(adapter, dtype="float32", device="cpu")
