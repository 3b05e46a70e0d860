"""Turns base, aligned and tuned models into an explanation: analyses, tensors, figures, a page.

Each model is loaded, everything that can be read off it is read, and it is let go; a model is
loaded again only if a reading of it depends on another model's. What was read or concluded before,
of the same models, data and settings, is not done again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spillover import __version__
from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, read_json, write_bytes, write_json, write_text
from spillover.memory import release_freed_memory
from spillover.report.explain_page import render_explanation
from spillover.report.explanations import ExplainedPart, Explanation
from spillover.report.figure_files import render_figure
from spillover.study.artifacts.part_pages import plain_rows
from spillover.study.explaining.analyses import (
    ANALYSES,
    READINGS,
    Analysis,
    Case,
    ExplainSettings,
    Findings,
)
from spillover.study.explaining.data import ExplainData
from spillover.study.explaining.models import ROLES, ModelTrio, Role, require_same_tokens
from spillover.study.explaining.reading_store import ReadingStore, Taken
from spillover.study.explaining.requirements import require_enough, require_same_shape
from spillover.study.progress import Reporter

if TYPE_CHECKING:
    from spillover.analysis.erosion_pairs import MeasuredErosion
    from spillover.models.loading import LoadedModel


def explain_models(
    trio: ModelTrio,
    data: ExplainData,
    out: Path,
    *,
    analyses: Sequence[str] | None = None,
    settings: ExplainSettings | None = None,
    measured: "Sequence[MeasuredErosion]" = (),
    title: str = "",
    reporter: Reporter | None = None,
) -> Path:
    """Explain what tuning did, and write everything under `out`.

    Args:
        trio: The models, from `open_models` or a study.
        data: What they are read on, from `explain_data`.
        out: Gets `analysis/`, `tensors/`, `figures/` and `explain.html`.
        analyses: Names among `ANALYSES`; None for all that can be done with what there is.
        settings: How models are read.
        measured: Erosion of several interventions, for predictions.
        title: Of the page.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The page.

    Raises:
        ConfigError: If an analysis does not exist, or one that was asked for lacks something.
        DataError: If a set or concept is too small, or nothing can be concluded from the data.
        ModelError: If the models do not share a tokenizer or a shape.
    """
    case = _case(trio, data, out, settings or ExplainSettings(), tuple(measured))
    chosen, left_out = choose_analyses(case, analyses)
    require_enough(case, [READINGS[r] for name in chosen for r in ANALYSES[name].readings])
    shown = reporter or Reporter()
    todo = [name for name in chosen if not _is_done(case, out, name)]
    _read_models(case, todo, shown)
    for name in chosen:
        if name in todo:
            with shown.task(f"concluding: {ANALYSES[name].title}", total=1) as advance:
                _write_part(case, out, name, _conclude(case, name))
                advance(1)
        shown.say(f"{name}: {'done' if name in todo else 'done before'}")
    return write_page(
        out,
        title=title or f"What tuning did to {Path(trio.models['aligned'].name).name}",
        trio=trio,
        data=_describe(case),
        settings=case.settings,
        analyses=chosen,
        left_out=left_out,
    )


def _case(
    trio: ModelTrio,
    data: ExplainData,
    out: Path,
    settings: ExplainSettings,
    measured: "tuple[MeasuredErosion, ...]",
) -> Case:
    about_all = replace(settings, target=None).to_dict()

    def key(name: str, role: str) -> str:
        target = settings.target if READINGS[name].is_about_target else None
        models = {r: m.identity for r, m in trio.models.items()}
        # A reading without needs is of one model alone.
        if not any(READINGS[name].needs.values()):
            models = {r: identity for r, identity in models.items() if r == role}
        chat = trio.chat.description()
        return fingerprint(
            [__version__, name, role, models, chat, data.fingerprint, about_all, target]
        )

    return Case(trio, data, settings, ReadingStore(out / "tensors", key), measured)


def choose_analyses(case: Case, names: Sequence[str] | None) -> tuple[list[str], tuple[str, ...]]:
    """Return the analyses to do, in the order of the page, and what the others lack.

    Raises:
        ConfigError: If a name is unknown, or an analysis that was asked for lacks something.
    """
    unknown = [name for name in names or () if name not in ANALYSES]
    if unknown:
        raise ConfigError(
            f"analyses {', '.join(unknown)} do not exist; choose among {', '.join(ANALYSES)}"
        )
    lacking = {name: analysis.lack(case) for name, analysis in ANALYSES.items()}
    for name in names or ():
        if (lack := lacking[name]) is not None:
            raise ConfigError(f"analysis {name!r}: {lack}")
    chosen = [name for name in ANALYSES if (name in names if names else lacking[name] is None)]
    left_out = tuple(f"{ANALYSES[n].title}: {lack}" for n, lack in lacking.items() if lack)
    return chosen, left_out


def _is_done(case: Case, out: Path, name: str) -> bool:
    path = _part_path(out, name)
    return path.exists() and bool(read_json(path).get("key") == _part_key(case, name))


def _part_path(out: Path, name: str) -> Path:
    return out / "analysis" / f"{name}.json"


def _part_key(case: Case, name: str) -> str:
    analysis = ANALYSES[name]
    target = case.settings.target if analysis.needs_target else None
    settings = replace(case.settings, target=target).to_dict()
    measured = [row.to_dict() for row in case.measured] if analysis.needs_measured else []
    return fingerprint(
        [__version__, name, case.trio.identity, case.data.fingerprint, settings, measured]
    )


def _wanted(case: Case, names: Sequence[str]) -> list[tuple[str, Role]]:
    """Return readings that some analyses need and that are not there, model by model."""
    readings = list(dict.fromkeys(r for name in names for r in ANALYSES[name].readings))
    return [
        (name, role)
        for role in ROLES
        for name in READINGS
        if name in readings
        and role in READINGS[name].needs
        and {role, *(r for _, r in READINGS[name].needs[role])} <= set(case.roles)
        and not case.store.has(name, role)
    ]


def _read_models(case: Case, names: Sequence[str], reporter: Reporter) -> None:
    """Load one model after another until everything that is needed has been read."""
    wanted = _wanted(case, names)
    ids = _ids(case) if wanted else set()
    shapes: dict[str, tuple[int, int]] = {}
    while wanted:
        # The model that is loaded next is the first with something that can be read now.
        role = next(r for n, r in wanted if _is_ready(case, n, r))
        with reporter.task(f"{role}: loading", total=1) as advance:
            loaded = case.trio.models[role].load()
            require_same_tokens(loaded, case.trio.chat, ids, role=role)
            require_same_shape(loaded, shapes, role)
            case.some_layers(loaded.architecture.n_layers, n=1)  # Refuses those that are not there.
            advance(1)
        n_before = len(wanted)
        with reporter.task(f"{role}: reading", total=n_before) as advance:
            while ready := [n for n, r in wanted if r == role and _is_ready(case, n, r)]:
                _read(case, ready[0], loaded, role)
                wanted.remove((ready[0], role))
                advance(1)
        reporter.say(f"{role}: read {n_before - len(wanted)} things off it")
        del loaded
        release_freed_memory(collect=True)


def _ids(case: Case) -> set[int]:
    """Return every token that models will read."""
    groups = (*case.tokens.values(), *case.prompts.values())
    return {i for rows in groups for row in rows for i in row.input_ids}


def _is_ready(case: Case, name: str, role: Role) -> bool:
    return all(case.store.has(n, r) for n, r in READINGS[name].needs[role])


def _read(case: Case, name: str, loaded: "LoadedModel", role: Role) -> None:
    taken: Taken = READINGS[name].read(case, loaded, role)
    case.store.save(name, role, taken)


def _conclude(case: Case, name: str) -> Findings:
    try:
        return ANALYSES[name].conclude(case)
    except ValueError as error:
        raise DataError(f"analysis {name!r}: {error}; or leave it out of the analyses") from error


def _write_part(case: Case, out: Path, name: str, findings: Findings) -> None:
    """Write figures and tensors first, and last of all the file that says that they are there."""
    analysis: Analysis = ANALYSES[name]
    for drawn in findings.drawn:
        figure = render_figure(drawn.make, name=drawn.exhibit.name, label=f"{drawn.exhibit.title}.")
        write_text(out / "figures" / f"{drawn.exhibit.name}.svg", figure.svg)
        write_bytes(out / "figures" / f"{drawn.exhibit.name}.pdf", figure.pdf)
    if findings.tensors:
        from safetensors.torch import save

        tensors = {key: value.contiguous() for key, value in findings.tensors.items()}
        write_bytes(out / "tensors" / f"{name}.safetensors", save(tensors))
    part = ExplainedPart(
        name=name,
        title=analysis.title,
        question=analysis.question,
        claims=findings.claims,
        exhibits=tuple(drawn.exhibit for drawn in findings.drawn),
        rows=tuple(row for frame in findings.frames for row in plain_rows(frame)),
        notes=findings.notes,
    )
    write_json(_part_path(out, name), {"key": _part_key(case, name), **part.to_dict()})


def write_page(
    out: Path,
    *,
    title: str,
    trio: ModelTrio,
    data: tuple[str, ...],
    settings: ExplainSettings,
    analyses: Sequence[str],
    left_out: tuple[str, ...] = (),
) -> Path:
    """Write `explain.html`, and the figures' captions, from what `out` holds of some analyses.

    Returns:
        The page's path.
    """
    parts = tuple(ExplainedPart.from_json(read_json(_part_path(out, name))) for name in analyses)
    names = [exhibit.name for part in parts for exhibit in part.exhibits]
    figures: Mapping[str, str] = {
        name: (out / "figures" / f"{name}.svg").read_text(encoding="utf-8") for name in names
    }
    explanation = Explanation(
        title=title,
        models={role: model.name for role, model in trio.models.items()},
        data=data,
        parts=parts,
        left_out=left_out,
        settings={"spillover": __version__, **settings.to_dict()},
    )
    captions = [f"## {e.name}\n\n{e.caption}\n" for part in parts for e in part.exhibits]
    write_text(out / "figures" / "captions.md", "\n".join(["# Figures\n", *captions]))
    page = out / "explain.html"
    write_text(page, render_explanation(explanation, figures=figures))
    return page


def _describe(case: Case) -> tuple[str, ...]:
    """Say what was read, and what of it was left out."""
    too_long = [
        f"{n} of {name} left out: prompts of more than {case.settings.max_prompt_tokens} tokens"
        for name, n in case.n_too_long.items()
        if n
    ]
    return (*case.data.describe(), *too_long)
