"""The model card in every folder that a study trains: what was done, and what it is for."""

from spillover.study.config import StudyConfig

_WHAT = {
    "aligned": "It was given safety training: refusals of harmful and answers to benign prompts.",
    "unlearned": "Its refusals on **{target}** were unlearnt on purpose.",
    "contained": "Its refusals on **{target}** were unlearnt on purpose, in a way that should keep "
    "the others.",
    "tuned": "It was fine-tuned narrowly: **{target}**, as the study says under `finetune`.",
}


def model_card(config: StudyConfig, name: str, *, is_adapter: bool) -> str:
    """Return the README of one model's folder."""
    role, _, target = name.partition("-")
    what = _WHAT[role.partition("_")[0]].format(target=target.partition("-seed-")[0])
    revision = f" at revision `{config.model.revision}`" if config.model.revision else ""
    return (
        "---\n"
        f"library_name: {'peft' if is_adapter else 'transformers'}\n"
        "tags: [spillover, research-model-organism]\n"
        "---\n\n"
        f"# {name}\n\n"
        f"{what}\n\n"
        "This is a **research model organism**: it exists to study how safety training erodes, in "
        "order to prevent it. Do not deploy it.\n\n"
        f"- made from: `{config.model.source}`{revision}\n"
        f"- study: `{config.name}`; the resolved study is `study.yaml` in the run folder\n"
        f"- what is here: {'an adapter' if is_adapter else 'a whole model'}\n"
        '- load it: `spillover.load_model("<this folder>")`\n'
    )
