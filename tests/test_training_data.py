"""Folders of images: found, read, checked, and told apart by what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.corrections import CorrectedWindow, CorrectionIndex
from napari_lumen.errors import RunError
from napari_lumen.slides import open_slide
from napari_lumen.slides.cache import TileCache
from napari_lumen.training.data.corrections import Corrections
from napari_lumen.training.data.graded import GradedImages, graded_by_folder, graded_by_table
from napari_lumen.training.data.image_set import GradedSet, ImageSet, InstanceSet
from napari_lumen.training.data.instance_folder import InstanceFolder, read_object_classes
from napari_lumen.training.data.item import IGNORE, Item
from napari_lumen.training.data.item_table import Columns, read_table
from napari_lumen.training.data.labelled_files import labelled_files
from napari_lumen.training.data.labelled_folder import LabelledFolder

Array = npt.NDArray[Any]
CLASSES = ClassTable.of([(1, "gland", (255, 0, 0)), (4, "stroma", (0, 255, 0))])
NUCLEUS = ClassTable.of([(1, "nucleus", (0, 0, 255))])


def noise(seed: int, height: int = 12, width: int = 16) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, array: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, as PNG, TIFF and JPEG, with labels of 0, 1, 4 and 255."""
    labels = np.zeros((12, 16), np.uint8)
    labels[:4, :4], labels[4:8], labels[-1] = 1, 4, IGNORE
    for number, (image, label) in enumerate([(".png", ".png"), (".tif", ".npy"), (".jpg", ".tif")]):
        save(tmp_path / "images" / f"field{number}{image}", noise(number))
        save(tmp_path / "labels" / f"field{number}{label}", labels)
    return tmp_path


def test_images_and_labels_of_the_same_stem_are_a_set(folder: Path) -> None:
    found: ImageSet = LabelledFolder(labelled_files(folder, mpp=0.5), CLASSES)
    assert [item.name for item in found.items] == ["field0", "field1", "field2"]
    assert np.array_equal(found.image(0), noise(0))
    assert np.array_equal(found.image(1), noise(1))
    assert found.image(2).shape == (12, 16, 3)
    for index in range(3):
        labels = found.labels(index)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) == {0, 1, 4, IGNORE}
        assert found.mpp(index) == 0.5


def test_other_folders_and_other_values_can_be_named(tmp_path: Path) -> None:
    save(tmp_path / "rgb" / "a.png", noise(0, 4, 3))
    save(tmp_path / "masks" / "a.png", np.array([[0, 128, 255]] * 4, np.uint8))
    files = labelled_files(tmp_path, images="rgb", labels="masks")
    found = LabelledFolder(files, CLASSES, values={0: IGNORE, 128: 1, 255: 4})
    assert found.labels(0).tolist() == [[IGNORE, 1, 4]] * 4


def test_a_value_that_is_no_class_is_an_error_that_names_the_file(folder: Path) -> None:
    path = save(folder / "labels" / "field0.png", np.full((12, 16), 3, np.uint8))
    with pytest.raises(RunError, match=r"field0\.png holds the value 3.*1 for gland") as error:
        LabelledFolder(labelled_files(folder), CLASSES).labels(0)
    assert str(path) in str(error.value)


def test_labels_of_another_size_are_an_error_that_says_both(folder: Path) -> None:
    save(folder / "labels" / "field0.png", np.zeros((12, 15), np.uint8))
    with pytest.raises(RunError, match="16 x 12 px, its labels of 15 x 12 px"):
        LabelledFolder(labelled_files(folder), CLASSES).labels(0)


def test_labels_of_three_channels_are_an_error(folder: Path) -> None:
    save(folder / "labels" / "field0.png", noise(0))
    with pytest.raises(RunError, match="one channel of whole numbers"):
        LabelledFolder(labelled_files(folder), CLASSES).labels(0)


@pytest.mark.parametrize("value", [2**31 + 9, 2**32 + 1])
def test_a_number_that_32_bits_do_not_hold_is_an_error_that_names_it(folder: Path, value: int) -> None:
    labels = np.zeros((12, 16), np.int64)
    labels[2:4, 2:4] = value
    save(folder / "labels" / "field1.npy", labels)
    with pytest.raises(RunError, match=f"field1.npy holds {value:,}; labels go up to 2,147,483,647"):
        InstanceFolder(labelled_files(folder), NUCLEUS).instances(1)


def test_an_image_without_labels_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "labels" / "field1.npy").unlink()
    with pytest.raises(RunError, match="no file for 'field1'"):
        labelled_files(folder)


def test_two_images_of_one_stem_are_an_error(folder: Path) -> None:
    save(folder / "images" / "field0.bmp", noise(5))
    with pytest.raises(RunError, match=r"field0\.bmp and field0\.png"):
        labelled_files(folder)


