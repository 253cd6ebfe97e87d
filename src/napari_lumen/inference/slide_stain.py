"""The stain of a run's slide: found once, kept with the run, and the same for all who work on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_lumen.errors import RunError
from napari_lumen.holding import write_text
from napari_lumen.inference.progress import Teller
from napari_lumen.models import ModelCard
from napari_lumen.slides import Slide
from napari_lumen.stain.colour_table import ColourTable
from napari_lumen.stain.normalisation import ColourStatistics, Dyes, colour_table
from napari_lumen.stain.of_slide import stain_of_slide

STAIN_FILE = "stain.json"


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    stain: Dyes | ColourStatistics | None = Field(description="None where the slide's was not found.")


@dataclass(frozen=True)
class SlideStain:
    """What a run knows of the stain of its slide, of which its model wants another.

    Attributes
    ----------
    found : Dyes, ColourStatistics or None
        None where it was not found, or the model takes slides as they are.
    table : ColourTable or None
        What brings tiles to the stain of the model; None leaves them as they are.
    missed : bool
        Whether the model wants it, and it was not found.
    """

    found: Dyes | ColourStatistics | None = None
    table: ColourTable | None = None
    missed: bool = False

    def warnings(self, slide: Slide, card: ModelCard) -> tuple[str, ...]:
        """Return what the reader of the results should know."""
        if not self.missed:
            return ()
        return (
            f"The stain of {slide.path.name} was not found: it is nearly blank, grey, or of one colour. "
            f"{card.title} read its colours as they are, not as those that it was trained on.",
        )


def slide_stain(slide: Slide, card: ModelCard, folder: Path, teller: Teller) -> SlideStain:
    """Return the stain of a slide, as it is kept in the folder of a run; find it where none is.

    A run that goes on, and each worker of a cluster, sees the colours of the one that began it.

    Raises
    ------
    RunError
        When the file of the run is damaged.
    SlideError
        When the slide cannot be read.
    """
    if card.input.stain is None:
        return SlideStain()
    if not (folder / STAIN_FILE).exists():
        teller("finding the stain", 0, 1)
        found = stain_of_slide(slide, card.input.stain, card.mpp, lambda: teller("finding the stain", 0, 1))
        teller("finding the stain", 1, 1)
        write_text(folder / STAIN_FILE, _Kept(stain=found).model_dump_json(indent=2) + "\n")
    return kept_stain(card, folder)


def kept_stain(card: ModelCard, folder: Path) -> SlideStain:
    """Return the stain of a slide as a run has kept it.

    Raises
    ------
    RunError
        When the file of the run is damaged.
    """
    if card.input.stain is None:
        return SlideStain()
    file = folder / STAIN_FILE
    try:
        found = _Kept.model_validate_json(file.read_bytes()).stain
        table = None if found is None else colour_table(card.input.stain, found)
    except (OSError, ValidationError, ValueError) as error:
        raise RunError(
            f"{file} is damaged, so the run cannot go on in the colours that it began with. Delete the "
            "folder to begin anew."
        ) from error
    return SlideStain(found, table, missed=found is None)
