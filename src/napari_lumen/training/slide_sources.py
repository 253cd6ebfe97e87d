"""Annotated slides as a source of training data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.formats import read_annotations
from napari_lumen.errors import RunError
from napari_lumen.slides import Slide, open_slide
from napari_lumen.tissue import find_tissue, mask_geometry
from napari_lumen.training.data.annotated import AnnotatedSlide, AnnotationRules
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.item import Item
from napari_lumen.training.data.slide_patches import SlidePatches
from napari_lumen.training.data_source import DataSource, Labelled, Located
from napari_lumen.training.recipes.multistage_slides import WholeSlides
from napari_lumen.validation import WrittenFields


class AnnotatedSlideSource(WrittenFields):
    """A slide with the file of its annotations."""

    slide: Located
    annotations: Located = Field(description="QuPath GeoJSON, ASAP or ImageScope XML, ...")
    patient: str | None = None
    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of the slide, in the place of what its file says."
    )


class _Annotated(DataSource):
    """Slides with annotations."""

    slides: tuple[AnnotatedSlideSource, ...] = Field(min_length=1)
    classes: Labelled
    unlabelled: Literal["ignore", "background"] = Field(
        default="ignore", description="What no annotation covers, outside of annotated regions."
    )
    ignored: tuple[str, ...] = Field(
        default=AnnotationRules.ignored,
        description="Classes of annotations within which nothing has a label, whatever else lies there.",
    )

    def _slides(self, *, with_tissue: bool = False) -> list[AnnotatedSlide]:
        rules = AnnotationRules(self.classes, unlabelled=self.unlabelled, ignored=self.ignored)
        found = []
        for source in self.slides:
            slide = open_slide(source.slide, mpp=source.mpp)
            if slide.mpp is None:
                raise RunError(
                    f"Field 'data.slides': {source.slide.name} does not state its pixel size; give it as "
                    "mpp, in µm, beside slide and annotations."
                )
            found.append(
                AnnotatedSlide(
                    Item(source.slide.name, slide=str(source.slide), patient=source.patient),
                    slide,
                    read_annotations(source.annotations),
                    rules,
                    tissue=_bare_tissue(slide) if with_tissue else None,
                )
            )
        return found


class WholeSlideSource(_Annotated):
    """Slides that are patched as a whole, wherever there is tissue, as multi-stage does."""

    kind: Literal["whole_slides"] = "whole_slides"

    def _open(self) -> Pictures:
        """Return the slides, each an item."""
        return WholeSlides(self._slides(with_tissue=True))


class AnnotatedSlides(_Annotated):
    """Slides of which patches are drawn, as many of each class."""

    kind: Literal["slides"] = "slides"
    mpp: float = Field(gt=0, description="µm per pixel of the patches.")
    size: int = Field(default=256, gt=0, description="Side of a patch, px.")
    count: int = Field(default=1000, gt=0, description="Patches in all.")
    background: bool = Field(default=True, description="Whether patches of the background are drawn too.")
    seed: int = 42

    def _open(self) -> Pictures:
        """Return the patches, each an item of its slide."""
        slides = SlidePatches(
            self._slides(),
            mpp=self.mpp,
            size=self.size,
            count=self.count,
            background=self.background,
            seed=self.seed,
        )
        if slides.absent:
            raise RunError(
                f"Field 'data.classes': no area of {' and '.join(map(repr, slides.absent))} is annotated on "
                f"{', '.join(item.name for item in slides.items)}. Outline one, or leave the class out."
            )
        return slides.patches()


def _bare_tissue(slide: Slide) -> BaseGeometry:
    """Return where tissue is, without the rim around it that runs look at: shares of it are measured."""
    found = find_tissue(slide)
    return mask_geometry(found.bare, found.grid)
