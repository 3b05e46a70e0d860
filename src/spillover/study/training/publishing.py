"""A finished training's work folder to a model folder that stands by itself."""

import shutil
from pathlib import Path

from spillover.files import write_bytes, write_text
from spillover.study.stages.context import Context
from spillover.study.training.cards import model_card

FINISHED = "finished"
"Name of the file that marks a training's work folder as holding its result."

_TRACKED = "runs"
"Folder in which TensorBoard's files lie, as transformers names it."

_NOT_COPIED = ("metrics.jsonl", FINISHED)


def is_published(folder: Path) -> bool:
    """Return whether a model's folder is whole: the metrics are the last that is written."""
    return (folder / "metrics.jsonl").exists()


def publish(
    context: Context, work: Path, folder: Path, *, result: Path, start: Path | None, name: str
) -> None:
    """Copy the result out of the work folder; join it with the adapter it was trained upon.

    Args:
        context: The study's.
        work: What `train` made; left as it is.
        result: The adapter or model in it that is kept: `work` itself, or a checkpoint.
        folder: Gets the adapter or model, its card and its metrics.
        start: The folder of the model that was trained; None for the study's own.
        name: The model's name in the run folder.
    """
    from spillover.models.adapters import concatenate_adapters, is_adapter_folder

    if start is not None and is_adapter_folder(start) and is_adapter_folder(result):
        concatenate_adapters(start, result, folder)
    else:
        for file in result.iterdir():
            if file.name not in _NOT_COPIED and file.is_file():
                shutil.copy2(file, folder / file.name)
    is_adapter = is_adapter_folder(folder)
    if is_adapter:
        _name_base(context, folder, name=name)
    if (work / _TRACKED).is_dir():
        shutil.copytree(work / _TRACKED, folder / _TRACKED, dirs_exist_ok=True)
    write_text(folder / "README.md", model_card(context.config, name, is_adapter=is_adapter))
    write_bytes(folder / "metrics.jsonl", (work / "metrics.jsonl").read_bytes())


def _name_base(context: Context, folder: Path, *, name: str) -> None:
    """Write into an adapter's folder which model it belongs to, as the user named that model."""
    from spillover.models.adapters import name_base

    model = context.config.model
    whole = context.adapted_folder(folder)
    base = context.load(whole).weights_fingerprint
    name_base(folder, whole or model.adapter or model.source, base_fingerprint=base, model=name)
