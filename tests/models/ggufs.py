"""A tiny Llama written as a GGUF file, the way converters lay them out."""

import numpy as np

from spillover.testing import CHATML

_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_INNER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(path, loaded):
    """Write a tiny Llama with one more token, `he`, as the format wants at least one merge."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    _write_sizes(writer, loaded.model.config)
    _write_tokenizer(writer, loaded.tokenizer)
    for name, value in loaded.model.state_dict().items():
        new, array = _gguf_tensor(name.removesuffix(".weight"), value.numpy(), loaded.model.config)
        writer.add_tensor(f"{new}.weight", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_sizes(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size + 1)


def _write_tokenizer(writer, tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*tokens, "he"])
    writer.add_token_types([3 if i < 3 else 1 for i in range(len(tokens) + 1)])  # 3: control.
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(tokenizer.convert_tokens_to_ids("<|im_start|>"))
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(CHATML)


def _gguf_tensor(name, array, config):
    if name in _OUTER:
        return _OUTER[name], np.concatenate([array, array[:1]]) if array.ndim == 2 else array
    _, _, layer, part = name.split(".", 3)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    n_heads = heads.get(part.split(".")[-1])
    if n_heads is not None:  # GGUF interleaves the two halves that rotary embeddings turn.
        halves = array.reshape(n_heads, 2, -1, array.shape[1])
        array = halves.swapaxes(1, 2).reshape(array.shape)
    return f"blk.{layer}.{_INNER[part]}", array
