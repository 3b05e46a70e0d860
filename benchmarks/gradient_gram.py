"""Gram matrix of per-example gradients: factors against a loop of full backward passes.

    python benchmarks/gradient_gram.py --n 400
    python benchmarks/gradient_gram.py --n 20 --first insecure.jsonl --second educational.jsonl

The loop is what the code published with 2507.03662 does for the response's loss: one example at a
time, a backward pass through all parameters, one module's gradient kept. It takes as long for each
example, so it may be timed on the first `--loop-n` of each arm and scaled up; on those the two are
compared entry by entry. Seconds are of processor time on a CPU, which other work on the machine
disturbs less, and of wall time elsewhere.

`ratio_by_arithmetic` is what counting multiplications allows at one speed of arithmetic: per token
of a prompt that is not shared, one pass forward through the layers (ours) against one forward and
two backward through everything (the loop): 3 times for long responses, 5 for short ones. On a CPU
products take nearly all of the time; measured ratios lie above it by what the loop loses to writing
the gradients of all parameters.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from spillover.analysis.gradient_factors import gradient_factors
from spillover.analysis.gradient_grams import gradient_gram
from spillover.data import CONCEPTS, bundled_prompts, load_examples, refusal_examples
from spillover.models import ChatTokens, LoadedModel, load_model
from spillover.models.architecture import attention_output
from spillover.models.prefix import common_prefix_length


def main() -> None:
    """Time both, compare them and print one JSON object."""
    options = _options()
    torch.set_num_threads(options.threads)
    loaded = load_model(options.model, dtype="float32", device=options.device)
    arms = _arms(loaded, options)
    examples = [example for arm in arms for example in arm]
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    _ours(loaded, examples[:2], batch_size=2)  # First calls are slow.
    start = clock()
    gram, factor_bytes = _ours(loaded, examples, batch_size=options.batch_size)
    ours, peak = clock() - start, _peak_mib()
    looped = [example for arm in arms for example in arm[: options.loop_n]]
    places = [examples.index(example) for example in looped]
    start = clock()
    expected, gradient_bytes = _loop(loaded, looped)
    loop = (clock() - start) * len(examples) / len(looped)
    lengths = np.sqrt(np.diagonal(expected))
    error = np.abs(gram[np.ix_(places, places)] - expected) / np.outer(lengths, lengths)
    tokens = [len(example.input_ids) for example in examples]
    responses = [example.response_length for example in examples]
    result = {
        "examples": len(examples),
        "loop_examples": len(looped),
        "tokens_mean": round(float(np.mean(tokens)), 1),
        "response_tokens_mean": round(float(np.mean(responses)), 1),
        "seconds": round(ours, 2),
        "loop_seconds_scaled": round(loop, 2),
        "ratio": round(loop / ours, 1),
        "ratio_by_arithmetic": round(_ratio_by_arithmetic(loaded, examples, options.batch_size), 1),
        "largest_relative_error": float(error.max()),
        "factor_mib": round(factor_bytes / 2**20, 1),
        "gradient_mib_scaled": round(gradient_bytes * len(examples) / len(looped) / 2**20, 1),
        "peak_mib_before_loop": peak,
        "peak_mib_after_loop": _peak_mib(),
    }
    print(json.dumps(result, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=400, help="examples of each arm")
    parser.add_argument(
        "--loop-n", type=int, default=None, help="examples of each arm to loop over"
    )
    parser.add_argument("--first", type=Path, help="JSONL of one arm; default: bundled refusals")
    parser.add_argument("--second", type=Path, help="JSONL of the other arm")
    parser.add_argument("--max-tokens", type=int, default=None, help="response tokens at most")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _arms(loaded: LoadedModel, options: argparse.Namespace) -> list[list[ChatTokens]]:
    if options.first is None or options.second is None:
        prompts = [p for c in CONCEPTS for p in bundled_prompts(c, split="train")]
        refusals = refusal_examples(prompts, rng=np.random.default_rng(0))
        arms = [refusals[: options.n], refusals[options.n : 2 * options.n]]
    else:
        arms = [load_examples(path)[: options.n] for path in (options.first, options.second)]
    return [
        [loaded.chat.example_ids(example).first(options.max_tokens) for example in arm]
        for arm in arms
    ]


def _ours(
    loaded: LoadedModel, examples: list[ChatTokens], *, batch_size: int
) -> tuple[np.ndarray, int]:
    (factors,) = gradient_factors(
        loaded.model,
        loaded.architecture,
        examples,
        pad_id=loaded.pad_id,
        batch_size=batch_size,
    ).values()
    n_bytes = sum(f.inputs.nbytes + f.output_gradients.nbytes for f in factors)
    return gradient_gram(factors), n_bytes


def _loop(loaded: LoadedModel, examples: list[ChatTokens]) -> tuple[np.ndarray, int]:
    model = loaded.model.requires_grad_(True)
    weight = model.get_submodule(attention_output(model, loaded.architecture)).weight
    rows = []
    for example in examples:
        model.zero_grad()
        ids = torch.tensor([example.input_ids], device=loaded.device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        start = example.prompt_length
        torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[0, start:]).backward()
        rows.append(weight.grad.flatten().clone())
    gradients = torch.stack(rows)
    model.requires_grad_(False)
    return (gradients @ gradients.T).double().cpu().numpy(), gradients.nbytes


def _ratio_by_arithmetic(loaded: LoadedModel, examples: list[ChatTokens], batch_size: int) -> float:
    """Multiplications of the loop over ours; attention and what depends on no weight left out."""
    layers = loaded.model.get_submodule(loaded.architecture.layers)
    inside = sum(parameter.numel() for parameter in layers.parameters())
    head = loaded.model.get_output_embeddings().weight.numel()
    tokens = sum(len(example.input_ids) for example in examples)
    responses = sum(example.response_length for example in examples)
    shared = common_prefix_length([example.input_ids for example in examples])
    spared = shared * (len(examples) - len(examples) / batch_size)
    ours = inside * (tokens - spared) + 2 * head * responses
    return float(3 * (inside + head) * tokens / ours)


def _peak_mib() -> float:
    """Largest resident size of this process so far; Linux counts in KiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


if __name__ == "__main__":
    main()
