"""A tiny model that was built to refuse along a known direction, and prompts for it.

Prompts with a `#` are harmful. The first layer's attention averages over all tokens and writes the
planted direction in proportion to the number of `#`; the output matrix gives the token `N` a logit
that grows with the projection on that direction. Nothing else in the model depends on the prompt.
"""

import copy
import dataclasses

import torch

REFUSAL = "N"
WORDS = ("red", "tall", "old", "wet", "thin", "far", "low", "raw", "dim", "shy", "odd", "wry")


def planted_model(tiny, *, seed=0, strength=40.0):
    """Return a changed copy of a tiny Llama, and the unit vector that was planted."""
    loaded = dataclasses.replace(tiny, model=copy.deepcopy(tiny.model))
    model, d_model = loaded.model, loaded.architecture.d_model
    generator = torch.Generator().manual_seed(seed)
    harm, planted = torch.linalg.qr(torch.randn(d_model, 2, generator=generator)).Q.T
    others = torch.eye(d_model) - torch.outer(harm, harm) - torch.outer(planted, planted)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
            layer.self_attn.o_proj.weight.zero_()
            layer.self_attn.q_proj.weight.zero_()  # Attention becomes a plain average.
        first = model.model.layers[0].self_attn
        first.v_proj.weight.zero_()
        first.v_proj.weight[0] = harm
        first.o_proj.weight[:, 0] = strength * planted
        embeddings = model.get_input_embeddings().weight
        embeddings.copy_(torch.randn(embeddings.shape, generator=generator) @ others)
        embeddings[token_id(loaded, "#")] += 6 * harm
        head = model.get_output_embeddings().weight
        head.copy_(0.3 * torch.randn(head.shape, generator=generator) @ others)
        head[token_id(loaded, REFUSAL)] = 4 * planted
    return loaded, planted


def token_id(loaded, text):
    """The one token of a text."""
    (found,) = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def prompts(n, *, harmful, start=0):
    """Different prompts of one kind."""
    mark = "#" if harmful else "."
    pairs = [(a, b) for a in WORDS for b in WORDS]
    return [f"{a} {mark}{mark} {b}" for a, b in pairs[start : start + n]]
