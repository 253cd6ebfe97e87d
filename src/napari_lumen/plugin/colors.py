"""The colours that slides are shown in: one conversion a profile, made when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lumen.errors import SlideError
from napari_lumen.plugin import notices

if TYPE_CHECKING:
    from napari_lumen.plugin.preferences import Preferences
    from napari_lumen.slides import Slide
    from napari_lumen.slides.color import Color


class Colors:
    """Finds what turns a slide's colours into those that the user wants to see."""

    def __init__(self) -> None:
        self._made: dict[bytes, Color | None] = {}

    def of(self, slide: Slide, preferences: Preferences) -> Color | None:
        """Return the conversion for a slide; None for raw colours, where there is no profile or a broken one.

        The user is told of a broken profile once.
        """
        profile = slide.icc_profile
        if preferences.color == "raw" or not slide.is_rgb or profile is None:
            return None
        if profile not in self._made:
            from napari_lumen.slides.color import to_srgb

            try:
                self._made[profile] = to_srgb(profile)
            except SlideError as error:
                self._made[profile] = None
                notices.warn(f"{slide.path.name}: {error}")
        return self._made[profile]
