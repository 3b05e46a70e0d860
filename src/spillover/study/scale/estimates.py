"""How much memory and time a study needs on some hardware: estimates, not measurements.

    memory of training   LoRA: the frozen weights, and 16 bytes a trained parameter (float32 value,
                         gradient, two moments); full rank: 18 bytes a parameter (those 16, and
                         autocast's copies); besides, activations and logits
    activations          a token and layer: 24 d_model + 8 d_mlp + 4 d_kv bytes (bfloat16, LoRA on
                         all linear modules; counted from what autograd keeps)
    time of training     a token: 2 operations a parameter forward, 2 backward through the layers
                         that are above the lowest trained one, 2 more where weights are trained
    time of generation   the larger of reading all weights and of computing, a token of a batch
    besides              a millisecond a layer and pass for starting its work; loading

`TRAINED` and `GENERATED` say how much of a data sheet's rates such work gets; with the millisecond
they are what is most uncertain here. `MEASURED` says how far off the whole was found to be;
`training_works.uncounted` names what of a study is not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spillover.records import Prompt, Record
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import model_runs
from spillover.study.scale.hardware import GIB, Hardware
from spillover.study.scale.model_shapes import ModelShape
from spillover.study.scale.training_works import (
    CHARACTERS_PER_TOKEN,
    TEMPLATE_TOKENS,
    TrainingWork,
    mean_tokens,
    training_works,
)
from spillover.study.stages.datasets import study_prompts, study_questions

TRAINED, GENERATED = 0.35, 0.5
LAYER_SECONDS = 1e-3
"A layer and forward pass, however little there is to compute; a training's pass counts for three."
LOADED = 1e9
"Bytes of weights a second from disk to device."
MEASURED = (
    "measured only on the embedded model, on one processor core: training took 0.7 times the "
    "estimate once, and 4 to 5 times on a machine busy with other work, answers 0.7 times; memory "
    "above the weights was a half and a quarter of it; never on a GPU"
)
"What is known of the error of these estimates (`benchmarks/estimates.py`)."
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "nf4": 0.56}
"Of a weight; nf4 with its scales."


@dataclass(frozen=True, kw_only=True)
class Estimate(Record):
    """What one kind of work needs."""

    name: str
    gib: float
    "Of each device, at its peak."
    seconds: float
    "All of it, on all devices together."


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How a training lies on devices."""

    dtype: str = "bfloat16"
    "Of the frozen weights; `nf4` for QLoRA."
    n_shards: int = 1
    "Devices that weights, gradients and moments are spread over."
    n_replicas: int = 1
    "Groups of devices that each take a part of a step."
    checkpoint_activations: bool = False
    group_tokens: int = 16384
    "Most tokens in one forward pass."


def activation_bytes(shape: ModelShape, tokens: float, *, checkpointed: bool = False) -> float:
    """Return what autograd keeps of so many tokens in one pass."""
    of_layer = tokens * (24 * shape.d_model + 8 * shape.d_mlp + 4 * shape.d_kv)
    if checkpointed:  # Each layer's input, and all of the one that is made again.
        return tokens * 2 * shape.d_model * shape.n_layers + of_layer
    return of_layer * shape.n_layers


def training_bytes(shape: ModelShape, work: TrainingWork, placement: Placement) -> float:
    """Return the peak of each device in training."""
    if work.rank is None:
        weights = shape.n_parameters * (16 + 2)  # The 2 are autocast's copies.
    else:
        adapter = shape.n_adapter(work.rank, n_layers=work.trained_layers)
        dtype = "nf4" if work.quantised else placement.dtype
        weights = shape.n_parameters * BYTES[dtype] + 16 * adapter
    batch = work.examples / (work.accumulation * placement.n_replicas * placement.n_shards)
    tokens = min(max(1.0, batch) * work.tokens, placement.group_tokens)
    responses = tokens * work.response_tokens / work.tokens
    checkpointed = placement.checkpoint_activations or work.checkpointed
    passing = activation_bytes(shape, tokens, checkpointed=checkpointed)
    return weights / placement.n_shards + passing + responses * shape.vocab * (2 + 4 + 4)


def training_seconds(
    shape: ModelShape, work: TrainingWork, placement: Placement, hardware: Hardware
) -> float:
    """Return the time of a training and of its reference on all devices."""
    depth = work.trained_layers / shape.n_layers
    head = shape.d_model * shape.vocab * work.response_tokens / work.tokens
    forward = 2 * (shape.n_matrix + head)
    backward = 2 * (shape.n_matrix * depth + head) * (2 if work.rank is None else 1)
    again = forward if placement.checkpoint_activations or work.checkpointed else 0.0
    trained = work.n_steps * work.examples * (forward + backward + again)
    operations = (trained + work.reference_examples * forward) * work.tokens
    n_devices = min(hardware.n_devices, placement.n_shards * placement.n_replicas)
    started = work.n_steps * work.accumulation * 3 * shape.n_layers * LAYER_SECONDS
    return operations / (hardware.flops * TRAINED * n_devices) + started


