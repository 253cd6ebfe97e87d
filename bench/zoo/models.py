"""What each shipped model is trained on, and by which numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.papers.shared import MADE, SHARED
from bench.zoo.nuclei import StainedNuclei
from bench.zoo.sections import GradedFields, Sections
from napari_lumen.training import TrainingConfig
from napari_lumen.training.data.image_set import Pictures

_DRAWN = (
    "12 sections of 4 mm drawn by `napari_lumen.slides.synthetic`, seeds 100 to 111: glands, stroma, fat, "
    "lymph follicles, carcinoma in situ and invasive carcinoma. No image of a patient."
)
_ONLY_DRAWN = (
    "It has seen drawn tissue alone and shows what the method does; what it says of a patient's slide means "
    "nothing. Not validated for diagnosis."
)
_BY_SLIDE = {"by": "slide", "proportions": {"train": 8, "validation": 2, "test": 2}}


@dataclass(frozen=True)
class Shipped:
    """A model that ships.

    Attributes
    ----------
    config : TrainingConfig
        Of its training, or of the search that comes before it.
    images : callable
        Makes the data.
    searched : bool
        Whether its architecture is searched first.
    """

    config: TrainingConfig
    images: Callable[[], Pictures]
    searched: bool = False


def shipped() -> list[Shipped]:
    """Return all of them but the FocusNet++ of nuclei, which `napari_lumen.training.nuclei` trains.

    Names of what has seen drawn tissue alone begin with ``synthetic``, which also puts them last in lists.
    """
    return [_regions(), _heat_map(), _fields(), _nuclei()]


def _regions() -> Shipped:
    return Shipped(
        _drawn(
            "synthetic-regions-darefinenet",
            title="Regions (DA-RefineNet, drawn tissue)",
            summary="Trained on drawn sections only: outlines regions of tissue at 2 µm/px, and tells "
            "carcinoma in situ from invasive carcinoma by what lies around.",
            recipe={
                "name": "darefinenet",
                "arguments": {"depth": 18, "context_depth": 18, "encoder_width": 24, "light": True},
                "size": 192,
                "shrink": 1.0,
                "context": 4.0,
                "tiles": 360,
                "batch": 6,
                "favoured": ["in situ carcinoma", "invasive carcinoma"],
                "epochs": [14, 7, 7],
                "optimiser": "adam",
                "encoder_rates": [1e-3, 3e-4, 1e-4],
                "decoder_rates": [1e-3, 3e-4, 1e-4],
                "largest_gradient": 2.0,
                "validate_every": [2, 2, 1],
                "frozen_statistics": False,
            },
        ),
        Sections,
    )


def _heat_map() -> Shipped:
    return Shipped(
        _drawn(
            "synthetic-carcinoma-multistage",
            title="Carcinoma, slide heat map (multi-stage, drawn tissue)",
            summary="Trained on drawn sections only: where on a slide carcinoma is, by patches of "
            "128 µm, seen all together.",
            recipe={
                "name": "multistage",
                "tumour": ["in situ carcinoma", "invasive carcinoma"],
                "encoder": "resnet18",
                "encoder_width": 24,
                "width": 12,
                "patch": 64,
                "crop": 56,
                "map_size": 32,
                "slide_map": "slide",
                "patch_epochs": 8,
                "patch_batch": 64,
                "patch_rate": 5e-4,
                "map_epochs": 80,
                "map_batch": 8,
                "map_rate": 1e-3,
                "end_to_end_epochs": 3,
                "extractor_rate": 1e-6,
                "segmenter_rate": 1e-5,
                "balanced": True,
            },
        ),
        Sections,
    )


def _fields() -> Shipped:
    return Shipped(
        _drawn(
            "synthetic-fields-gated-attention",
            title="Fields: benign, in situ, invasive (gated attention, drawn tissue)",
            summary="Trained on drawn sections only: classifies fields of 512 µm and shows what decided.",
            recipe={
                "name": "gated_attention",
                "arguments": {
                    "global_depth": 18,
                    "local_depth": 18,
                    "encoder_width": 24,
                    "dilated_width": 64,
                },
                "global_size": 224,
                "local_size": 96,
                "field_size": 256,
                "epochs": 20,
                "batch": 12,
                "rate": 0.03,
                "rate_every": 8,
                "share_every": 2,
            },
        ),
        GradedFields,
    )


def _nuclei() -> Shipped:
    crops = {"size": 128, "stride": 128, "test_stride": 64, "rate": 3e-3, "width": 12, "mode": "P"}
    crops |= {"validate_every": 2}
    config = {
        "name": "nuclei-nas-scam",
        "title": "Nuclei (NAS-SCAM, searched parallel attention)",
        "summary": "Outlines the nuclei of stained tissue at 0.5 µm/px, with attention found by a search for "
        "each position.",
        "recipe": {
            "name": "nas_scam_search",
            **crops,
            "mpp": 0.5,
            "synchronous": True,
            "steps": 30,
            "epochs": 4,
            "warm_up": 1,
            "alpha_rate": 2e-2,
            "colours": None,
        },
        "rebuilt": {"steps": 100, "epochs": 40, "rate": 1e-3, "validate_every": 4},
        "data": MADE,
        "data_text": "Data Science Bowl 2018, stage1_train (CC0, BBBC038v1): 83 stained and bright-field "
        "images and copies of 67 in other stains, scaled so that the median nucleus measures 8 µm; 240 "
        "sections, of which 40 validate, painted around the nuclei of fluorescence images "
        "(`training/paint.py`); 12 fields drawn by `napari_lumen.slides.synthetic`. 4 pink images validate "
        "too; the test is the 36 of the white stain group, of which none was trained on.",
        "licence": "CC0-1.0",
        "limits": "Research use only, not for diagnosis. Small, and trained on few images: it takes keratin, "
        "ink and other dark tissue for nuclei more often than nuclei-focusnetpp-light does, and joins "
        "crowded ones. Its channel gates look at a whole tile, so that its answer can change where tiles "
        "meet.",
        "split": {
            "by": "group",
            "proportions": {"train": 0.85, "validation": 0.15},
            "fixed": {
                "train": ["lavender", "recoloured", "brightfield", "painted", "drawn"],
                "validation": ["pink", "painted, held out"],
                "test": ["white"],
            },
        },
    }
    return Shipped(
        TrainingConfig.model_validate(config), lambda: StainedNuclei(SHARED / "nuclei_dsb2018"), searched=True
    )


def _drawn(name: str, *, title: str, summary: str, recipe: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "name": name,
            "title": title,
            "summary": summary,
            "recipe": recipe,
            "data": MADE,
            "data_text": _DRAWN,
            "licence": "CC0-1.0",
            "limits": _ONLY_DRAWN,
            "split": _BY_SLIDE,
        }
    )
