"""Erosion read off comparisons of studies: whose target is a concept, and whose is none."""

import json

from spillover.records import Comparison
from spillover.study.explaining.measured import measured_from, measured_in


def compared(after, concept, *, delta=-0.2, before="aligned"):
    return Comparison(
        before=before, after=after, metric="refusal_rate", concept=concept, delta=delta, ci_low=-1,
        ci_high=1, p=0.5, p_holm=0.5, flagged=False, n=8, seed=0,
    )  # fmt: skip


ROWS = [
    compared("unlearned-safety", "safety", delta=-0.9),
    compared("unlearned-safety", "bias"),
    compared("contained_lock-safety", "bias", delta=-0.1),
    compared("tuned-insecure", "bias"),
    compared("contained-safety", "bias", before="unlearned-safety"),
]


def test_a_fine_tuning_on_no_concept_has_no_target_to_be_entangled_with():
    found = [(row.intervention, row.target_concept, row.erosion) for row in measured_from(ROWS)]
    assert found == [
        ("unlearned-safety (seed 0)", "safety", 0.2),
        ("contained_lock-safety (seed 0)", "safety", 0.1),
    ]


def test_interventions_of_several_studies_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / name / "comparisons.json" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(json.dumps([row.to_dict() for row in ROWS[:2]]))
    assert measured_in(paths[:1]) == measured_from(ROWS[:2])
    names = [row.intervention for row in measured_in(paths)]
    assert names == ["one/unlearned-safety (seed 0)", "two/unlearned-safety (seed 0)"]
    assert measured_in([]) == []