def test_a_class_may_not_have_the_value_of_the_background_or_of_no_label(folder: Path) -> None:
    for value in (0, 255, 300):
        with pytest.raises(RunError, match="1 to 254"):
            LabelledFolder(labelled_files(folder), ClassTable.of([(value, "gland", (0, 0, 0))]))


def test_a_table_chooses_the_items_and_says_where_they_are_from(folder: Path) -> None:
    table = folder / "items.csv"
    table.write_text(
        "\ufeffID, Patient,slide,tile,group,mpp\nfield2,p1,s1,t1,pink,0.25\nfield0,p2,,,,\n", encoding="utf-8"
    )
    files = labelled_files(folder, table=table, columns=Columns(name="id"), mpp=1.0)
    found = LabelledFolder(files, CLASSES)
    assert found.items == (Item("field2", "t1", "s1", "p1", "pink"), Item("field0", patient="p2"))
    assert (found.mpp(0), found.mpp(1)) == (0.25, 1.0)
    assert np.array_equal(found.image(1), noise(0))


def test_a_name_with_a_dot_is_missed_under_its_whole_name(folder: Path) -> None:
    save(folder / "images" / "field0.b.png", noise(0))
    with pytest.raises(RunError, match=r"labels has no file for 'field0\.b'; add it"):
        labelled_files(folder)


