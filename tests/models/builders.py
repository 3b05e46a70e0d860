"""Short ways to write down token examples and adapters with an effect."""

import copy
import json

import torch

from spillover.models import load_model
from spillover.models.adapters import add_lora
from spillover.models.chat import ChatTokens
from spillover.testing import CHATML

BRIEF = "Be brief." + CHATML
"A chat template that differs from the tiny models' own."

EXAMPLES = [
    ChatTokens([5, 6, 7, 8, 9, 10, 11], 3),
    ChatTokens([12, 13, 14], 1),
    ChatTokens([20, 21, 22, 23, 24], 4),
    ChatTokens([30, 31, 32, 33, 34, 35], 2),
]
"Lengths 7, 3, 5 and 6, with 4, 2, 1 and 4 response tokens."


def naive_token_logprobs(model, example):
    """Response log-probabilities of one example by itself, from full logits, in nats."""
    ids = torch.tensor([example.input_ids])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    values = torch.log_softmax(logits.float(), dim=-1)
    places = range(example.prompt_length, len(example.input_ids))
    return torch.stack([values[t - 1, example.input_ids[t]] for t in places])


def random_lora(loaded, *, seed=0, spread=0.2, **settings):
    """A PEFT model on a copy of the loaded one, whose B is random, as after training."""
    wrapped = add_lora(copy.deepcopy(loaded.model), loaded.architecture, seed=seed, **settings)
    generator = torch.Generator().manual_seed(seed + 1000)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return wrapped.eval()


def logits_of(model, ids=(5, 6, 7, 8)):
    """Logits of one row of ids."""
    tokens = torch.tensor([list(ids)])
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits


def load(source, **settings):
    """Load a model in float32 on the CPU, or as the settings say."""
    return load_model(source, **{"dtype": "float32", "device": "cpu", **settings})


def adapter_on(loaded, folder, *, base, **settings):
    """Save a random LoRA on the loaded model that names `base`; return its folder."""
    wrapped = random_lora(loaded, **settings)
    wrapped.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(base)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
