"""Tables of classes: edited with undo, read from cards and files, and kept in step with the annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shapely import box

from napari_lumen.annotations.class_files import read_classes, write_classes
from napari_lumen.annotations.classes import ClassTable, TissueClass
from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.history import History
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

RED, BLUE = (255, 0, 0), (0, 0, 255)
TABLE = ClassTable.of([(1, "tumour", RED), (2, "stroma", BLUE), (5, "ink", (0, 0, 0))])


def test_a_table_written_before_there_were_keys_still_loads_and_reads_the_same() -> None:
    old = '{"classes":[{"value":1,"name":"tumour","color":[255,0,0]}]}'
    table = ClassTable.model_validate_json(old)
    assert (table["tumour"].key, table["tumour"].ignore) == (None, False)
    assert table.model_dump_json() == old


def test_every_edit_gives_another_table_and_leaves_the_first() -> None:
    edited = TABLE.renamed("stroma", "connective tissue").recoloured("tumour", (1, 2, 3)).removed("ink")
    edited = edited.ignoring("tumour").keyed("tumour", 3).added("gland")
    assert [item.name for item in edited] == ["tumour", "connective tissue", "gland"]
    assert edited["tumour"] == TissueClass(value=1, name="tumour", color=(1, 2, 3), key=3, ignore=True)
    assert edited["gland"].value == 3
    assert edited["gland"].color not in {item.color for item in TABLE}
    assert [item.name for item in TABLE] == ["tumour", "stroma", "ink"]
    assert ClassTable.model_validate_json(edited.model_dump_json()) == edited


def test_a_key_belongs_to_one_class() -> None:
    table = TABLE.with_keys()
    assert [item.key for item in table] == [1, 2, 3]
    assert {item.name: item.key for item in table.keyed("ink", 1)} == {"tumour": None, "stroma": 2, "ink": 1}
    with pytest.raises(ValueError, match="key used twice"):
        ClassTable(classes=tuple(TissueClass(value=v, name=str(v), color=RED, key=1) for v in (1, 2)))


def test_edits_that_cannot_be_done_say_so_in_one_sentence() -> None:
    for edit, says in (
        (lambda: TABLE.renamed("tumour", "ink"), 'a class "ink" already'),
        (lambda: TABLE.renamed("tumour", " "), "needs a name"),
        (lambda: TABLE.renamed("gland", "x"), 'no class "gland"'),
        (lambda: TABLE.recoloured("tumour", (256, 0, 0)), "from 0 to 255"),
        (lambda: TABLE.keyed("tumour", 10), "1 to 9"),
    ):
        with pytest.raises(AnnotationError, match=says):
            edit()


def test_what_was_done_is_undone_and_done_again() -> None:
    history = History(TABLE, most=3)
    for name in "abcd":
        history.do(f"Add {name}", history.state.added(name))
    assert (history.undoable, history.redoable) == ("Add d", None)
    assert "d" not in history.undo()
    assert (history.undoable, history.redoable) == ("Add c", "Add d")
    assert "d" in history.redo()
    for _ in range(9):
        history.undo()
    assert [item.name for item in history.state] == ["tumour", "stroma", "ink", "a"]  # three were kept
    history.do("Add x", history.state.added("x"))
    assert history.redoable is None
    assert "x" in history.redo()


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_a_table_comes_back_from_a_file(tmp_path: Path, suffix: str) -> None:
    table = TABLE.keyed("stroma", 4).ignoring("ink").renamed("tumour", 'a "b", c; µ')
    write_classes(tmp_path / f"classes{suffix}", table)
    assert read_classes(tmp_path / f"classes{suffix}") == table


def test_classes_come_from_cards_from_qupath_and_from_annotations(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text(json.dumps({"name": "m", "classes": TABLE.model_dump()}))
    assert read_classes(tmp_path / "model") == read_classes(tmp_path / "model" / "card.json") == TABLE

    qupath = {
        "pathClasses": [{"name": "Tumor", "color": [200, 0, 0]}, {"name": "Stroma", "colorRGB": -6895466}]
    }
    (tmp_path / "classes.json").write_text(json.dumps(qupath))
    found = read_classes(tmp_path / "classes.json")
    assert [(item.value, item.name, item.color) for item in found] == [
        (1, "Tumor", (200, 0, 0)),
        (2, "Stroma", (150, 200, 150)),
    ]

    drawn = [
        Annotation(box(0, 0, 1, 1), name, color) for name, color in (("b", BLUE), ("a", RED), ("b", RED))
    ]
    write_annotations(tmp_path / "a.geojson", drawn)
    assert [(item.name, item.color) for item in read_classes(tmp_path / "a.geojson")] == [
        ("b", BLUE),
        ("a", RED),
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "value,color\n1,#ff0000\n", "without a 'name'"),
        ("a.csv", "name,color\ntumour,red\n", "not #rrggbb"),
        ("a.csv", "name\na\na\n", "used twice"),
        ("a.json", '{"classes": []}', "names no classes"),
        ("a.json", '{"classes": [{"name": "a", "value": "x"}]}', "no table of classes"),
        ("a.csv", b"\xff\xfe\xfa", "UTF-8"),
        ("a.json", '{"classes": [', "cut off"),
    ],
)
def test_a_file_that_is_no_table_gives_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError, match=says) as caught:
        read_classes(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def three() -> Classified:
    names = ("tumour", "stroma", "tumour", None)
    return Classified.of([Annotation(box(i, 0, i + 1, 1), name) for i, name in enumerate(names)], TABLE)


def test_annotations_follow_their_classes() -> None:
    before = three()
    assert before.counts == {"tumour": 2, "stroma": 1, "ink": 0, None: 1}
    renamed = before.renamed("tumour", "carcinoma")
    assert [item.class_name for item in renamed.annotations()] == ["carcinoma", "stroma", "carcinoma", None]
    assert renamed.annotations()[0].color == RED
    merged = renamed.merged("carcinoma", "stroma")
    assert merged.counts == {"stroma": 3, "ink": 0, None: 1}
    assert {item.color for item in merged.annotations() if item.class_name} == {BLUE}
    assert before.annotations()[0].class_name == "tumour"
    assert np.array_equal(before.slots, merged.slots)


def test_a_class_in_use_is_not_removed_but_merged() -> None:
    with pytest.raises(AnnotationError, match="in use: 2 annotations are of it"):
        three().removed("tumour")
    assert "ink" not in three().removed("ink").table
    assert three().merged("tumour", "stroma").removed("ink").counts == {"stroma": 3, None: 1}
    with pytest.raises(AnnotationError, match="in use: 1 annotation is"):
        three().with_table(TABLE.removed("stroma"))
    with pytest.raises(AnnotationError, match="with itself"):
        three().merged("ink", "ink")


def test_classes_of_a_file_that_the_table_lacks_are_added_in_their_colours() -> None:
    found = Classified.of([Annotation(box(0, 0, 1, 1), "necrosis", (9, 9, 9))], TABLE)
    assert found.table["necrosis"].color == (9, 9, 9)
    assert found.table["necrosis"].value == 6


def test_what_is_neither_yes_nor_no_is_told(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("name,ignore\ntumour,no\nink,ja\n")
    with pytest.raises(AnnotationError, match=r'classes\.csv is no table of classes: "ja" under ignore'):
        read_classes(tmp_path / "classes.csv")