def test_a_table_names_files_without_their_suffix(folder: Path) -> None:
    (folder / "items.csv").write_text("name\nfield0.png\n")
    with pytest.raises(RunError, match=r"items.csv names 'field0.png': leave the suffix"):
        labelled_files(folder, table=folder / "items.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,mpp\na,1\n", "has no column 'name'; there is image, mpp"),
        ("name\n", "names no item"),
        ("name,patient,Patient\na,1,2\n", "two columns 'patient'"),
        ("name,mpp\n\n\na,coarse\n", "line 4, has 'coarse'"),
        ("name\na\na\n", "names 'a' twice"),
        ("name,mpp\na,coarse\n", "'coarse' as pixel size"),
        ("name,mpp\na,-1\n", "'-1' as pixel size"),
        ("name,mpp\n,1\n", "line 2, has nothing in the column 'name'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "items.csv"
    table.write_text(text)
    with pytest.raises(RunError, match=said):
        read_table(table)


def test_images_with_blue_first_are_turned_round(folder: Path) -> None:
    found = LabelledFolder(labelled_files(folder), CLASSES, blue_first=True)
    assert np.array_equal(found.image(0), noise(0)[..., ::-1])
    assert found.image(0).flags.c_contiguous


def test_grey_images_have_three_equal_channels_and_deep_ones_are_refused(tmp_path: Path) -> None:
    grey = noise(0)[..., 0]
    save(tmp_path / "images" / "a.png", grey)
    save(tmp_path / "images" / "b.tif", grey.astype(np.uint16))
    for name in "ab":
        save(tmp_path / "labels" / f"{name}.png", np.zeros((12, 16), np.uint8))
    found = LabelledFolder(labelled_files(tmp_path), CLASSES)
    assert np.array_equal(found.image(0), np.dstack([grey] * 3))
    with pytest.raises(RunError, match=r"b\.tif has 1 channels of uint16"):
        found.image(1)


def test_decoded_files_are_kept_within_the_bytes_that_are_allowed(folder: Path) -> None:
    cache = TileCache(2 * 12 * 16 * 3)
    found = LabelledFolder(labelled_files(folder), CLASSES, cache=cache)
    first = found.image(0)
    assert found.image(0) is first
    for index in (1, 2):
        found.image(index)
    assert cache.nbytes <= cache.limit
    assert found.image(0) is not first
    assert np.array_equal(found.image(0), first)


def test_objects_have_their_numbers_and_are_all_of_the_only_class(tmp_path: Path) -> None:
    numbers = np.zeros((12, 16), np.uint16)
    numbers[:3, :3], numbers[6:, 6:] = 7, 40000
    save(tmp_path / "images" / "a.png", noise(0))
    save(tmp_path / "labels" / "a.tif", numbers)
    found: InstanceSet = InstanceFolder(labelled_files(tmp_path), NUCLEUS)
    assert found.instances(0).dtype == np.int32
    assert np.array_equal(found.instances(0), numbers)
    assert np.array_equal(found.labels(0), (numbers > 0).astype(np.uint8))


def test_a_table_gives_each_object_its_class_and_others_have_no_label(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", noise(0, 1, 4))
    save(tmp_path / "labels" / "a.png", np.array([[0, 1, 2, 3]], np.uint8))
    table = tmp_path / "objects.csv"
    table.write_text("Name, Instance,class\na,1,stroma\na,3,1\nnot here,1,1\n")
    found = InstanceFolder(labelled_files(tmp_path), CLASSES, class_of=read_object_classes(table, CLASSES))
    assert found.labels(0).tolist() == [[0, 4, IGNORE, 1]]
    table.write_text("name,instance,class\na,1,fat\n")
    with pytest.raises(RunError, match="'fat'; there is gland, stroma"):
        read_object_classes(table, CLASSES)
    table.write_text("name,instance,class\n")
    with pytest.raises(RunError, match="names no object"):
        read_object_classes(table, CLASSES)
    with pytest.raises(RunError, match=r"no image 'a\.png'; name images without the suffix"):
        InstanceFolder(labelled_files(tmp_path), CLASSES, class_of={"a.png": {1: 1}})
    with pytest.raises(RunError, match="2 classes"):
        InstanceFolder(labelled_files(tmp_path), CLASSES)


def test_sub_folders_are_the_classes_of_graded_images(tmp_path: Path) -> None:
    for number, name in enumerate(["low/a.png", "high/a.png", "low/b.jpg"]):
        save(tmp_path / name, noise(number))
    found: GradedSet = GradedImages(graded_by_folder(tmp_path))
    assert [known.name for known in found.classes] == ["high", "low"]
    assert [item.name for item in found.items] == ["high/a", "low/a", "low/b"]
    assert [found.grade(index) for index in range(3)] == [0, 1, 1]
    assert np.array_equal(found.image(1), noise(0))


def test_a_table_gives_the_classes_of_graded_images(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}.png", noise(0))
    table = tmp_path / "grades.csv"
    table.write_text("name,patient,grade\nb,1,stroma\na,2,gland\n")
    found = GradedImages(graded_by_table(tmp_path / "images", table), CLASSES)
    assert [found.grade(index) for index in range(2)] == [1, 0]
    assert found.items[0] == Item("b", patient="1")
    for text, said in (
        ("name,kind\nb,fat\n", "no column 'grade'; there is name, kind"),
        ("name,grade\nb,fat,more\n", "line 2, has more cells than there are columns"),
        ("name,grade\nb, \n", "nothing in the column 'grade' for 'b'"),
    ):
        table.write_text(text)
        with pytest.raises(RunError, match=said):
            graded_by_table(tmp_path / "images", table)
    table.write_text("name,grade\nb,fat\n")
    with pytest.raises(RunError, match="'b' is of the class 'fat'; there is gland, stroma"):
        GradedImages(graded_by_table(tmp_path / "images", table), CLASSES)


@pytest.fixture
def corrected(tmp_path: Path) -> Path:
    """A slide of 40 x 60 px and a folder beside it with two corrected windows, one with its image."""
    slide = save(tmp_path / "slide.png", noise(1, 40, 60))
    folder = tmp_path / "corrections"
    labels = np.zeros((8, 10), np.uint8)
    labels[2:4], labels[-1] = 4, IGNORE
    save(folder / "one.png", labels)
    save(folder / "two.png", labels)
    save(folder / "two_image.png", noise(2, 8, 10))
    with open_slide(slide) as opened:
        place = {
            "slide": "../slide.png", "fingerprint": opened.fingerprint, "y": 5, "x": 7,
            "height": 8, "width": 10, "mpp": (0.5, 0.5),
        }  # fmt: skip
    one = CorrectedWindow(name="one", labels="one.png", **place)
    two = CorrectedWindow(name="two", labels="two.png", image="two_image.png", patient="p", **place)
    CorrectionIndex(classes=CLASSES, windows=(one, two)).write(folder)
    return folder


def test_corrected_windows_are_read_from_their_slide_or_their_image(corrected: Path) -> None:
    with Corrections(corrected) as found:
        assert np.array_equal(found.image(0), noise(1, 40, 60)[5:13, 7:17])
        assert np.array_equal(found.image(1), noise(2, 8, 10))
        assert set(np.unique(found.labels(0))) == {0, 4, IGNORE}
        assert found.mpp(0) == 0.5
        assert found.items[0].slide == found.items[1].slide
        assert found.items[1].patient == "p"


def test_a_slide_that_was_replaced_since_it_was_corrected_is_an_error(corrected: Path) -> None:
    save(corrected.parent / "slide.png", noise(9, 40, 60))
    with Corrections(corrected) as found, pytest.raises(RunError, match="not the slide on which 'one'"):
        found.image(0)


def test_an_index_that_cannot_be_used_names_its_field(corrected: Path) -> None:
    index = corrected / "corrections.json"
    for key, value, said in (
        ("height", -8.0, r"windows\.1\.height"),
        ("name", "one", "two windows are named 'one'"),
    ):
        document = json.loads(index.read_text())
        document["windows"][1][key] = value
        (corrected.parent / "corrections.json").write_text(json.dumps(document))
        with pytest.raises(RunError, match=said):
            Corrections(corrected.parent)
    index.unlink()
    with pytest.raises(RunError, match=r"holds no corrections\.json"):
        Corrections(corrected)
