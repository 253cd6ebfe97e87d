"""A window with a project: ``python -m napari_lumen.plugin.project_window FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Open napari with the Project panel on a folder, and stay until it is closed."""
    import napari

    viewer = napari.Viewer(title="napari-lumen")
    _, panel = viewer.window.add_plugin_dock_widget("napari-lumen", "Project")
    panel.controller.open(Path(sys.argv[1]))
    napari.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
