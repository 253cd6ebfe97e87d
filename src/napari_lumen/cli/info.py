"""`napari-lumen info`: what a slide file says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from napari_lumen.slides import Slide


def info(
    slide: Annotated[
        str, typer.Argument(help="A slide file, the folder of a DICOM or OME-Zarr slide, or the URL of one.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show a slide's size, pixel size, channels, levels and label images."""
    from napari_lumen.cli.console import results
    from napari_lumen.slides import open_slide
    from napari_lumen.slides.location import located, printable

    with open_slide(slide) as opened:
        facts = _facts(opened, printable(located(slide)))
        name = printable(opened.path.name)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        return
    console = results()
    console.print(name, style="bold", markup=False)
    console.print(_summary(facts))
    console.print(_levels(facts))


def _facts(slide: Slide, path: str) -> dict[str, Any]:
    bounds = slide.bounds
    return {
        "path": path,
        "vendor": slide.vendor,
        "height": slide.shape[0],
        "width": slide.shape[1],
        "mpp": None if slide.mpp is None else {"y": slide.mpp[0], "x": slide.mpp[1]},
        "mpp_source": None if slide.mpp is None else "user" if slide.mpp_given else "slide",
        "magnification": slide.magnification,
        "dtype": slide.dtype.name,
        "channels": [{"name": channel.name, "color": list(channel.color)} for channel in slide.channels],
        "icc": slide.icc_profile is not None,
        "levels": [
            {
                "height": level.shape[0],
                "width": level.shape[1],
                "downsample": {"y": level.downsample[0], "x": level.downsample[1]},
            }
            for level in slide.levels
        ],
        "bounds": None
        if bounds is None
        else {"y": bounds.y, "x": bounds.x, "height": bounds.height, "width": bounds.width},
        "associated": list(slide.associated),
        "fingerprint": slide.fingerprint,
        "properties": dict(slide.properties),
    }


def _summary(facts: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    height, width, mpp, bounds = facts["height"], facts["width"], facts["mpp"], facts["bounds"]
    if mpp is None:
        size, pixel = "", "unknown: give it to predict by --mpp"
    else:
        size = f" ({width * mpp['x'] / 1000:.2f} x {height * mpp['y'] / 1000:.2f} mm)"
        pixel = f"{mpp['x']:.4g} x {mpp['y']:.4g} µm"
        if facts["mpp_source"] == "user":
            pixel += ", as you gave it"
    rows = {
        "format": facts["vendor"],
        "width x height": f"{width:,} x {height:,} px{size}",
        "pixel size": pixel,
        "pixels": _pixels(facts),
        "colour profile": "ICC" if facts["icc"] else "none",
        "objective": None if facts["magnification"] is None else f"{facts['magnification']:g}x",
        "scanned part": None
        if bounds is None
        else "{width:,.0f} x {height:,.0f} px from x {x:,.0f}, y {y:,.0f}".format(**bounds),
        "also holds": ", ".join(facts["associated"]) or None,
        "fingerprint": facts["fingerprint"],
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, style="dim"), Text(value))
    return table


def _pixels(facts: dict[str, Any]) -> str:
    """Return the kind of the pixels: RGB, or the names of the channels, and their type."""
    names = [channel["name"] for channel in facts["channels"]]
    if not names:
        return f"RGB, {facts['dtype']}"
    count = "1 channel" if len(names) == 1 else f"{len(names)} channels"
    return f"{count} ({', '.join(names)}), {facts['dtype']}"


def _levels(facts: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("level", "width", "height", "downsample", box=None, padding=(0, 2, 0, 0))
    for column in table.columns:
        column.justify = "right"
    for index, level in enumerate(facts["levels"]):
        step = level["downsample"]
        same = abs(step["x"] - step["y"]) < 5e-5 * step["x"]
        shown = f"{step['x']:.6g}" if same else f"{step['x']:.6g} x {step['y']:.6g}"
        table.add_row(str(index), f"{level['width']:,}", f"{level['height']:,}", shown)
    return table
