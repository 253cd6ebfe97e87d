"""`napari-lumen annotations convert`."""

from __future__ import annotations

from pathlib import Path

import shapely
from shapely.geometry import Polygon, box
from typer.testing import CliRunner

from napari_lumen.annotations.formats import read_annotations, write_annotations
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.cli import app


def test_a_file_is_converted_and_moved_to_another_origin(tmp_path: Path) -> None:
    source, target = tmp_path / "a.geojson", tmp_path / "b.xml"
    write_annotations(source, [Annotation(box(10, 20, 30, 50), "Tumor", (200, 0, 0))])
    command = ["annotations", "convert", str(source), str(target), "--to", "asap", "--to-origin", "5", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "1 annotations" in result.output
    (found,) = read_annotations(target)
    assert shapely.equals(found.geometry, box(9, 15, 29, 45))
    assert found.class_name == "Tumor"


def test_camelyon_files_become_tumour(shared_data: Path, tmp_path: Path) -> None:
    source = next((shared_data / "annotations" / "asap").glob("*umor_009*"))
    target = tmp_path / "tumour.geojson"
    result = CliRunner().invoke(app, ["annotations", "convert", str(source), str(target), "--camelyon"])
    assert result.exit_code == 0, result.output
    assert {one.class_name for one in read_annotations(target)} == {"tumour"}


def test_what_cannot_be_read_or_repaired_is_told(tmp_path: Path) -> None:
    target = tmp_path / "b.geojson"
    (tmp_path / "a.geojson").write_text("{")
    result = CliRunner().invoke(app, ["annotations", "convert", str(tmp_path / "a.geojson"), str(target)])
    assert result.exit_code == 1
    assert "a.geojson" in result.output
    assert not target.exists()
    bow = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    text = shapely.to_geojson(bow)
    (tmp_path / "a.geojson").write_text(
        f'{{"type": "Feature", "geometry": {text}, "properties": {{"objectType": "annotation"}}}}'
    )
    result = CliRunner().invoke(app, ["annotations", "convert", str(tmp_path / "a.geojson"), str(target)])
    assert result.exit_code == 0, result.output
    assert "cross" in result.stderr
