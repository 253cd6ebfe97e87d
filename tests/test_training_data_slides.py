"""Annotated slides become label images and balanced patches; patches are labelled as the paper says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from fakes import ArraySlide
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError, RunError, SlideError
from napari_lumen.geometry import Grid, Window
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.area_sampling import AreaSampler
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.data.patch_rules import PatchLabel, PatchRule, label_patches, shares
from napari_lumen.training.data.slide_patches import SlidePatches
from napari_lumen.training.data.splits import split_items

CLASSES = ClassTable.of([(1, "tumour", (255, 0, 0)), (2, "stroma", (0, 255, 0))])
TUMOUR, STROMA = (200, 40, 40), (40, 200, 40)


def box(y: float, x: float, bottom: float, right: float, name: str | None) -> Annotation:
    return Annotation(shapely.box(x, y, right, bottom), name)


def annotated(
    *annotations: Annotation, name: str = "slide", mpp: float = 0.5, tissue: object = None, **rules: object
) -> AnnotatedSlide:
    """A slide of 100 x 140 px: tumour in rows 10 to 30, stroma in rows 50 to 90, glass elsewhere."""
    pixels = np.full((100, 140, 3), 255, np.uint8)
    pixels[10:30, 20:60], pixels[50:90, 20:120] = TUMOUR, STROMA
    return AnnotatedSlide(
        Item(name, patient=f"patient of {name}"),
        ArraySlide(pixels, mpp=(mpp, mpp)),
        annotations,
        AnnotationRules(CLASSES, **rules),  # type: ignore[arg-type]
        tissue,  # type: ignore[arg-type]
    )


def whole(one: AnnotatedSlide) -> np.ndarray:
    return one.labels(Grid((100, 140), (1.0, 1.0)), Window(0, 0, 100, 140))


BOTH = (box(10, 20, 30, 60, "tumour"), box(50, 20, 90, 120, "stroma"))


def test_what_nobody_annotated_has_no_label_unless_it_is_called_background() -> None:
    labels = whole(annotated(*BOTH))
    assert Counter(labels.ravel().tolist()) == {1: 800, 2: 4000, IGNORE: 9200}
    assert (labels[10:30, 20:60] == 1).all()
    labels = whole(annotated(*BOTH, unlabelled="background"))
    assert Counter(labels.ravel().tolist()) == {1: 800, 2: 4000, 0: 9200}


def test_within_an_annotated_region_what_is_left_is_background_whatever_the_order() -> None:
    for order in (1, -1):
        labels = whole(annotated(*[box(0, 0, 40, 80, "Region*"), *BOTH][::order]))
        assert Counter(labels.ravel().tolist()) == {1: 800, 2: 4000, 0: 3200 - 800, IGNORE: 9200 - 2400}


def test_later_annotations_lie_on_top_and_ignored_ones_above_all() -> None:
    labels = whole(
        annotated(
            box(0, 0, 10, 10, "Ignore*"),
            box(0, 0, 40, 40, "tumour"),
            box(20, 0, 40, 40, "stroma"),
            box(30, 0, 40, 40, "Background"),
        )
    )
    assert [int(labels[row, 20]) for row in (5, 25, 35)] == [1, 2, 0]
    assert (labels[:10, :10] == IGNORE).all()
    assert labels[10, 10] == 1


def test_labels_are_drawn_along_the_edges_of_the_patch_s_own_pixels() -> None:
    one = annotated(box(8, 16, 24, 40, "tumour"), unlabelled="background")
    coarse = one.labels(Grid((6, 8), (4.0, 4.0), (4.0, 8.0)), Window(0, 0, 6, 8))
    wanted = np.zeros((6, 8), np.uint8)
    wanted[1:5, 2:8] = 1
    assert np.array_equal(coarse, wanted)
    part = one.labels(Grid((6, 8), (4.0, 4.0), (4.0, 8.0)), Window(1, 2, 3, 5))
    assert np.array_equal(part, wanted[1:4, 2:7])


def test_outside_the_slide_there_is_no_label() -> None:
    one = annotated(box(-50, -50, 20, 20, "tumour"), unlabelled="background")
    labels = one.labels(Grid((30, 40), (1.0, 1.0), (-10.0, -15.0)), Window(0, 0, 30, 40))
    assert (labels[:10] == IGNORE).all()
    assert (labels[:, :15] == IGNORE).all()
    assert (labels[10:, 15:35] == 1).all()


def test_a_name_that_means_nothing_is_an_error_and_one_class_needs_no_names() -> None:
    with pytest.raises(AnnotationError, match="slide has an annotation of the class 'fat'; there is tumour"):
        whole(annotated(box(0, 0, 5, 5, "fat")))
    with pytest.raises(AnnotationError, match="without a class"):
        whole(annotated(box(0, 0, 5, 5, None)))
    assert (whole(annotated(box(0, 0, 5, 5, "fat"), ignored=("fat",))) == IGNORE).all()
    alone = ClassTable.of([(3, "tumour", (0, 0, 0))])
    one = AnnotatedSlide(Item("s"), annotated().slide, [box(0, 0, 5, 5, None)], AnnotationRules(alone))
    assert whole(one)[0, 0] == 3


def test_areas_are_what_is_seen_of_each_class() -> None:
    one = annotated(
        box(0, 0, 40, 40, "tumour"),
        box(20, 0, 40, 40, "tumour"),  # drawn twice, counted once
        box(30, 0, 50, 20, "stroma"),
        box(0, 0, 10, 10, "Ignore*"),
        box(-20, 0, 60, 60, "Region*"),
    )
    area = {value: sum(part.area for part in parts) for value, parts in one.areas.items()}
    assert area == {1: 1600 - 200 - 100, 2: 400, 0: 3600 - 1600 - 200}
    labels = whole(one)
    assert {value: (labels == value).sum() for value in area} == area


def test_background_is_drawn_from_tissue_alone_where_that_is_known() -> None:
    tissue = shapely.box(0, 0, 140, 45)
    one = annotated(*BOTH, unlabelled="background", tissue=tissue)
    assert sum(part.area for part in one.areas[0]) == 140 * 45 - 800
    one = annotated(*BOTH, box(40, 0, 50, 140, "Region*"), tissue=tissue)
    assert sum(part.area for part in one.areas[0]) == 140 * 5
    assert sum(part.area for part in one.areas[2]) == 4000


def test_points_fall_evenly_on_the_area_of_polygons_with_holes_and_notches() -> None:
    square = shapely.box(0, 0, 10, 10) - shapely.box(2, 2, 8, 8)
    notched = shapely.Polygon([(20, 0), (40, 0), (40, 9), (30, 1), (20, 9)])
    sampler = AreaSampler([square, notched], [1.0, 2.0])
    assert sampler.area == pytest.approx(64 + 2 * notched.area)
    rng = np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(4000)]
    points = shapely.points([point for _, point in drawn])
    for index, polygon in enumerate((square, notched)):
        mine = np.array([owner == index for owner, _ in drawn])
        assert shapely.covers(polygon.buffer(1e-9), points[mine]).all()
    assert np.mean([owner for owner, _ in drawn]) == pytest.approx(2 * notched.area / sampler.area, abs=0.03)
    corner = shapely.covers(shapely.box(0, 0, 5, 2), points).sum()
    assert corner / 4000 == pytest.approx(10 / sampler.area, abs=0.02)


def test_points_lie_around_the_centroid_of_a_triangle() -> None:
    triangle = shapely.Polygon([(0, 0), (9, 0), (0, 3)])
    rng = np.random.default_rng(1)
    points = np.array([AreaSampler([triangle]).draw(rng)[1] for _ in range(1500)])
    assert points.mean(axis=0) == pytest.approx((3, 1), abs=0.2)


def patches(*slides: AnnotatedSlide, **more: object) -> SlidePatches:
    settings = {"mpp": 0.5, "size": 8, "count": 60, "seed": 5} | more
    return SlidePatches(slides, **settings)  # type: ignore[arg-type]


def test_each_class_is_drawn_equally_often_and_lies_at_the_centre_of_its_patches() -> None:
    one = annotated(*BOTH, box(0, 0, 100, 140, "Region*"))
    epoch = patches(one).patches()
    assert Counter(place.value for place in epoch.places) == {0: 20, 1: 20, 2: 20}
    at = {0: (255, 255, 255), 1: TUMOUR, 2: STROMA}
    for index, place in enumerate(epoch.places):
        y, x = int(place.y), int(place.x)
        assert tuple(one.slide.read(y, x, 1, 1)[0, 0]) == at[place.value]
        labels = epoch.labels(index)
        assert labels.shape == epoch.image(index).shape[:2] == (8, 8)
        assert (labels[3:5, 3:5] == place.value).any()
    assert Counter(p.value for p in patches(one, background=False).patches().places) == {1: 30, 2: 30}


def test_images_and_labels_of_a_patch_show_the_same_pixels() -> None:
    one = annotated(*BOTH, unlabelled="background")
    epoch = patches(one, count=30).patches()
    colors = np.array([(255, 255, 255), TUMOUR, STROMA])
    for index in range(30):
        image, labels = epoch.image(index).astype(int), epoch.labels(index)
        nearest = np.abs(image[:, :, None] - colors).sum(axis=-1).argmin(axis=-1)
        known = labels != IGNORE
        # patches lie between pixels: one whose half lies in either may be called by the other's name
        assert (nearest != labels)[known].mean() < 0.08
        inner = known & (
            np.ptp(np.stack([np.roll(labels, shift, (0, 1)) for shift in (-1, 0, 1)]), axis=0) == 0
        )
        assert np.array_equal(nearest[inner], labels[inner])


def test_a_patch_depends_on_seed_and_number_alone() -> None:
    one = annotated(*BOTH)
    assert patches(one).patches().places == patches(one).patches().places
    assert patches(one, count=5).patches().places == patches(one).patches().places[:5]
    assert patches(one).patches().places != patches(one, seed=6).patches().places


def test_slides_share_the_patches_by_their_area_in_micrometres() -> None:
    fine, coarse = (annotated(BOTH[0], name=name, mpp=mpp) for name, mpp in (("fine", 0.25), ("coarse", 0.5)))
    found = patches(fine, coarse, count=500)
    epoch = found.patches()
    assert np.mean([item.slide == "coarse" for item in epoch.items]) == pytest.approx(0.8, abs=0.05)
    assert len({item.name for item in epoch.items}) == 500
    assert {item.patient for item in epoch.items} == {"patient of fine", "patient of coarse"}
    assert epoch.mpp(0) == 0.5


@pytest.mark.parametrize("size", [8, 9])
def test_the_drawn_point_is_the_middle_of_its_patch(size: int) -> None:
    middle = size / 2
    # over the corner of the stroma: a shift would show
    pin = box(46 + middle, 17 + middle, 46 + middle + 1e-7, 17 + middle + 1e-7, "tumour")
    one = annotated(pin)
    epoch = patches(one, count=1, size=size).patches()
    assert np.array_equal(epoch.image(0), one.slide.read(46, 17, size, size))


def test_patches_of_the_same_slide_under_two_names_are_a_leak() -> None:
    drawn = patches(*(annotated(*BOTH, name=name) for name in "abc")).patches()
    split = split_items(drawn.items, {"train": 2, "test": 1}, by="slide", seed=0)
    assert {item.slide for item in drawn.items if item.name in split.parts["test"]} < set("abc")
    with pytest.raises(RunError, match="show the same field"):  # all three are the same picture
        check_leaks(drawn, split)
    check_leaks(drawn, split, least=None)


def test_slides_that_cannot_be_drawn_from_are_errors() -> None:
    with pytest.raises(RunError, match="Nothing that patches could be drawn from is annotated on slide"):
        patches(annotated())
    bare = annotated()
    with pytest.raises(RunError, match="Nothing of the classes is annotated on bare: outline something"):
        patches(annotated(*BOTH), replace(bare, item=Item("bare")))
    with pytest.raises(RunError, match="no slide"):
        patches()
    with pytest.raises(RunError, match="same name"):
        patches(annotated(*BOTH), annotated(*BOTH))
    unknown = annotated(*BOTH)
    unknown.slide.mpp = None
    with pytest.raises(SlideError, match="pixel size"):
        patches(unknown)


SHARES = [0.0, 0.2, np.nextafter(0.2, 1), 0.5, 0.8, np.nextafter(0.8, 1), 1.0]


@given(st.sampled_from(SHARES), st.sampled_from(SHARES), st.sampled_from(SHARES))
def test_a_patch_is_labelled_by_the_rules_of_the_paper(tissue: float, tumour: float, normal: float) -> None:
    (label,) = label_patches(np.array([tissue]), np.array([tumour]), np.array([normal]))
    if not tissue > 0.8:
        assert label == PatchLabel.NO_PATCH
    elif tumour > 0.2:
        assert label == PatchLabel.TUMOUR
    elif normal > 0.8:
        assert label == PatchLabel.NORMAL
    else:
        assert label == PatchLabel.NO_LABEL


def test_exactly_a_fifth_of_tumour_is_none_and_exactly_four_fifths_of_tissue_are_too_few() -> None:
    tissue, tumour = np.zeros((5, 20), bool), np.zeros((5, 20), bool)
    tissue[:4, :5] = tissue[:, 5:] = True  # 20 of 25 px, then all
    tumour[:5, 5:6] = True  # 5 of 25 px
    tumour[:5, 10:11] = tumour[0, 11] = True  # 6 of 25 px
    found = label_patches(*(shares(mask, 5) for mask in (tissue, tumour, ~tumour)))
    assert found.tolist() == [
        [PatchLabel.NO_PATCH, PatchLabel.NO_LABEL, PatchLabel.TUMOUR, PatchLabel.NORMAL]
    ]


def test_shares_leave_out_what_is_no_whole_patch() -> None:
    mask = np.zeros((9, 7), bool)
    mask[:4, 3:] = True
    assert shares(mask, 3).tolist() == [[0, 1], [0, 1 / 3], [0, 0]]
    assert (
        label_patches(shares(mask, 3), shares(mask, 3), shares(~mask, 3), PatchRule(0, 0.5))
        == [
            [PatchLabel.NO_PATCH, PatchLabel.TUMOUR],
            [PatchLabel.NO_PATCH, PatchLabel.NO_LABEL],
            [PatchLabel.NO_PATCH, PatchLabel.NO_PATCH],
        ]
    ).all()