def generation_estimate(
    name: str,
    shape: ModelShape,
    hardware: Hardware,
    *,
    n_prompts: int,
    prompt_tokens: float,
    new_tokens: int,
    batch_size: int,
    dtype: str,
) -> Estimate:
    """Return what greedy answers to some prompts need on one device."""
    weights = shape.n_parameters * BYTES[dtype]
    kept = batch_size * (prompt_tokens + new_tokens) * 4 * shape.d_kv * shape.n_layers
    one_token = 2 * (shape.n_matrix + shape.d_model * shape.vocab)
    step = max(
        weights / (hardware.bandwidth * GENERATED),
        batch_size * one_token / (hardware.flops * TRAINED),
        shape.n_layers * LAYER_SECONDS,
    )
    n_batches = -(-n_prompts // batch_size)
    prefill = n_prompts * prompt_tokens * 2 * shape.n_matrix / (hardware.flops * TRAINED)
    peak = weights + kept + batch_size * shape.vocab * 6
    seconds = n_batches * new_tokens * step + prefill
    return Estimate(name=name, gib=peak / GIB, seconds=seconds)


def estimate_study(
    config: StudyConfig, shape: ModelShape, hardware: Hardware, *, placement: Placement
) -> list[Estimate]:
    """Return what each training, the answers and the capability questions of a study need.

    Args:
        config: The study.
        shape: Its model's.
        hardware: Where it is to run; generation uses one device.
        placement: How trainings lie on it.
    """
    prompts = study_prompts(config.prompts)
    n_models = len(model_runs(config))
    found = [
        _training(name, work, count, shape, hardware, placement)
        for name, work, count in training_works(config, shape)
    ]
    asked = {
        "collect": (
            _collected(config, prompts["train"]),
            int(config.uses_collected),
            config.collect.max_new_tokens,
        ),
        "answers": (prompts["test"], n_models, config.evaluate.max_new_tokens),
    }
    for name, (of_split, times, new_tokens) in asked.items():
        if times == 0:
            continue
        found.append(
            generation_estimate(
                name,
                shape,
                hardware,
                n_prompts=len(of_split) * times,
                prompt_tokens=mean_tokens(of_split),
                new_tokens=new_tokens,
                batch_size=config.evaluate.batch_size,
                dtype=config.model.dtype,
            )
        )
    found += _quiz(config, shape, hardware, n_models=n_models)
    weights = shape.n_parameters * BYTES[config.model.dtype]
    n_loads = 1 + sum(count for *_, count in training_works(config, shape)) + 2 * n_models
    loading = Estimate(
        name=f"loading x {n_loads}", gib=weights / GIB, seconds=n_loads * weights / LOADED
    )
    return [*found, loading]


def _collected(config: StudyConfig, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the training prompts that the aligned model is asked: targets' all, others' some."""
    asked: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        asked.setdefault(prompt.concept, []).append(prompt)
    limits = {c: None if c in config.targets else config.collect.retain_limit for c in asked}
    return [prompt for concept, found in asked.items() for prompt in found[: limits[concept]]]


def _training(
    name: str,
    work: TrainingWork,
    count: int,
    shape: ModelShape,
    hardware: Hardware,
    placement: Placement,
) -> Estimate:
    return Estimate(
        name=f"{name} x {count}" if count > 1 else name,
        gib=training_bytes(shape, work, placement) / GIB,
        seconds=count * training_seconds(shape, work, placement, hardware),
    )


def _quiz(
    config: StudyConfig, shape: ModelShape, hardware: Hardware, *, n_models: int
) -> list[Estimate]:
    if config.evaluate.capability is None:
        return []
    questions = study_questions(config.evaluate.capability)
    characters = sum(len(q.question) + sum(map(len, q.choices)) for q in questions)
    tokens = characters / CHARACTERS_PER_TOKEN + len(questions) * TEMPLATE_TOKENS
    operations = n_models * tokens * 2 * (shape.n_matrix + shape.d_model)
    return [
        Estimate(
            name="capability",
            gib=shape.n_parameters * BYTES[config.model.dtype] / GIB,
            seconds=operations / (hardware.flops * TRAINED),
        )
    ]
