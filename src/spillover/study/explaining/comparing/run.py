"""A base and its organisms to a page: convergence, transfer, misalignment against refusal.

OUT/directions.html     the page; figures/ and analysis/ beside it
OUT/NAME.safetensors    each model's misalignment directions
OUT/refusal.safetensors the refusal direction that was used
OUT/tensors/            what was read off models, one file each
OUT/cells/              what was measured under ablation and addition, organism by organism

One model is in memory at a time. What was read or measured before, of the same models, texts and
settings, is not done again.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from spillover import __version__
from spillover.analysis.directions import directions_of
from spillover.analysis.refusal_readout import refusal_tokens
from spillover.data.refusals import GENERAL
from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, write_text
from spillover.memory import release_freed_memory
from spillover.models.chat import Chat
from spillover.models.direction_files import load_directions, save_directions
from spillover.models.directions import Direction
from spillover.models.loading import load_chat, load_model
from spillover.study.artifacts.part_pages import DrawnPart, write_parts_page
from spillover.study.explaining.comparing.case import BASE, CompareCase, CompareSettings
from spillover.study.explaining.comparing.convergence import convergence_part
from spillover.study.explaining.comparing.effects import effects_parts
from spillover.study.explaining.comparing.movement import movement_part
from spillover.study.explaining.comparing.refusal import refusal_part
from spillover.study.explaining.comparing.states import ModelStates, read_states, states_of
from spillover.study.explaining.comparing.texts import ComparedTexts
from spillover.study.explaining.comparing.transfer import transfer_part
from spillover.study.explaining.models import NamedModel, model_state, require_same_tokens
from spillover.study.explaining.reading_store import ReadingStore
from spillover.study.progress import Reporter

PARTS = ("convergence", "transfer", "refusal", "effects")
_READING = "states"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def compare_organisms(
    base: str,
    organisms: Mapping[str, str],
    out: Path,
    *,
    texts: ComparedTexts,
    load_options: Mapping[str, Any],
    refusal: Path | None = None,
    settings: CompareSettings | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Compare models that come from one base and write everything under `out`.

    Args:
        base: What `load_model` takes: the model before any of the trainings.
        organisms: Name -> model: misaligned fine-tunes, models that unlearnt, benign controls.
        out: Gets the page and its files.
        texts: From `compared_texts`.
        load_options: More arguments of `load_model`. All models read the base's chat template.
        refusal: A file of `write_refusal_direction`; None for harmless less harmful prompts in the
            base, at the layer of the settings.
        settings: What is compared, and how.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        ConfigError: If a part, a name or a layer is not known, or there are no organisms.
        InputError: If a model or a file cannot be used.
    """
    chosen = settings or CompareSettings()
    _check(organisms, chosen)
    shown = reporter or Reporter()
    trusted = bool(load_options.get("trust_remote_code", False))
    chat = load_chat(base, trust_remote_code=trusted)
    models = _named(base, organisms, out, chat, load_options)
    taken = _read(models, chat, texts, out, chosen, shown)
    case = _case(models, chat, texts, taken, out, refusal, chosen, shown)
    _save_directions(case)
    parts, left_out = _parts(case)
    return write_parts_page(
        out,
        parts,
        page="directions",
        title=f"Directions of {', '.join(case.organisms)}",
        models={name: model.name for name, model in models.items()},
        data=texts.described,
        settings={**chosen.to_dict(), "layer": case.layer, "refusal": _origin(refusal)},
        left_out=left_out,
    )


def _check(organisms: Mapping[str, str], settings: CompareSettings) -> None:
    unknown = [part for part in settings.parts if part not in PARTS]
    if unknown or not settings.parts:
        raise ConfigError(f"parts {unknown or 'none'}: choose from {', '.join(PARTS)}")
    wrong = [name for name in organisms if not _NAME.fullmatch(name) or name == BASE]
    if wrong or not organisms:
        raise ConfigError(
            f"organisms called {wrong or 'nothing'}: give at least one, with letters, digits, "
            f"dots and dashes, and none called {BASE!r}"
        )
    names = [BASE, *organisms]
    unknown = [name for name in settings.effects_in if name not in names]
    if unknown:
        raise ConfigError(f"effects in {unknown}: not compared; choose from {', '.join(names)}")
    if not settings.strengths or settings.n_random < 1:
        raise ConfigError(
            f"strengths {settings.strengths} and {settings.n_random} random directions; give one "
            "of each at least"
        )


def _named(
    base: str, organisms: Mapping[str, str], out: Path, chat: Chat, options: Mapping[str, Any]
) -> dict[str, NamedModel]:
    template = out / "cache" / "chat_template.jinja"
    write_text(template, str(chat.tokenizer.chat_template))
    return {
        name: NamedModel(
            name=source,
            identity=fingerprint([model_state(source), options.get("dtype")]),
            load=partial(load_model, source, **{**options, "chat_template": template}),
        )
        for name, source in {BASE: base, **organisms}.items()
    }


