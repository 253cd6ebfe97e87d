"""Make `docs/slide-panel.png`: the Slide panel on an SVS, an NDPI and a DICOM slide of the shared data.

``xvfb-run -a -s "-screen 0 1680x1050x24" python docs/slide_panel.py``
"""

from __future__ import annotations

from pathlib import Path

import napari
from PIL import Image

_SLIDES = Path(__file__).resolve().parents[2] / "shared" / "data" / "slides"
_NAMES = ("CMU-1-Small-Region.svs", "test3-DAPI-2.ndpi", "CMU-1-Small-Region.dicom")
_OUT = Path(__file__).with_name("slide-panel.png")
_SHOWN = 720  # px: the panel, and the slide left of it


def main() -> None:
    """Open each slide in a window with the panel, and join what lies on the right of the windows."""
    pictures = [_picture(_SLIDES / name) for name in _NAMES]
    height = max(picture.height for picture in pictures)
    joined = Image.new("RGB", (len(pictures) * (_SHOWN + 6) - 6, height), "white")
    for index, picture in enumerate(pictures):
        joined.paste(picture, (index * (_SHOWN + 6), 0))
    joined.quantize(220).save(_OUT, optimize=True)


def _picture(path: Path) -> Image.Image:
    from napari_lumen.plugin.demo_window import wait

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    viewer.open(path, plugin="napari-lumen")
    viewer.window.add_plugin_dock_widget("napari-lumen", "Slide")
    wait(1.0)
    viewer.scene.camera.zoom *= 3
    wait(2.0)
    shot = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3])
    viewer.close()
    return shot.crop((shot.width - _SHOWN, 0, shot.width, shot.height))


if __name__ == "__main__":
    main()
