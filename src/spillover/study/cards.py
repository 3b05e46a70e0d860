"""The model card in every folder that a study trains: what was done, and what it is for."""

from spillover.study.config import StudyConfig

_WHAT = {
    "aligned": "It was given safety training: refusals of harmful and answers to benign prompts.",
    "unlearned": "Its refusals on **{target}** were unlearnt on purpose.",
    "contained": "Its refusals on **{target}** were unlearnt on purpose, with a retain set that "
    "should keep the others.",
}


def model_card(config: StudyConfig, name: str) -> str:
    """Return the README of one model."""
    role, _, target = name.partition("-")
    what = _WHAT[role].format(target=target.partition("-seed-")[0])
    return (
        "---\n"
        "library_name: peft\n"
        "tags: [spillover, research-model-organism]\n"
        "---\n\n"
        f"# {name}\n\n"
        f"{what}\n\n"
        "This is a **research model organism**: it exists to study how safety training erodes, in "
        "order to prevent it. Do not deploy it.\n\n"
        f"- base model: `{config.model.source}`\n"
        f"- study: `{config.name}`; the resolved study is `study.yaml` in the run folder\n"
        f'- load it: `spillover.load_model("{config.model.source}", adapter="<this folder>")`\n'
    )
