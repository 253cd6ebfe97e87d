"""Figures: colours at their exact place, numbers, scale bar and legend, as PNG and SVG, and by command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from explain_fakes import dark_at, marker_model
from fakes import ArraySlide
from napari_lumen.annotations.decision import DECISION
from napari_lumen.annotations.geojson import read_geojson
from napari_lumen.cli import app
from napari_lumen.errors import RunError
from napari_lumen.explain import drawing, explain_field
from napari_lumen.explain.colours import COLORMAPS, GREY, colormap
from napari_lumen.explain.distribution import Distribution
from napari_lumen.explain.drawing import Bitmap, Box, Text
from napari_lumen.explain.export import write_field
from napari_lumen.explain.figure import Frame, Shown, Style, figure, scale_bar_length, write_figure
from napari_lumen.explain.overlay import coloured, on_picture
from napari_lumen.explain.run_figure import field_figure, run_figure
from napari_lumen.explain.run_maps import RunMaps
from napari_lumen.explain.scaling import Scaling
from napari_lumen.geometry import Grid, Region
from napari_lumen.inference import Run, predict
from napari_lumen.slides import open_slide

SVG = "{http://www.w3.org/2000/svg}"
MARGIN = 16  # px around the picture


def white(side: int = 200) -> ArraySlide:
    return ArraySlide(np.full((side, side, 3), 255, np.uint8))


def spot_map(region: Region, cell: float, value: float = 1.0) -> Shown:
    """A map of 20 x 20 cells with one that is not 0, the second of the third row."""
    values = np.zeros((20, 20))
    values[2, 1] = value
    return Shown("Spot", values, Grid((20, 20), (cell, cell), (region.y, region.x)), Distribution.of(values))


def test_a_cell_is_coloured_from_edge_to_edge_whatever_the_size_of_the_picture() -> None:
    region = Region(13.0, 7.0, 160, 160)
    for width in (160, 231, 800):
        style = Style(width, GREY, Scaling("min-max"))
        pixels = figure(white(), region, spot_map(region, 8), style=style).pixels()
        rows, columns = np.nonzero(
            (pixels[MARGIN : MARGIN + width - 60, MARGIN : MARGIN + width] > 200).all(axis=-1)
        )
        scale = width / 160
        assert abs(rows.min() - 16 * scale) <= 0.5
        assert abs(rows.max() + 1 - 24 * scale) <= 0.5
        assert abs(columns.min() - 8 * scale) <= 0.5
        assert abs(columns.max() + 1 - 16 * scale) <= 0.5


def test_linear_values_pass_through_the_middles_of_cells_and_leave_gaps_clear() -> None:
    values = np.array([[0.0, 1.0, np.nan]])
    grid, region = Grid((1, 3), (10.0, 10.0), (0.0, 0.0)), Region(0, 0, 10, 40)
    shown = on_picture(values, grid, region, (10, 40), "linear")[5]
    assert shown[5] == pytest.approx(0.05, abs=0.01)
    assert shown[10] == pytest.approx(0.55, abs=0.01)
    assert shown[15] == pytest.approx(1, abs=0.01)
    assert np.isnan(shown[20:]).all()
    nearest = on_picture(values, grid, region, (10, 40))[5]
    np.testing.assert_array_equal(nearest[:20], np.repeat([0.0, 1.0], 10))


def test_colours_are_those_of_the_table_and_clear_where_there_is_no_number() -> None:
    for item in COLORMAPS.values():
        ends = coloured(np.array([[0.0, 1.0, 7.0, np.nan]]), (0.0, 1.0), item)[0]
        for pixel, color in zip(ends, (item.colors[0], item.colors[-1], item.colors[-1]), strict=False):
            np.testing.assert_allclose(pixel / 255, color, atol=0.003)
        assert ends[3, 3] == 0
    with pytest.raises(RunError, match="no colormap 'jet'; there is attention, viridis"):
        colormap("jet")


def test_our_colormaps_are_napari_s() -> None:
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    at = np.linspace(0, 1, 101)
    for name in ("viridis", "magma", "inferno", "turbo"):
        np.testing.assert_allclose(COLORMAPS[name].at(at), AVAILABLE_COLORMAPS[name].map(at), atol=0.03)


def test_a_scale_bar_is_a_round_length_of_at_most_a_quarter() -> None:
    assert [scale_bar_length(width) for width in (400, 399, 81, 3.3, 9000, 20)] == [100, 50, 20, 0.5, 2000, 5]


def test_a_figure_has_its_numbers_scale_bar_and_legend_in_both_formats(tmp_path: Path) -> None:
    region = Region(0, 0, 160, 160)  # 80 µm
    drawn = figure(
        white(),
        region,
        spot_map(region, 8, 0.5),
        frames=[Frame(Region(10, 10, 20, 20), "instances", (0, 90, 181))],
        source="A model, run 7.",
        style=Style(600, GREY, Scaling("min-max")),
    )
    texts = [mark.text for mark in drawn.marks if isinstance(mark, Text)]
    assert {"0", "0.125", "0.25", "0.375", "0.5", "20 µm", "instances", "A model, run 7."} <= set(texts)
    assert any("0 to 0.5, lowest to highest of the slide" in text for text in texts)
    root = ET.fromstring(write_figure(drawn, tmp_path / "f.svg").read_text(encoding="utf-8"))
    assert [item.text for item in root.iter(f"{SVG}text")] == texts
    assert len(list(root.iter(f"{SVG}image"))) == 2
    # the bar is as long as it says: 20 of 80 µm
    black = [item for item in root.iter(f"{SVG}rect") if item.get("fill") == "#000000"]
    assert float(black[0].get("width", "0")) == pytest.approx(600 / 4)
    picture = Image.open(write_figure(drawn, tmp_path / "f.png"))
    assert picture.size == (drawn.width, drawn.height)
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pixels = np.asarray(picture)
    assert (pixels[-1] == 255).all()  # nothing is cut off
    assert (pixels[:, -1] == 255).all()
    assert tuple(pixels[MARGIN + 38, MARGIN + 60]) == (0, 90, 181)


def test_the_micro_sign_is_written_where_the_font_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing.text_font.cache_clear()
    monkeypatch.setattr(drawing, "_FONTS", ())

    def written(text: str) -> np.ndarray:
        image = Image.new("L", (60, 40), 255)
        pen = ImageDraw.Draw(image)
        drawing.write(pen, 4, 20, text, 20, 0)  # type: ignore[arg-type]
        return np.asarray(image) < 128

    more = written("µm") & ~written("um")
    drawing.text_font.cache_clear()
    rows, columns = np.nonzero(more)
    assert len(rows)
    assert columns.max() - columns.min() <= 2  # a stem
    assert rows.max() > np.nonzero(written("um"))[0].max()  # that goes below the line


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.full((20, 20), 0.5), "all values are 0.5"), (np.full((20, 20), np.nan), "no values")],
)
def test_a_map_without_differences_makes_a_figure_that_says_so(values: np.ndarray, said: str) -> None:
    region = Region(0, 0, 160, 160)
    shown = Shown("Flat", values, Grid((20, 20), (8.0, 8.0)), Distribution.of(values))
    texts = [m.text for m in figure(white(), region, shown, style=Style(300)).marks if isinstance(m, Text)]
    assert said in " ".join(texts)


def test_what_cannot_be_drawn_is_told_in_one_sentence(tmp_path: Path) -> None:
    drawn = figure(white(), Region(0, 0, 100, 100), style=Style(100))
    with pytest.raises(RunError, match=r"neither PNG nor SVG: let its name end in \.png or \.svg"):
        write_figure(drawn, tmp_path / "figure.jpg")
    with pytest.raises(RunError, match="cannot be written"):
        write_figure(drawn, tmp_path / "nowhere" / "figure.png")
    with pytest.raises(RunError, match="region lies outside"):
        figure(white(), Region(900, 0, 10, 10))
    with pytest.raises(RunError, match="64 to 8,192 px wide, not 20"):
        figure(white(), Region(0, 0, 10, 10), style=Style(20))


def test_a_field_says_that_a_softmax_cannot_be_compared_and_what_can(tmp_path: Path) -> None:
    slide = dark_at(Region(40, 40, 8, 8), (200, 200))
    field = explain_field(slide, marker_model(4, size=64), (60.0, 60.0))
    item = replace(field["map4"], comparable=False, raw="semantic")
    texts = " ".join(
        m.text for m in field_figure(slide, field, item, style=Style(300)).marks if isinstance(m, Text)
    )
    assert "values of two tiles cannot be compared; those of semantic can." in texts
    assert "of the tile" in texts
    with pytest.raises(RunError, match="is no map"):
        field_figure(slide, field, field["gate"])


def test_a_decision_has_three_colours_and_three_names_up_to_the_edge_of_the_slide() -> None:
    region = Region(0, 0, 100, 100)
    values = np.array([[0.9, 0.5, 0.49], [0.0, np.nan, np.nan]])
    shown = Shown("Tumour", values, Grid((2, 3), (40.0, 40.0)), Distribution.of(values), states=True)
    drawn = figure(white(80), region, shown, style=Style(400, opacity=1.0))
    picture = next(mark for mark in drawn.marks if isinstance(mark, Bitmap)).pixels
    red, grey, purple = (state.color for state in DECISION)
    assert [tuple(picture[80, x]) for x in (80, 240, 380)] == [red, red, grey]
    assert [tuple(picture[240, x]) for x in (80, 240, 380)] == [grey, purple, (255, 255, 255)]
    assert (picture[324:350] == 255).all()  # below the slide
    assert [mark.fill for mark in drawn.marks if isinstance(mark, Box)][-3:] == [red, grey, purple]
    texts = [mark.text for mark in drawn.marks if isinstance(mark, Text)]
    for said in (
        "Tumour: from 0.5 on.",
        "Normal: below 0.5.",
        "No label: no value, as where there is no tissue.",
    ):
        assert said in texts
    assert not any("colours from" in text or text in ("0", "1") for text in texts)


@pytest.mark.parametrize(("name", "said"), [("attention", "Hatched"), ("viridis", "Clear")])
def test_what_was_not_computed_does_not_look_like_the_lowest_values(name: str, said: str) -> None:
    values = np.array([[0.0, np.nan], [1.0, 0.0]])
    shown = Shown("M", values, Grid((2, 2), (40.0, 40.0)), Distribution.of(values))
    style = Style(80, colormap(name), Scaling("min-max"))
    drawn = figure(white(80), Region(0, 0, 80, 80), shown, style=style)
    picture = next(mark for mark in drawn.marks if isinstance(mark, Bitmap)).pixels
    lowest, nothing = picture[4:36, 4:36], picture[4:36, 44:76]
    assert len(np.unique(lowest.reshape(-1, 3), axis=0)) == 1
    lines = (nothing < 200).all(axis=-1).mean()
    assert (0.1 < lines < 0.4) if said == "Hatched" else lines == 0
    texts = [mark.text for mark in drawn.marks if isinstance(mark, Text)]
    assert f"{said}: the model computed nothing there." in " ".join(texts)


def test_a_field_is_written_as_numbers_and_pictures(tmp_path: Path) -> None:
    slide = dark_at(Region(40, 40, 8, 8), (200, 200))
    field = explain_field(slide, marker_model(4, size=64), (60.0, 60.0))
    files = write_field(slide, field, tmp_path / "out", style=Style(100))
    names = {"field.json", "values.npz", "tissue.png", "map4.png", "probability.dark.png", "entropy.png"}
    assert names <= {file.name for file in files}
    facts = json.loads((tmp_path / "out" / "field.json").read_text())
    assert facts["region"] == {"y": 28.0, "x": 28.0, "height": 64.0, "width": 64.0}
    values = np.load(tmp_path / "out" / "values.npz")
    np.testing.assert_array_equal(values["map4"], field["map4"].values)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("figure")
    pixels = np.full((256, 256, 3), 240, np.uint8)
    pixels[100:108, 60:68] = 0
    Image.fromarray(pixels).save(folder / "slide.png")

    model = marker_model(4, attention=("map4",), size=64)
    with open_slide(folder / "slide.png", mpp=0.5) as slide:
        return predict(slide, model, Region(0, 0, 256, 256), folder / "run")


def call(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(app, [str(part) for part in arguments])


def test_a_figure_is_made_by_one_command(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "figure.png"
    how = (
        "--region",
        "0,0,256,256",
        "--width",
        512,
        "--colormap",
        "grey",
        "--scaling",
        "min-max",
        "--opacity",
        1,
    )
    result = call("figure", run.path, "--map", "map4", "--out", out, *how)
    assert result.exit_code == 0, result.stderr
    pixels = np.asarray(Image.open(out))[MARGIN : MARGIN + 400, MARGIN : MARGIN + 512]
    rows, columns = np.nonzero((pixels > 240).all(axis=-1))
    assert (rows.min(), rows.max() + 1) == (200, 216)
    assert (columns.min(), columns.max() + 1) == (120, 136)
    wrong = call("figure", run.path, "--map", "nothing", "--out", out)
    assert wrong.exit_code == 1
    assert "has no map 'nothing'; it has map4" in wrong.stderr


def test_a_slide_that_has_moved_is_asked_for_and_another_one_refused(run: Run, tmp_path: Path) -> None:
    slide, out = Path(run.record.slide), tmp_path / "figure.svg"
    moved = slide.rename(slide.with_name("moved.png"))
    try:
        gone = call("figure", run.path, "--map", "dark", "--out", out)
        assert "no longer at" in gone.stderr
        assert "--slide" in gone.stderr
        found = call("figure", run.path, "--map", "dark", "--out", out, "--slide", moved, "--width", 200)
        assert found.exit_code == 0, found.stderr
        Image.new("RGB", (256, 256)).save(tmp_path / "other.png")
        other = call("figure", run.path, "--map", "dark", "--out", out, "--slide", tmp_path / "other.png")
        assert "is not the slide of run" in other.stderr
    finally:
        moved.rename(slide)


def test_a_region_beside_the_run_is_told(run: Run) -> None:
    with pytest.raises(RunError, match="lies beside what run covers"):
        run_figure(white(900), RunMaps(run), "map4", Region(700, 700, 50, 50))


def test_one_field_is_explained_by_one_command(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "slide.png")
    how = ("--model", "nuclei-focusnetpp-light", "--mpp", 0.5, "--width", 64, "--out", tmp_path / "out")
    neither = call("explain", tmp_path / "slide.png", *how)
    assert neither.exit_code == 2
    result = call("explain", tmp_path / "slide.png", "--region", "10,10,40,40", *how)
    assert result.exit_code == 0, result.stderr
    assert "nucleus: " in result.stdout
    assert (tmp_path / "out" / "d1.0.att0.png").exists()


def test_tiles_and_outlines_of_a_run_are_written_by_one_command_each(run: Run, tmp_path: Path) -> None:
    result = call("gallery", run.path, "--map", "map4", "--count", 3, "--side", 32, "--out", tmp_path / "g")
    assert result.exit_code == 0, result.stderr
    table = (tmp_path / "g" / "gallery.csv").read_text().splitlines()
    assert len(table) == 1 + 3
    assert table[1].split(",")[3:7] == ["64.0", "0.0", "64.0", "64.0"]  # the tile with the spot
    assert Image.open(tmp_path / "g" / "gallery.png").width > 3 * 32
    assert call("gallery", run.path, "--out", tmp_path / "g").exit_code == 2
    nothing = call("gallery", run.path, "--instances", "boxes", "--out", tmp_path / "g")
    assert "has no instances 'boxes'" in nothing.stderr

    outline = tmp_path / "dark.geojson"
    result = call("contour", run.path, "--map", "dark", "--threshold", 0.5, "--out", outline)
    assert "1 outline, 1.6e-05 mm²" in result.stdout
    (found,) = read_geojson(outline)
    assert found.geometry.bounds == (60, 100, 68, 108)
    assert found.class_name == "dark"
    assert found.source is not None
    assert found.source.run == run.path.name


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ((), "A threshold of nan is beyond Probability of dark, whose values are "),
        (("--threshold", 9), "A threshold of 9 is beyond"),
        (("--threshold", -1), "A threshold of -1 is beyond"),
        (("--threshold", 0.5, "--least-um2", 17), "No outline has 17 µm² or more"),
    ],
)
def test_what_outlines_nothing_is_told_and_not_written(
    run: Run, tmp_path: Path, how: tuple[object, ...], said: str
) -> None:
    out = tmp_path / "dark.geojson"
    result = call("contour", run.path, "--map", "dark", "--threshold", "nan", "--out", out, *how)
    assert result.exit_code == 1
    assert said in " ".join(result.stderr.split())
    assert not out.exists()


def test_a_field_is_checked_by_the_command_that_explains_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "slide.png")
    asked = ("--region", "0,0,40,40", "--mpp", 0.5, "--width", 64, "--out", tmp_path / "out")
    how = ("explain", tmp_path / "slide.png", "--model", "nuclei-focusnetpp-light", *asked, "--faithfulness")
    wrong = call(*how, "nothing")
    assert wrong.exit_code == 1
    assert "has no map 'nothing'" in wrong.stderr
    one = ("--model", "synthetic-carcinoma-multistage", "--faithfulness", "tumour_prob")
    refused = call("explain", tmp_path / "slide.png", *one, *asked)
    assert refused.exit_code == 1
    assert "Tumour probability has one cell in this field" in refused.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()
    result = call(*how, "d1.0.att0")
    assert result.exit_code == 0, result.stderr
    assert "Area under the curve of nucleus: deletion" in result.stdout
    facts = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert facts["map"] == "d1.0.att0"
    (deletion,) = facts["scores"]["deletion"]
    assert facts["areas"]["deletion"] == [pytest.approx(np.trapezoid(deletion, facts["shares"]))]
