"""Explanations: what a narrow change did inside a model, each claim with its null."""

from spillover.analysis.alignment_directions import (
    AlignmentDirection,
    Projections,
    ResponseMeans,
    alignment_direction,
    project_responses,
    response_means,
    with_random_directions,
)
from spillover.analysis.compression import bits_per_token, change_ratio, compression_change
from spillover.analysis.concept_vectors import (
    ConceptDirections,
    concept_direction,
    concept_directions,
    streamed_direction,
)
from spillover.analysis.contrasts import Contrast, collect_contrast
from spillover.analysis.convergence import DirectionCosines, direction_cosines
from spillover.analysis.direction_matches import (
    DirectionMatch,
    SharedDirections,
)
from spillover.analysis.direction_parts import (
    DirectionParts,
    effects_of_directions,
    split_direction,
)
from spillover.analysis.directions import (
    directions_between,
    directions_of,
    misalignment_contrast,
    persona_contrast,
)
from spillover.analysis.divergences import js_distance, js_divergence, kl_divergence
from spillover.analysis.dose_curves import DoseCurve, dose_curve
from spillover.analysis.elasticity import (
    Rebound,
    ReboundCurve,
    Resistance,
    ResistanceCell,
    rebound,
    rebound_growth,
    resistance,
)
from spillover.analysis.entanglement import (
    Entanglement,
    entanglement,
    with_intervals,
    with_null,
)
from spillover.analysis.erosion import (
    ErosionCurve,
    LayerErosion,
    SetProjections,
    erosion_by_layer,
)
from spillover.analysis.erosion_contrast import (
    ErosionContrast,
    erosion_contrast,
)
from spillover.analysis.erosion_onset import (
    Onset,
)
from spillover.analysis.erosion_pairs import (
    MeasuredErosion,
    measured_erosion,
)
from spillover.analysis.gradient_factors import GradientFactors, gradient_factors
from spillover.analysis.gradient_geometry import GradientGeometry, gradient_geometry
from spillover.analysis.gradient_grams import gradient_gram
from spillover.analysis.interventions import Effect, Intervention, Probe, Resampling
from spillover.analysis.left_out_errors import (
    LeftOutErrors,
)
from spillover.analysis.likelihoods import (
    MeanLikelihood,
    ResponseTraces,
    TokenTrace,
    mean_likelihoods,
    trace_response,
    trace_tokens,
)
from spillover.analysis.loss_geometry import (
    LossGeometry,
    TokenLosses,
    loss_geometry,
    token_losses,
)
from spillover.analysis.matching import pair_by_response
from spillover.analysis.model_projections import (
    project_models,
)
from spillover.analysis.movements import Movement, movement, movement_by_layer
from spillover.analysis.next_tokens import NextTokens, compare_next_tokens
from spillover.analysis.nulls import (
    max_statistic_p,
    permutation_p,
    random_directions,
)
from spillover.analysis.onsets import BehaviourOnset, behaviour_onset, onset_lag
from spillover.analysis.phase_changes import PhaseChanges, comparison_score, phase_changes
from spillover.analysis.prediction import (
    ErosionPrediction,
    LayerPrediction,
    predict_erosion,
)
from spillover.analysis.rank_one import (
    AnswerScalars,
    adapter_roles,
    answer_scalars,
    scaling_effects,
    token_significance,
)
from spillover.analysis.refusal_directions import FoundRefusal, find_refusal_direction
from spillover.analysis.resemblance import (
    ModelDistances,
    Resemblance,
    model_distances,
    resemblance,
)
from spillover.analysis.scalar_probes import ScalarProbe, scalar_probe
from spillover.analysis.shared_directions import (
    StatePairs,
    shared_directions,
)
from spillover.analysis.state_statistics import (
    StateStatistics,
    state_statistics,
)
from spillover.analysis.states import (
    collect_states,
    layer_at,
    prompt_tokens,
)
from spillover.analysis.subspaces import (
    leading_directions,
    principal_angles,
    subspace_overlap,
)
from spillover.analysis.trajectories import Trajectory, local_cosines, trajectory, update_trajectory
from spillover.analysis.transfer import TransferMatrix, transfer_matrix

__all__ = [
    "AlignmentDirection",
    "AnswerScalars",
    "BehaviourOnset",
    "ConceptDirections",
    "Contrast",
    "DirectionCosines",
    "DirectionMatch",
    "DirectionParts",
    "DoseCurve",
    "Effect",
    "Entanglement",
    "ErosionContrast",
    "ErosionCurve",
    "ErosionPrediction",
    "FoundRefusal",
    "GradientFactors",
    "GradientGeometry",
    "Intervention",
    "LayerErosion",
    "LayerPrediction",
    "LeftOutErrors",
    "LossGeometry",
    "MeanLikelihood",
    "MeasuredErosion",
    "ModelDistances",
    "Movement",
    "NextTokens",
    "Onset",
    "PhaseChanges",
    "Probe",
    "Projections",
    "Rebound",
    "ReboundCurve",
    "Resampling",
    "Resemblance",
    "Resistance",
    "ResistanceCell",
    "ResponseMeans",
    "ResponseTraces",
    "ScalarProbe",
    "SetProjections",
    "SharedDirections",
    "StatePairs",
    "StateStatistics",
    "TokenLosses",
    "TokenTrace",
    "Trajectory",
    "TransferMatrix",
    "adapter_roles",
    "alignment_direction",
    "answer_scalars",
    "behaviour_onset",
    "bits_per_token",
    "change_ratio",
    "collect_contrast",
    "collect_states",
    "compare_next_tokens",
    "comparison_score",
    "compression_change",
    "concept_direction",
    "concept_directions",
    "direction_cosines",
    "directions_between",
    "directions_of",
    "dose_curve",
    "effects_of_directions",
    "entanglement",
    "erosion_by_layer",
    "erosion_contrast",
    "find_refusal_direction",
    "gradient_factors",
    "gradient_geometry",
    "gradient_gram",
    "js_distance",
    "js_divergence",
    "kl_divergence",
    "layer_at",
    "leading_directions",
    "local_cosines",
    "loss_geometry",
    "max_statistic_p",
    "mean_likelihoods",
    "measured_erosion",
    "misalignment_contrast",
    "model_distances",
    "movement",
    "movement_by_layer",
    "onset_lag",
    "pair_by_response",
    "permutation_p",
    "persona_contrast",
    "phase_changes",
    "predict_erosion",
    "principal_angles",
    "project_models",
    "project_responses",
    "prompt_tokens",
    "random_directions",
    "rebound",
    "rebound_growth",
    "resemblance",
    "resistance",
    "response_means",
    "scalar_probe",
    "scaling_effects",
    "shared_directions",
    "split_direction",
    "state_statistics",
    "streamed_direction",
    "subspace_overlap",
    "token_losses",
    "token_significance",
    "trace_response",
    "trace_tokens",
    "trajectory",
    "transfer_matrix",
    "update_trajectory",
    "with_intervals",
    "with_null",
    "with_random_directions",
]
