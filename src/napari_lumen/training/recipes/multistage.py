"""Multi-stage classification of slides (Takahama et al., ICCV 2019), and its baselines."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from napari_lumen.annotations.classes import ClassTable, TissueClass
from napari_lumen.errors import RunError
from napari_lumen.models import InputSpec, View, build
from napari_lumen.models.card import SlideMap as Layout
from napari_lumen.models.googlenet import IMAGENET_MEAN, IMAGENET_STD
from napari_lumen.models.multistage import MultiStage
from napari_lumen.training.data.patch_rules import PatchRule
from napari_lumen.training.phase import Choice, Phase
from napari_lumen.training.recipe import Plan, Recipe, TrainingData
from napari_lumen.training.recipes.multistage_end_to_end import EndToEndPhase
from napari_lumen.training.recipes.multistage_images import PatchedImages
from napari_lumen.training.recipes.multistage_maps import MapPhase
from napari_lumen.training.recipes.multistage_network import MultiStageInTraining
from napari_lumen.training.recipes.multistage_patches import PatchPhase
from napari_lumen.training.recipes.multistage_reading import PatchView
from napari_lumen.training.recipes.multistage_reduced import ReducedPhase
from napari_lumen.training.recipes.multistage_slides import PatchedSlides, SlideSet, WholeSlides

Method = Literal["classifier", "segmentation", "imagenet", "separate", "end_to_end"]
_UNKNOWN_MPP = 0.5  # of images that say none: the card must name one


class MultiStageRecipe(Recipe):
    """Training of a feature extractor and a U-Net, apart and together (sections 3 and 4).

    The data are `WholeSlides`, or images with label images as small slides.
    """

    kind: ClassVar[str] = "multistage"

    method: Method = Field(
        default="end_to_end",
        description="end_to_end: all three phases; separate: without the third; classifier: the first alone; "
        "imagenet: the second on an encoder as it is, by `pretrained` or random; segmentation: a U-Net on "
        "the reduced image.",
    )
    tumour: tuple[str, ...] = Field(
        default=(), description="Names of the classes that are tumour; needed where the data have several."
    )
    encoder: Literal["googlenet", "resnet18"] = Field(default="googlenet", description="Of the extractor.")
    encoder_width: int = Field(
        default=64, gt=0, description="Channels that resnet18 begins with; fewer are for small machines."
    )
    pretrained: str | None = Field(
        default=None,
        description="File or URL of the encoder's first weights. The paper's are ImageNet's, which do not "
        "come with this package; without it they are random.",
    )
    features: int = Field(default=16, gt=0, description="Length of a patch's vector.")
    width: int = Field(default=64, gt=0, description="Channels of the U-Net's first level.")

    mpp: float | None = Field(
        default=None, gt=0, description="µm per pixel of the patches; images are taken as they are without."
    )
    patch: int = Field(default=256, gt=0, description="Side of a patch, px; they touch.")
    crop: int = Field(default=224, gt=0, description="Side of what the extractor sees of a patch, px.")
    tissue_share: float = Field(
        default=0.8,
        ge=0,
        lt=1,
        description="A patch of a slide must have more tissue, in training as in runs of the model; images "
        "count as tissue all over.",
    )
    tumour_share: float = Field(default=0.2, ge=0, le=1, description="A tumour patch has more tumour.")
    normal_share: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="A normal patch has more that is labelled normal; others have no label.",
    )
    map_size: int = Field(
        default=32, gt=0, description="Patches along a side of a map: 32 for biopsies, 512 for lymph nodes."
    )
    slide_map: Layout = Field(
        default="lumps", description="One map for each lump of tissue (biopsies), or one a slide (nodes)."
    )
    low: float = Field(default=0.75, gt=0, description="Least factor of each colour augmentation.")
    high: float = Field(default=1.25, gt=0, description="Largest factor of each colour augmentation.")

    patch_epochs: int = Field(default=30, gt=0, description="Of the feature extractor.")
    patch_batch: int = Field(default=128, gt=1, description="Patches of a step.")
    patch_rate: float = Field(default=1e-4, gt=0, description="Adam's, of the feature extractor.")
    balanced: bool = Field(
        default=False, description="Whether an epoch has as many normal as tumour patches (Camelyon16)."
    )
    map_epochs: int = Field(default=50, gt=0, description="Of the U-Net.")
    map_batch: int = Field(default=32, gt=0, description="Maps of a step.")
    map_rate: float = Field(default=1e-4, gt=0, description="Adam's, of the U-Net.")
    end_to_end_epochs: int = Field(default=10, gt=0, description="Of both; 5 for Camelyon16.")
    end_to_end_batch: int = Field(default=1, gt=0, description="Maps of a step.")
    extractor_rate: float = Field(default=1e-9, gt=0, description="Adam's, of the extractor, end to end.")
    segmenter_rate: float = Field(default=1e-7, gt=0, description="Adam's, of the U-Net, end to end.")
    best_by: Literal["loss", "accuracy", "average precision"] = Field(
        default="loss",
        description="Validation score whose best epoch each phase ends with; the paper names none, and "
        "average precision is 1 too early on few slides.",
    )
    mini_batch: int = Field(
        default=64,
        gt=0,
        description="Patches that go through the extractor at once where a map is made. Changes no result, "
        "and bounds the memory whatever the number of patches; the paper gives the number of parts instead.",
    )
    reduction: int = Field(default=8, gt=0, description="Of the image for the method segmentation.")
    segmentation_batch: int = Field(default=1, gt=0, description="Reduced images of a step.")

    @model_validator(mode="after")
    def _fits(self) -> MultiStageRecipe:
        if self.crop > self.patch:
            raise ValueError(f"crop {self.crop} must be at most patch {self.patch}")
        if self.patch % self.reduction:
            raise ValueError(f"reduction {self.reduction} must divide patch {self.patch}")
        if self.low > self.high:
            raise ValueError(f"low {self.low} must be at most high {self.high}")
        if self.method == "segmentation" and self.pretrained is not None:
            raise ValueError("pretrained is the encoder's; the method segmentation has none")
        return self

    def plan(self, data: TrainingData[Any]) -> Plan:
        """Build the network and the phases of the method; each ends with its best epoch."""
        slides, training, validation = self.slides(data.images), data.part("train"), data.part("validation")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = MultiStageInTraining(self._model())
        spec = InputSpec(
            views=(View(size=self.patch, mpp=self._mpp(data.images)),),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            overlap=0,
            tissue_share=self.tissue_share if isinstance(data.images, WholeSlides) else None,
        )
        view = PatchView(spec, self.crop, self.low, self.high)
        shared: dict[str, Any] = {"slides": slides, "training": training, "validation": validation}
        phases = tuple(self._phases(view, {**shared, "choice": self._choice()}))
        return Plan(network, phases, self._card(data.images.classes, spec), network.model)

    def slides(self, images: Any) -> SlideSet:
        """Return the data as grids of patches.

        Raises
        ------
        RunError
            When they are neither annotated slides nor images with label images, their tumour is not known,
            slides are to be cut at no pixel size, or images by their tissue.
        """
        if not isinstance(images, WholeSlides) and not hasattr(images, "labels"):
            raise RunError("The recipe multistage takes annotated slides, or images with label images.")
        tumour = [item.value for item in self._tumour(images.classes)]
        rule = PatchRule(self.tissue_share, self.tumour_share, self.normal_share)
        if not isinstance(images, WholeSlides):
            if self.tissue_share != MultiStageRecipe.model_fields["tissue_share"].default:
                raise RunError(
                    f"The recipe's field tissue_share is {self.tissue_share:g}, but these are images, which "
                    "count as tissue all over: leave the field out, or give slides."
                )
            return PatchedImages(images, patch=self.patch, mpp=self.mpp, tumour=tumour, rule=rule)
        if self.mpp is None:
            raise RunError("Slides are cut into patches at a pixel size: give the recipe its field mpp.")
        return PatchedSlides(images, patch=self.patch, mpp=self.mpp, tumour=tumour, rule=rule)

    def _phases(self, view: PatchView, shared: dict[str, Any]) -> list[Phase]:
        maps: dict[str, Any] = {"layout": self.slide_map, "map_size": self.map_size}
        if self.method == "segmentation":
            phase = ReducedPhase(
                name="reduced images",
                epochs=self.map_epochs,
                cell=self.patch // self.reduction,
                spec=view.spec,
                rate=self.map_rate,
                batch=self.segmentation_batch,
                **maps,
                **shared,
            )
            return [phase]
        phases: list[Phase] = []
        if self.method != "imagenet":
            phases.append(
                PatchPhase(
                    name="patches",
                    epochs=self.patch_epochs,
                    view=view,
                    rate=self.patch_rate,
                    batch=self.patch_batch,
                    balanced=self.balanced,
                    mini_batch=self.mini_batch,
                    **shared,
                )
            )
        if self.method != "classifier":
            phases.append(
                MapPhase(
                    name="maps",
                    epochs=self.map_epochs,
                    view=view,
                    rate=self.map_rate,
                    batch=self.map_batch,
                    mini_batch=self.mini_batch,
                    **maps,
                    **shared,
                )
            )
        if self.method == "end_to_end":
            phases.append(
                EndToEndPhase(
                    name="end to end",
                    epochs=self.end_to_end_epochs,
                    view=view,
                    extractor_rate=self.extractor_rate,
                    segmenter_rate=self.segmenter_rate,
                    batch=self.end_to_end_batch,
                    mini_batch=self.mini_batch,
                    **maps,
                    **shared,
                )
            )
        return phases

    def _choice(self) -> Choice:
        return Choice(self.best_by, best="lowest" if self.best_by == "loss" else "highest")

    def _arguments(self) -> dict[str, Any]:
        return {
            "encoder": self.encoder,
            "encoder_width": self.encoder_width,
            "variant": "end_to_end" if self.method == "separate" else self.method,
            "map_size": self.map_size,
            "features": self.features,
            "width": self.width,
            "patch": self.patch,
            "crop": self.crop,
        }

    def _model(self) -> MultiStage:
        model: nn.Module = build("multistage", **self._arguments(), pretrained=self.pretrained)
        assert isinstance(model, MultiStage)
        return model

    def _card(self, classes: ClassTable, spec: InputSpec) -> dict[str, Any]:
        reduced = self.method == "segmentation"
        side, mpp = self.map_size * self.patch // self.reduction, spec.views[0].mpp * self.reduction
        view = {"views": (View(size=side, mpp=mpp),), "overlap": side // 8, "tissue_share": None}
        tumour = self._tumour(classes)
        one = tumour[0].model_copy(update={"value": 1, "name": "tumour"})
        return {
            "task": "segmentation" if reduced else "slide",
            "architecture": "multistage",
            "arguments": self._arguments(),
            "activation": "softmax",
            "classes": ClassTable(classes=tuple(tumour) if len(tumour) == 1 else (one,)),
            "input": spec.model_copy(update=view) if reduced else spec,
            "slide_map": self.slide_map,
            "attention": ("tumour_prob",) if reduced else ("feature_norm", "tumour_prob"),
        }

    def _tumour(self, classes: ClassTable) -> list[TissueClass]:
        known = {item.name: item for item in classes}
        names = self.tumour or (tuple(known) if len(known) == 1 else ())
        if not names or set(names) - known.keys():
            raise RunError(
                f"Say by the recipe's field tumour which classes are tumour; there is {', '.join(known)}, "
                f"and it says {', '.join(names) or 'nothing'}."
            )
        return [known[name] for name in names]

    def _mpp(self, images: Any) -> float:
        if self.mpp is not None:
            return self.mpp
        found: float | None = images.mpp(0)
        return found or _UNKNOWN_MPP
