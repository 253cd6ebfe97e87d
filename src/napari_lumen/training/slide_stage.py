"""From heat maps to the class of a slide and the stage of a patient, by a random forest (CAMELYON17).

Takahama et al. leave the features open; these are the six that the specification suggests (section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.ndimage import label as connected
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from napari_lumen.errors import RunError
from napari_lumen.evaluation import accuracy, confusion_matrix, pn_stage, stage_kappa
from napari_lumen.evaluation.staging import Metastasis, Stage
from napari_lumen.validation import first_problem

CLASSES: tuple[Metastasis, ...] = get_args(Metastasis)
_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
_THRESHOLD = 0.5
_NEIGHBOURS = np.ones((3, 3), int)  # diagonal patches touch, as in a run


class HeatMapFeatures(BaseModel):
    """What a forest is told of a slide's heat map."""

    model_config = _FROZEN

    longest_axis_um: float = Field(ge=0, description="Largest distance within the largest component, µm.")
    largest_area_um2: float = Field(ge=0, description="Area of the largest component, µm².")
    max_probability: float = Field(ge=0, le=1, description="Of all patches of tissue.")
    mean_probability: float = Field(ge=0, le=1, description="Of all patches of tissue.")
    components: int = Field(ge=0, description="Connected areas of tumour patches.")
    total_area_um2: float = Field(ge=0, description="Of all components, µm².")


def describe_heat_map(
    probability: npt.NDArray[Any], cell_um: tuple[float, float], threshold: float = _THRESHOLD
) -> HeatMapFeatures:
    """Describe the heat map of a slide.

    Parameters
    ----------
    probability : ndarray
        (rows, columns) in [0, 1]: of tumour, a cell a patch; NaN where there is no tissue.
    cell_um : (float, float)
        Height and width of a cell, µm.
    threshold : float
        Patches of this probability and above are tumour; those that touch are a component.

    Returns
    -------
    HeatMapFeatures
        All 0 for a slide without tissue.
    """
    known = np.nan_to_num(probability)
    components, count = connected(known >= threshold, _NEIGHBOURS)
    cells = np.bincount(components.ravel(), minlength=count + 1)[1:]
    area = cell_um[0] * cell_um[1]
    tissue = probability[~np.isnan(probability)]
    return HeatMapFeatures(
        longest_axis_um=_longest_axis(components == 1 + int(cells.argmax()), cell_um) if count else 0,
        largest_area_um2=float(cells.max(initial=0)) * area,
        max_probability=float(known.max(initial=0)),
        mean_probability=float(tissue.mean()) if tissue.size else 0.0,
        components=count,
        total_area_um2=float(cells.sum()) * area,
    )


def _longest_axis(component: npt.NDArray[np.bool_], cell_um: tuple[float, float]) -> float:
    """Return the largest distance between corners of cells, µm."""
    cells = np.argwhere(component)
    corners = np.concatenate([cells + np.array([y, x]) for y in (0, 1) for x in (0, 1)]) * cell_um
    hull = corners[ConvexHull(corners).vertices]
    return float(pdist(hull).max())


class SlideCase(BaseModel):
    """A slide whose class is known."""

    model_config = _FROZEN

    slide: str
    patient: str
    truth: Metastasis
    features: HeatMapFeatures