def _read(
    models: Mapping[str, NamedModel],
    chat: Chat,
    texts: ComparedTexts,
    out: Path,
    settings: CompareSettings,
    reporter: Reporter,
) -> dict[str, ModelStates]:
    """Read every model that was not read before; one is in memory at a time."""
    about = [__version__, texts.fingerprint, chat.description(), settings.max_tokens]
    store = ReadingStore(
        out / "tensors", lambda what, name: fingerprint([*about, what, models[name].identity])
    )
    todo = [name for name in models if not store.has(_READING, name)]
    with reporter.task("reading models", total=len(todo)) as advance:
        for name in todo:
            loaded = models[name].load()
            ids = {i for p in texts.harmful for i in chat.prompt_ids(p.prompt)}
            require_same_tokens(loaded, chat, ids, role=name)
            found = read_states(
                loaded, texts, max_tokens=settings.max_tokens, batch_size=settings.batch_size
            )
            store.save(_READING, name, found)
            del loaded
            release_freed_memory(collect=True)
            reporter.say(f"{name}: read")
            advance(1)
    readings = {name: store.load(_READING, name) for name in models}
    axes = readings[BASE].tensors["first_token"] if settings.spare_first_token else None
    return {
        name: states_of(reading, is_paired=texts.is_paired, axes=axes)
        for name, reading in readings.items()
    }


def _case(
    models: Mapping[str, NamedModel],
    chat: Chat,
    texts: ComparedTexts,
    states: Mapping[str, ModelStates],
    out: Path,
    refusal: Path | None,
    settings: CompareSettings,
    reporter: Reporter,
) -> CompareCase:
    layers = states[BASE].refusal.layers
    layer = len(layers) // 2 if settings.layer is None else settings.layer
    given = None if refusal is None else after_layer(refusal)
    if given is not None and settings.layer is None:
        layer = given.layer
    if layer not in layers:
        raise ConfigError(f"layer {layer} does not exist; choose from {layers[0]} to {layers[-1]}")
    if given is not None and given.layer != layer:
        raise ConfigError(
            f"{refusal}: its direction lies after layer {given.layer}, and layer {layer} was asked "
            "for; leave the layer out, or the file"
        )
    found = {d.layer: d for d in directions_of(states[BASE].refusal, name="refusal")}
    direction = given or found[layer]
    ids = direction.provenance.get("refusal_ids") or refusal_tokens(chat, GENERAL)
    return CompareCase(
        models=models,
        texts=texts,
        states=states,
        settings=settings,
        layer=layer,
        refusal=direction,
        refusal_ids=tuple(int(i) for i in ids),
        out=out,
        reporter=reporter,
    )


def after_layer(path: Path) -> Direction:
    """Read one direction, at the end of a layer: what lies before layer n lies after n - 1.

    Raises:
        DataError: If the file has several, or its direction lies elsewhere.
    """
    found = load_directions(path)
    if len(found) != 1:
        raise DataError(f"{path}: {len(found)} directions; give a file with one")
    direction = found[0]
    if direction.site == "resid_pre" and direction.layer > 0:
        return replace(direction, site="resid_post", layer=direction.layer - 1)
    if direction.site != "resid_post":
        raise DataError(
            f"{path}: its direction is at {direction.site} of layer {direction.layer}; give one of "
            "the residual stream, after the first layer"
        )
    return direction


def _save_directions(case: CompareCase) -> None:
    for name, states in case.states.items():
        made = {"model": case.models[name].name, "data": case.texts.described[0]}
        found = directions_of(states.misalignment, name="misalignment", provenance=made)
        save_directions(case.out / f"{name}.safetensors", found)
    save_directions(case.out / "refusal.safetensors", [case.refusal])


def _parts(case: CompareCase) -> tuple[list[DrawnPart], list[str]]:
    """Do what was asked for, and say what could not be done."""
    parts, left_out = [], []
    for name in case.settings.parts:
        if name == "convergence" and len(case.organisms) < 2:
            left_out.append("Convergence: it compares organisms; give two at least")
        elif name == "convergence":
            parts.append(convergence_part(case))
        elif name == "transfer":
            parts.append(transfer_part(case))
        elif name == "refusal":
            parts += [refusal_part(case), movement_part(case)]
        else:
            parts += effects_parts(case)
        case.reporter.say(f"{name}: done")
    return parts, left_out


def _origin(refusal: Path | None) -> str:
    return "harmful less harmless prompts, in the base" if refusal is None else refusal.name
