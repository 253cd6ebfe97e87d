"""`napari-lumen annotations convert`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
import tifffile
import zarr
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
    assert "1 annotation:" in result.output
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


def test_annotations_become_ome_zarr_labels_over_their_slide(tmp_path: Path) -> None:
    slide, source, target = tmp_path / "a.tif", tmp_path / "a.geojson", tmp_path / "a.zarr"
    tifffile.imwrite(slide, np.zeros((300, 200, 3), np.uint8), photometric="rgb")
    drawn = [Annotation(box(10, 20, 30, 50), "Tumor", (200, 0, 0)), Annotation(box(100, 100, 140, 160))]
    write_annotations(source, drawn)
    command = ["annotations", "convert", str(source), str(target)]
    assert CliRunner().invoke(app, command).exit_code == 2
    result = CliRunner().invoke(app, [*command, "--slide", str(slide), "--mpp", "0.5"])
    assert result.exit_code == 0, result.output
    found = read_annotations(target)
    assert (found[0].class_name, found[0].color) == ("Tumor", (200, 0, 0))
    assert [x.class_name for x in found] == ["Tumor", "no class"]
    assert all(shapely.equals(x.geometry, y.geometry) for x, y in zip(found, drawn, strict=True))
    assert zarr.open_group(target, mode="r")["0"].shape == (300, 200)
