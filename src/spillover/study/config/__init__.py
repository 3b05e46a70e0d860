"""A study file: its sections, their defaults and rules, and the models that it asks for."""

from spillover.study.config.study_file import (
    LIBRARY,
    StudyConfig,
    bundled_studies,
    find_study,
    load_study,
    study_name,
    study_scales,
)

__all__ = [
    "LIBRARY",
    "StudyConfig",
    "bundled_studies",
    "find_study",
    "load_study",
    "study_name",
    "study_scales",
]
