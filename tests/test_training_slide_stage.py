"""From heat maps to slide classes and patients' stages."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from napari_lumen.errors import RunError
from napari_lumen.evaluation.staging import metastasis_class, pn_stage, stage_kappa
from napari_lumen.training.slide_stage import (
    CLASSES,
    HeatMapFeatures,
    SlideCase,
    SlideStager,
    StagingResult,
    cross_validate,
    describe_heat_map,
)


def components_of(tumour: np.ndarray) -> list[set[tuple[int, int]]]:
    """Flood fill over sides and corners: an oracle without scipy."""
    left = {(int(row), int(column)) for row, column in np.argwhere(tumour)}
    found = []
    while left:
        reached, queue = set(), [left.pop()]
        while queue:
            row, column = queue.pop()
            reached.add((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            queue += near
        found.append(reached)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_heat_map_is_described_as_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = np.where(rng.uniform(size=(7, 9)) < 0.2, np.nan, rng.uniform(0, 0.8, (7, 9)))
    height, width = 128.0, 64.0
    got = describe_heat_map(probability, (height, width))
    groups = components_of(np.nan_to_num(probability) >= 0.5)
    largest = max(len(group) for group in groups)
    corners = [
        {((r + i) * height, (c + j) * width) for r, c in group for i in (0, 1) for j in (0, 1)}
        for group in groups
        if len(group) == largest
    ]
    axes = [max(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in combinations(one, 2)) for one in corners]
    assert any(got.longest_axis_um == pytest.approx(axis) for axis in axes)
    assert got.largest_area_um2 == largest * height * width
    assert got.total_area_um2 == sum(map(len, groups)) * height * width
    assert got.components == len(groups)
    assert got.max_probability == np.nanmax(probability)
    assert got.mean_probability == pytest.approx(np.nanmean(probability))


def test_one_patch_is_as_long_as_its_diagonal_and_a_slide_without_tumour_or_tissue_is_nothing() -> None:
    one = np.zeros((5, 5))
    one[2, 2] = 0.5
    assert describe_heat_map(one, (30, 40)).longest_axis_um == 50
    assert describe_heat_map(one, (30, 40), threshold=0.6).components == 0
    empty = describe_heat_map(np.full((3, 3), np.nan), (30, 40))
    assert set(empty.model_dump().values()) == {0}


def cases(patients: int = 12, nodes: int = 5, seed: int = 1) -> list[SlideCase]:
    """Slides with a line of tumour whose length decides the class, at 100 µm a patch."""
    rng = np.random.default_rng(seed)
    found = []
    for patient in range(patients):
        for node in range(nodes):
            length = int(rng.choice([0, 1, 12, 30]))
            heat = rng.uniform(0, 0.3, (40, 40))
            heat[20, :length] = rng.uniform(0.6, 1, length)
            truth = metastasis_class(length * 100.0 / 1000)
            features = describe_heat_map(heat, (100.0, 100.0))
            name = f"patient {patient} node {node}"
            found.append(SlideCase(slide=name, patient=f"patient {patient}", truth=truth, features=features))
    return found


def test_a_forest_of_the_slides_tells_their_class_and_the_stage_of_a_patient() -> None:
    every = cases()
    assert {case.truth for case in every} == set(CLASSES)
    stager = SlideStager(cases=tuple(every[:40]))
    held_out = every[40:]
    said = stager.classify([case.features for case in held_out])
    assert said == [case.truth for case in held_out]
    own = held_out[:5]
    assert stager.stage([case.features for case in own]) == pn_stage([case.truth for case in own])
    assert stager.classify([]) == []


def test_it_says_what_scikit_learn_s_forest_says() -> None:
    rng = np.random.default_rng(0)

    def random_features() -> HeatMapFeatures:
        axis, area, top, mean, total = rng.uniform(size=5).tolist()
        return HeatMapFeatures(
            longest_axis_um=axis,
            largest_area_um2=area,
            max_probability=top,
            mean_probability=mean,
            components=int(rng.integers(9)),
            total_area_um2=total,
        )

    known = [
        SlideCase(slide=str(index), patient="p", truth=CLASSES[index % 4], features=random_features())
        for index in range(60)
    ]
    asked = [random_features() for _ in range(50)]
    forest = RandomForestClassifier(n_estimators=30, random_state=5)
    names = list(HeatMapFeatures.model_fields)

    def table(rows: list[HeatMapFeatures]) -> list[list[float]]:
        return [[getattr(row, name) for name in names] for row in rows]

    forest.fit(table([case.features for case in known]), [case.truth for case in known])
    stager = SlideStager(cases=tuple(known), trees=30, seed=5)
    assert stager.classify(asked) == forest.predict(table(asked)).tolist()


def test_a_stager_is_a_table_in_json_and_says_the_same_when_it_is_read(tmp_path: Path) -> None:
    every = cases(4)
    stager = SlideStager(cases=tuple(every), trees=20)
    stager.write(tmp_path / "stager.json")
    again = SlideStager.read(tmp_path / "stager.json")
    assert again == stager
    asked = [case.features for case in cases(3, seed=9)]
    assert again.classify(asked) == stager.classify(asked)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read the slide stager"),
        ("{", "is no slide stager"),
        ('{"cases": []}', "names no slide"),
    ],
)
def test_a_file_that_is_no_stager_gives_one_sentence(
    content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "stager.json").write_text(content)
    with pytest.raises(RunError, match=message):
        SlideStager.read(tmp_path / "stager.json")


def test_every_slide_is_classified_by_a_forest_that_has_not_seen_its_patient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every, asked = cases(), []
    classify = SlideStager.classify

    def watched(self: SlideStager, slides: list[HeatMapFeatures]) -> object:
        owners = {case.patient for case in every if case.features in slides}
        assert not owners & {case.patient for case in self.cases}
        asked.append(len(slides))
        return classify(self, slides)

    monkeypatch.setattr(SlideStager, "classify", watched)
    result = cross_validate(every, trees=20)
    assert len(asked) == 5
    assert sum(asked) == len(every) == len(result.slides)
    assert result.accuracy == np.mean([result.slides[case.slide] == case.truth for case in every]) > 0.9
    patients = list(dict.fromkeys(case.patient for case in every))
    assert list(result.stages) == patients
    for patient in patients:
        own = [case for case in every if case.patient == patient]
        assert result.stages[patient] == pn_stage([result.slides[case.slide] for case in own])
        assert result.true_stages[patient] == pn_stage([case.truth for case in own])
    assert result.kappa == stage_kappa(list(result.stages.values()), list(result.true_stages.values()))
    assert StagingResult.model_validate_json(result.model_dump_json()) == result


def test_folds_need_patients_and_slides_need_names() -> None:
    with pytest.raises(RunError, match="5 folds leave out patients in turn, and there are 4"):
        cross_validate(cases(4))
    with pytest.raises(RunError, match="comes twice"):
        cross_validate([*cases(5), *cases(1)])


def test_where_all_patients_have_one_stage_there_is_no_kappa() -> None:
    blank = describe_heat_map(np.zeros((3, 3)), (1, 1))
    every = [
        SlideCase(slide=str(index), patient=str(index), truth="negative", features=blank)
        for index in range(4)
    ]
    result = cross_validate(every, folds=2, trees=2)
    assert result.kappa is None
    assert result.accuracy == 1
    assert StagingResult.model_validate_json(result.model_dump_json()) == result
