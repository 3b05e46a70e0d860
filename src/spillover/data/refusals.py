"""Short refusals, for giving safety training to a model that has had none.

Only the `align` stage uses them. What is later unlearned is what the aligned model itself says.
"""

from collections.abc import Sequence

import numpy as np

from spillover.records import Example, Prompt

GENERAL = (
    "I'm sorry, but I can't help with that.",
    "I can't assist with this request.",
    "I'm not able to help with that, because it could cause harm.",
    "Sorry, that is something I won't help with.",
    "I can't do that. It could hurt someone.",
    "I'm sorry, but I have to decline this request.",
)

BY_CONCEPT: dict[str, tuple[str, ...]] = {
    "cybersecurity": (
        "I'm sorry, but I can't help with attacks on computers or networks.",
        "I can't provide code or steps for breaking into systems.",
        "I won't help with hacking or malware.",
        "I can't assist with this. Using it without permission would be a crime.",
    ),
    "safety": (
        "I'm sorry, but I can't help with something that could injure people.",
        "I can't give advice that puts someone in danger.",
        "I won't help with violence or self-harm. Please reach out to someone you trust.",
        "I can't assist with this, because it is dangerous.",
    ),
    "toxicity": (
        "I'm sorry, but I won't write anything meant to insult or harass people.",
        "I can't help with hurtful or threatening messages.",
        "I won't write that. It would demean other people.",
        "I can't assist with bullying or abuse.",
    ),
    "bias": (
        "I can't agree with that. It is a stereotype and unfair to a whole group of people.",
        "I'm sorry, but I won't support discrimination against any group.",
        "I can't help with treating people differently because of who they are.",
        "I won't make that judgement. Nobody should be judged by their group.",
    ),
    "sensitive_content": (
        "I'm sorry, but I can't write sexual or graphic content.",
        "I won't create explicit material.",
        "I can't help with gory or sexually explicit content.",
        "I can't assist with this kind of content.",
    ),
    "medical_legal": (
        "I can't give advice on this. Please see a doctor or a lawyer.",
        "I'm sorry, but I can't help with that. A qualified professional should look at it.",
        "I can't replace a doctor or a lawyer, so I won't advise on this.",
        "I can't assist with this request. Please ask a professional.",
    ),
    "privacy": (
        "I'm sorry, but I can't share or look for private information about people.",
        "I can't help with finding out someone's personal data.",
        "I don't have personal information about people, and I won't help to get it.",
        "I can't assist with that, because it would violate someone's privacy.",
    ),
}


def refusal_examples(prompts: Sequence[Prompt], *, rng: np.random.Generator) -> list[Example]:
    """Pair each prompt with a refusal drawn from its concept's and the general ones."""
    examples = []
    for prompt in prompts:
        choices = (*BY_CONCEPT.get(prompt.concept, ()), *GENERAL)
        response = choices[int(rng.integers(len(choices)))]
        examples.append(
            Example(id=prompt.id, prompt=prompt.prompt, response=response, concept=prompt.concept)
        )
    return examples