class SlideStager(BaseModel):
    """A random forest that tells the class of slides, and with it the stage of patients.

    It is stored as the table of what it learned from and grown again from it, which takes less than a
    second: a file of trees would be code to trust, and bound to one version of scikit-learn.
    """

    model_config = _FROZEN

    cases: tuple[SlideCase, ...] = Field(description="What the forest learns from.")
    trees: int = Field(default=100, ge=1, description="Of the forest.")
    seed: int = Field(default=42, ge=0, description="Of the forest.")

    @model_validator(mode="after")
    def _has_cases(self) -> SlideStager:
        if not self.cases:
            raise ValueError("cases names no slide to learn from")
        return self

    def classify(self, slides: Sequence[HeatMapFeatures]) -> list[Metastasis]:
        """Return the class of each slide: negative, itc, micro or macro."""
        from sklearn.ensemble import RandomForestClassifier

        if not slides:
            return []
        forest = RandomForestClassifier(self.trees, random_state=self.seed)
        forest.fit(_table([case.features for case in self.cases]), [case.truth for case in self.cases])
        return [cast(Metastasis, str(said)) for said in forest.predict(_table(slides))]

    def stage(self, nodes: Sequence[HeatMapFeatures]) -> Stage:
        """Return the stage of a patient by the heat maps of all his slides, one a lymph node."""
        return pn_stage(self.classify(nodes))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> SlideStager:
        """Read it from JSON.

        Raises
        ------
        RunError
            When it cannot be read, or holds no such table.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RunError(f"Cannot read the slide stager {path}: {error.strerror or error}.") from error
        except ValidationError as error:
            raise RunError(f"{path} is no slide stager: {first_problem(error)}. Make it anew.") from error


class StagingResult(BaseModel):
    """What a cross-validation said of each slide and patient, by forests that had not seen the patient."""

    model_config = _FROZEN

    slides: dict[str, Metastasis] = Field(description="Class said of each slide.")
    stages: dict[str, Stage] = Field(description="Stage said of each patient.")
    true_stages: dict[str, Stage]
    accuracy: float = Field(description="Share of slides whose class is right.")
    kappa: float | None = Field(
        description="Quadratic weighted kappa over the stages of the patients; none where all have one stage."
    )


def cross_validate(
    cases: Sequence[SlideCase], *, folds: int = 5, trees: int = 100, seed: int = 42
) -> StagingResult:
    """Classify every slide by a forest that has seen no slide of its patient.

    Parameters
    ----------
    cases : sequence of SlideCase
        Slides of names of their own.
    folds : int
        Groups of patients, of which each is left out once.
    trees, seed : int
        Of the forests; the seed also orders the patients.

    Raises
    ------
    RunError
        When there are fewer patients than folds, or a slide comes twice.
    """
    from sklearn.model_selection import GroupKFold

    patients = [case.patient for case in cases]
    if folds < 2 or len(set(patients)) < folds:
        raise RunError(
            f"{folds} folds leave out patients in turn, and there are {len(set(patients))}. Take from 2 to "
            "as many folds as patients."
        )
    if len({case.slide for case in cases}) < len(cases):
        raise RunError("A slide comes twice; give each one a name of its own.")
    said: dict[str, Metastasis] = {}
    parts = GroupKFold(folds, shuffle=True, random_state=seed)
    for learned, left_out in parts.split(np.zeros(len(cases)), groups=patients):
        stager = SlideStager(cases=tuple(cases[index] for index in learned), trees=trees, seed=seed)
        found = stager.classify([cases[index].features for index in left_out])
        said |= {cases[index].slide: one for index, one in zip(left_out, found, strict=True)}
    stages, truth = {}, {}
    for patient in dict.fromkeys(patients):
        own = [case for case in cases if case.patient == patient]
        stages[patient] = pn_stage([said[case.slide] for case in own])
        truth[patient] = pn_stage([case.truth for case in own])
    rows, columns = (
        np.array([CLASSES.index(one) for one in side])
        for side in ([said[case.slide] for case in cases], [case.truth for case in cases])
    )
    kappa = stage_kappa(list(stages.values()), list(truth.values()))
    return StagingResult(
        slides=said,
        stages=stages,
        true_stages=truth,
        accuracy=float(accuracy(confusion_matrix(rows, columns, range(len(CLASSES))))),
        kappa=None if np.isnan(kappa) else kappa,
    )


def _table(slides: Sequence[HeatMapFeatures]) -> npt.NDArray[np.float64]:
    return np.array([list(one.model_dump().values()) for one in slides], np.float64)
