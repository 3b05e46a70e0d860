"""Tiny models and scripted parts, so that you can test your own studies offline in seconds.

Nothing here is downloaded: models are random, made from a configuration; tokenizers know bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spillover.generation.scripted import ScriptedGenerator
from spillover.models.loading import LoadedModel, load_model

__all__ = ["CHATML", "ScriptedGenerator", "byte_tokenizer", "tiny_model", "write_tiny_model"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
_GPT2_SIZES: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2048}

TINY_FAMILIES: dict[str, Mapping[str, Any]] = {
    "llama": _SIZES,
    "qwen2": _SIZES,
    "qwen3": _SIZES,
    "mistral": _SIZES,
    "gemma2": _SIZES,
    "gemma3_text": _SIZES,
    "phi3": _SIZES,
    "phi": _SIZES,
    "gpt2": _GPT2_SIZES,
    "gpt_neox": _SIZES,
}
"Model types that tests cover, with the sizes that make them tiny."


def byte_tokenizer(chat_template: str | None = CHATML) -> Any:
    """Return a tokenizer with one token a byte, ChatML's special tokens and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = chat_template
    return fast


def write_tiny_model(
    folder: Path, *, family: str = "llama", seed: int = 0, chat_template: str | None = CHATML
) -> Path:
    """Save a random two-layer model of `family` and a byte tokenizer; return the folder.

    Args:
        folder: Where to save; made if missing.
        family: A key of `TINY_FAMILIES`.
        seed: For the weights; the global generator is left as it was.
        chat_template: The tokenizer's template; None for none.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = byte_tokenizer(chat_template)
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **TINY_FAMILIES[family],
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_model(folder: Path, *, family: str = "llama", seed: int = 0) -> LoadedModel:
    """Write a tiny model into `folder` and load it, in float32 on the CPU."""
    write_tiny_model(folder, family=family, seed=seed)
    return load_model(folder, dtype="float32", device="cpu")
