"""Slides and plain images as grids of patches with labels."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from pydantic import TypeAdapter

from fakes import ArraySlide
from multistage_fakes import CLASSES, Fields, data, recipe
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import RunError
from napari_lumen.geometry import Window
from napari_lumen.inference.tile_plan import make_tile_plan
from napari_lumen.models import InputSpec, View
from napari_lumen.slides import open_slide
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.known import ConsepTiles, consep_patches
from napari_lumen.training.data.leaks import check_leaks
from napari_lumen.training.data.patch_rules import PatchLabel, PatchRule
from napari_lumen.training.data.splits import Split
from napari_lumen.training.recipes.multistage import MultiStageRecipe
from napari_lumen.training.recipes.multistage_images import PatchedImages
from napari_lumen.training.recipes.multistage_slides import TUMOUR, PatchedSlides, WholeSlides
from napari_lumen.training.sources import Source

NO_LABEL, NO_PATCH = int(PatchLabel.NO_LABEL), int(PatchLabel.NO_PATCH)


class One:
    """One image with labels."""

    classes = CLASSES
    items = (Item("field"),)

    def __init__(self, labels: np.ndarray, mpp: float | None = 0.5) -> None:
        self._labels, self._mpp, self.decoded = labels.astype(np.uint8), mpp, 0

    def image(self, index: int) -> np.ndarray:
        self.decoded += 1
        y, x = np.mgrid[: self._labels.shape[0], : self._labels.shape[1]]
        return np.stack([y % 256, x % 256, self._labels], axis=-1).astype(np.uint8)

    def labels(self, index: int) -> np.ndarray:
        return self._labels

    def mpp(self, index: int) -> float | None:
        return self._mpp


def patched(labels: np.ndarray, patch: int = 10, mpp: float | None = None) -> PatchedImages:
    return PatchedImages(One(labels), patch=patch, mpp=mpp, tumour=[3], rule=PatchRule())


# -- plain images --------------------------------------------------------------------------------------


def test_a_field_of_1000_px_is_a_map_of_16_x_16_patches_that_end_at_its_border() -> None:
    labels = np.zeros((1000, 1000), np.uint8)
    labels[936:, 936:] = 3
    slides = patched(labels, 64)
    cells = slides.cells(0)
    assert cells.shape == (16, 16)
    assert cells[15, 15] == 1
    assert cells[15, 14] == cells[14, 15] == 1  # three eighths, in columns 896 to 960
    assert (cells == 0).sum() == 16 * 16 - 3
    one = slides.read(0, 15, 3)
    assert one.shape == (64, 64, 3)
    assert (one[0, 0, 0], one[0, 0, 1]) == (936 % 256, 3 * 64)


@pytest.mark.parametrize(
    ("tumour", "normal", "label"),
    [
        (21, 79, 1),
        (20, 80, NO_LABEL),
        (19, 81, 0),
        (0, 81, 0),
        (0, 80, NO_LABEL),
        (100, 0, 1),
        (0, 0, NO_LABEL),
    ],
)
def test_shares_of_a_patch_decide_its_label_and_the_edges_are_not_enough(
    tumour: int, normal: int, label: int
) -> None:
    pixels = np.full(100, IGNORE, np.uint8)
    pixels[:tumour] = 3
    pixels[tumour : tumour + normal] = np.resize([0, 1], normal)  # background and another class
    np.random.default_rng(0).shuffle(pixels)
    assert patched(pixels.reshape(10, 10)).cells(0).tolist() == [[label]]


def test_an_image_is_decoded_once_for_all_its_patches_and_read_at_the_patches_pixel_size() -> None:
    labels = np.repeat(np.repeat(np.array([[0, 3], [1, IGNORE]], np.uint8), 20, 0), 20, 1)
    images = One(labels)
    slides = PatchedImages(images, patch=10, mpp=1.0, tumour=[3], rule=PatchRule())
    assert slides.cells(0).tolist() == [[0, 1], [0, NO_LABEL]]
    for row, column in itertools.product(range(2), range(2)):
        patch = slides.read(0, row, column)
        assert patch.shape == (10, 10, 3)
        assert patch[..., 0].mean() == pytest.approx(20 * row + 9.5, abs=0.6)
        assert patch[..., 1].mean() == pytest.approx(20 * column + 9.5, abs=0.6)
    assert images.decoded == 1


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(RunError, match="field of 30 x 9 px is smaller than a patch of 10 px"):
        patched(np.zeros((9, 30))).cells(0)


def test_reduced_images_are_means_of_their_patches_and_empty_around_them() -> None:
    rng = np.random.default_rng(3)
    labels = np.kron(rng.choice([0, 3, IGNORE], (4, 6)), np.ones((4, 4))).astype(np.uint8)
    slides = patched(labels, 8)
    image, known = slides.reduced(0, Window(-1, 1, 3, 3), 2)
    assert image.shape == (6, 6, 3)
    assert (image[:2] == 255).all()
    assert (image[:, 4:] == 255).all()
    pixels = One(labels).image(0).astype(float)
    wanted = pixels.reshape(4, 4, 6, 4, 3).mean(axis=(1, 3))[:, 2:]
    np.testing.assert_allclose(image[2:, :4], wanted, atol=1)
    truth = np.where(labels == 3, TUMOUR, labels)[1::4, 1::4][:, 2:]
    assert np.array_equal(known[2:, :4], truth)
    assert (known[:2] == IGNORE).all()


def test_consep_tiles_are_small_slides(shared_data: Path) -> None:
    tiles = ConsepTiles(consep_patches(shared_data / "nuclei_consep"))
    one = recipe(MultiStageRecipe, patch=64, crop=56, tumour=("malignant epithelium",))
    slides = one.slides(tiles)
    index = [item.name for item in tiles.items].index("train_7")
    cells, labels = slides.cells(index), tiles.labels(index)
    assert cells.shape == (16, 16)
    tumour = [
        [(labels[y : y + 64, x : x + 64] == 4).mean() > 0.2 for x in range(0, 960, 64)] for y in (0, 320)
    ]
    assert np.array_equal(cells[[0, 5], :15] == 1, tumour)
    assert 0.5 < (cells == 1).mean() < 0.8
    assert np.array_equal(slides.read(index, 2, 3), tiles.image(index)[128:192, 192:256])


# -- annotated slides ----------------------------------------------------------------------------------


def box(y: float, x: float, bottom: float, right: float, name: str) -> Annotation:
    return Annotation(shapely.box(x, y, right, bottom), name)


def whole_slide(
    *annotations: Annotation, tissue: shapely.Polygon | None = None, side: int = 200
) -> WholeSlides:
    y, x = np.mgrid[:side, : side + 60]
    pixels = np.stack([y, x % 256, x // 256], axis=-1).astype(np.uint8)
    rules = AnnotationRules(CLASSES, unlabelled="background")
    slide = ArraySlide(pixels, mpp=(0.25, 0.25))
    return WholeSlides([AnnotatedSlide(Item("slide"), slide, annotations, rules, tissue)])


def section(folder: Path, share: float, mpp: float, patch: int) -> Path:
    """Write a slide 12 patches wide of which the left half is tissue, and so much of the next patches."""
    side = patch * 12
    pixels = np.full((side, side, 3), 243, np.uint8)
    pixels[:, : 6 * patch + round(share * patch)] = 200, 120, 160
    resolution = (10_000 / mpp, 10_000 / mpp)
    tifffile.imwrite(
        folder / "section.tif",
        pixels,
        tile=(256, 256),
        compression="zlib",
        photometric="rgb",
        resolution=resolution,
        resolutionunit="CENTIMETER",
    )
    write_annotations(folder / "section.geojson", [box(0, 0, patch, patch, "tumour")])
    return folder / "section.tif"


def test_annotations_label_the_patches_of_a_slide_as_counting_its_pixels_does() -> None:
    tissue = shapely.box(10, 0, 230, 190)
    outlines = box(20, 30, 90, 110, "tumour"), box(100, 0, 180, 90, "gland"), box(0, 150, 60, 200, "Ignore*")
    slides = PatchedSlides(
        whole_slide(*outlines, tissue=tissue), mpp=0.5, patch=20, tumour=[3], rule=PatchRule()
    )
    cells = slides.cells(0)
    assert cells.shape == (5, 7)  # 200 x 260 px in patches of 40; the last column is half outside
    kinds = np.zeros((200, 280), np.uint8)
    kinds[20:90, 30:110] = 3
    kinds[0:60, 150:200] = IGNORE
    there = np.zeros((200, 280), bool)
    there[:190, 10:230] = True
    for row, column in np.ndindex(*cells.shape):
        part = np.s_[row * 40 : row * 40 + 40, column * 40 : column * 40 + 40]
        share, tumour = there[part].mean(), (kinds[part] == 3).mean()
        on_slide = kinds[part][:, : max(0, 260 - column * 40)]
        normal = (on_slide == 0).sum() / 1600
        wanted = NO_PATCH if share <= 0.8 else 1 if tumour > 0.2 else 0 if normal > 0.8 else NO_LABEL
        assert cells[row, column] == wanted, (row, column)
    assert {0, 1, NO_LABEL, NO_PATCH} == set(cells.ravel().tolist())


def test_a_patch_of_a_slide_is_read_by_itself_at_its_pixel_size() -> None:
    whole = whole_slide()
    slides = PatchedSlides(whole, mpp=0.5, patch=20, tumour=[3], rule=PatchRule())
    patch = slides.read(0, 2, 3)
    assert patch.shape == (20, 20, 3)
    assert patch[..., 0].mean() == pytest.approx(80 + 19.5, abs=0.6)
    assert patch[..., 1].mean() == pytest.approx(120 + 19.5, abs=0.6)
    assert whole.slide(0).slide.largest_read <= 46**2  # type: ignore[attr-defined]  # with what filters need
    image, labels = slides.reduced(0, Window(-1, 0, 3, 2), 5)
    assert image.shape == (15, 10, 3)
    assert (image[:4] == 255).all()
    assert image[5:10, :5, 0].mean() == pytest.approx(19.5, abs=1)
    assert (labels[:5] == IGNORE).all()
    assert (labels[5:] == 0).all()


def test_without_an_outline_of_tissue_all_of_a_slide_is_tissue() -> None:
    slides = PatchedSlides(whole_slide(), mpp=0.25, patch=50, tumour=[3], rule=PatchRule())
    cells = slides.cells(0)
    assert cells.shape == (4, 6)
    assert (cells[:, :5] == 0).all()
    assert (cells[:, 5] == NO_PATCH).all()  # 10 of 50 px are on the slide


def test_slides_are_cut_at_a_pixel_size_that_the_recipe_must_name() -> None:
    with pytest.raises(RunError, match="give the recipe its field mpp"):
        recipe().slides(whole_slide())
    assert isinstance(recipe(mpp=0.5).slides(whole_slide()), PatchedSlides)
    with pytest.raises(RunError, match="takes annotated slides, or images with label images"):
        recipe().slides(object())


def test_slides_can_be_split_and_looked_at_for_leaks() -> None:
    one = whole_slide().slide(0)
    twice = WholeSlides([one, AnnotatedSlide(Item("copy"), one.slide, (), one.rules)])
    assert [item.slide for item in twice.items] == ["slide", "copy"]
    split = Split(by="slide", seed=0, parts={"train": ("slide",), "validation": ("copy",)})
    with pytest.raises(RunError, match="'slide' of 'train' and 'copy' of 'validation' show the same field"):
        check_leaks(twice, split)
    with pytest.raises(RunError, match="There is no slide"):
        WholeSlides([])


def test_a_recipe_for_slides_makes_a_plan() -> None:
    whole = whole_slide(box(20, 30, 90, 110, "tumour"))
    one = whole.slide(0)
    other = AnnotatedSlide(Item("other"), one.slide, one.annotations, one.rules)
    plan = recipe(mpp=0.5, patch=20, crop=16).plan(data(WholeSlides([one, other]), 1))
    assert (plan.card["input"].views[0].mpp, plan.card["input"].tissue_share) == (0.5, 0.8)
    assert (plan.card["task"], plan.card["slide_map"]) == ("slide", "lumps")
    plain = recipe().plan(data(Fields(mpp=None))).card["input"]
    assert (plain.views[0].mpp, plain.tissue_share) == (0.5, None)


@pytest.mark.parametrize(("mpp", "patch"), [(0.25, 256), (0.5, 256), (1.0, 128)])
@pytest.mark.parametrize(("share", "kept"), [(0.65, False), (0.95, True)])
def test_a_patch_is_kept_by_its_own_tissue_and_a_run_answers_what_was_kept(
    tmp_path: Path, mpp: float, patch: int, share: float, kept: bool
) -> None:
    path = section(tmp_path, share, mpp, patch)
    content = {
        "kind": "whole_slides",
        "slides": [{"slide": path, "annotations": path.with_suffix(".geojson")}],
        "classes": ["tumour"],
        "unlabelled": "background",
    }
    images = TypeAdapter(Source).validate_python(content).open()
    cells = recipe(mpp=mpp, patch=patch, crop=patch).slides(images).cells(0)
    assert (cells[:, :6] != NO_PATCH).all()
    assert ((cells[:, 6] != NO_PATCH) == kept).all()
    assert (cells[:, 7:] == NO_PATCH).all()
    slide = open_slide(path)
    spec = InputSpec(views=(View(size=patch, mpp=mpp),), overlap=0, tissue_share=0.8)
    plan = make_tile_plan(slide, spec, None, centred=False)
    answered = np.zeros(plan.cells, bool)
    answered[tuple(zip(*map(plan.cell_of, plan.tiles), strict=True))] = True
    assert np.array_equal(answered, cells != NO_PATCH)
    everywhere = make_tile_plan(slide, spec.model_copy(update={"tissue_share": None}), None, centred=False)
    assert set(everywhere.tiles) > set(plan.tiles)
