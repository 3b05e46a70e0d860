"""Chat templates in the formats of well-known families, each written down in its smallest form."""

from dataclasses import dataclass

from spillover.testing import CHATML, byte_tokenizer

_NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
)

SMOLLM2 = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + (m['content'] | trim)"
    " + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (m['content'] | trim) + ' [/INST]' }}{% else %}"
    "{{ ' ' + (m['content'] | trim) + ' ' + eos_token }}{% endif %}{% endfor %}"
)

MISTRAL = (
    _NO_SYSTEM + "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + '[/INST]' }}{% else %}"
    "{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)

GEMMA = (
    "{{ bos_token }}" + _NO_SYSTEM + "{% for m in messages %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + (m['content'] | trim) + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

PHI_3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)

ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

QWEN_3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A chat format with the special tokens that its tokenizer knows."""

    template: str
    stop: str
    eos: str = "<|im_end|>"
    bos: str | None = None
    special: tuple[str, ...] = ()
    has_system: bool = True

    def tokenizer(self):
        """Return a byte tokenizer of this family, which writes BOS by itself if there is one."""
        return chat_tokenizer(self.template, eos=self.eos, bos=self.bos, special=self.special)


def chat_tokenizer(template, *, eos="<|im_end|>", bos=None, special=()):
    """Return a byte tokenizer with these special tokens, and BOS before whatever it is given."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer(template)
    tokenizer.add_special_tokens({"eos_token": eos, **({"bos_token": bos} if bos else {})})
    tokenizer.add_tokens(list(special), special_tokens=True)
    if bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    return tokenizer


FAMILIES = {
    "chatml": Family(CHATML, "<|im_end|>"),
    # Its BOS is the token that opens every turn.
    "smollm2": Family(SMOLLM2, "<|im_end|>", bos="<|im_start|>"),
    "llama-3": Family(
        LLAMA_3,
        "<|eot_id|>",
        eos="<|eot_id|>",
        bos="<|begin_of_text|>",
        special=("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "llama-2": Family(LLAMA_2, "</s>", eos="</s>", bos="<s>"),
    "mistral": Family(
        MISTRAL, "</s>", eos="</s>", bos="<s>", special=("[INST]", "[/INST]"), has_system=False
    ),
    "gemma": Family(
        GEMMA,
        "<end_of_turn>",
        eos="<eos>",
        bos="<bos>",
        special=("<start_of_turn>", "<end_of_turn>"),
        has_system=False,
    ),
    "phi-3": Family(
        PHI_3,
        "<|end|>",
        eos="<|endoftext|>",
        bos="<s>",
        special=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ),
    "zephyr": Family(ZEPHYR, "</s>", eos="</s>", bos="<s>"),
}
