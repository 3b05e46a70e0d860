"""The bundled refusal suite: Spillover's generator against plain `generate` in file order.

    python benchmarks/refusals.py [--model embedded] [--new-tokens 24] [--batch-size 32]

Both answer the bundled test prompts of the seven concepts and the benign ones, greedily, at the
same batch size and number of new tokens. Prints prompts per second of both, the ratio, and at how
many prompts the text is the same: other batches round otherwise, so in bfloat16 a few differ.

    plain      left-padded batches in file order, the model's own generation settings but for length
    spillover  HFGenerator, as `spillover evaluate` and studies use it
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch

from spillover.data import BENIGN, CONCEPTS, bundled_prompts
from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import GenerationSettings
from spillover.models import ChatTokens, LoadedModel, load_model, pad_batch
from spillover.records import Prompt


def main() -> None:
    """Time both ways and print a line for each."""
    asked = _arguments()
    loaded = load_model(asked.model, dtype=asked.dtype, device=asked.device)
    prompts = [p for name in (*CONCEPTS, *BENIGN) for p in bundled_prompts(name, split="test")]
    prompts = prompts[:: max(1, len(prompts) // asked.prompts)][: asked.prompts]
    settings = GenerationSettings(max_new_tokens=asked.new_tokens, batch_size=asked.batch_size)
    ways: dict[str, Callable[[Sequence[Prompt]], list[str]]] = {
        "plain": lambda own: _plain(loaded, own, settings),
        "spillover": lambda own: _ours(loaded, own, settings),
    }
    for run in ways.values():  # First calls are slow.
        run(prompts[:2])
    texts: dict[str, list[str]] = {}
    base = None
    for name, run in ways.items():
        start, cpu_start = time.perf_counter(), time.process_time()
        texts[name] = run(prompts)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        rate = len(prompts) / (cpu_seconds if asked.cpu_time else seconds)
        base = base or rate
        print(
            f"{name:10} {len(prompts):4} prompts in {seconds:6.1f} s ({cpu_seconds:6.1f} s of "
            f"CPU): {rate:6.2f} prompts/s, x {rate / base:.2f}",
            flush=True,
        )
    same = sum(a == b for a, b in zip(*texts.values(), strict=True))
    print(f"the same text at {same} of {len(prompts)} prompts")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompts", type=int, default=360, help="how many, from all sets alike")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--cpu-time", action="store_true", help="rates per second of CPU: for a busy machine"
    )
    return parser.parse_args()


def _plain(
    loaded: LoadedModel, prompts: Sequence[Prompt], settings: GenerationSettings
) -> list[str]:
    texts = []
    for start in range(0, len(prompts), settings.batch_size):
        own = prompts[start : start + settings.batch_size]
        ids = [loaded.chat.prompt_ids(prompt.prompt) for prompt in own]
        batch = pad_batch([ChatTokens(i, len(i)) for i in ids], pad_id=loaded.pad_id)
        batch = batch.to(loaded.device)
        with torch.no_grad():
            output = loaded.model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                do_sample=False,
                max_new_tokens=settings.max_new_tokens,
                eos_token_id=loaded.stop_ids,
                pad_token_id=loaded.pad_id,
            )
        new = output[:, batch.input_ids.shape[1] :].tolist()
        texts += loaded.tokenizer.batch_decode(new, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _ours(
    loaded: LoadedModel, prompts: Sequence[Prompt], settings: GenerationSettings
) -> list[str]:
    found = HFGenerator(loaded, "ours").generate(prompts, settings=settings)
    return [completion.response for completion in found]


if __name__ == "__main__":
    main()
