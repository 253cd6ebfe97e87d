"""What a recipe is: the numbers of a training, and the network and phases that they make of some data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict, Field
from torch import nn

from napari_lumen.errors import ModelError, RunError
from napari_lumen.models.describe import outlined
from napari_lumen.training.data.image_set import Pictures
from napari_lumen.training.data.splits import Split
from napari_lumen.training.phase import Phase
from napari_lumen.validation import WrittenFields

Images = TypeVar("Images", bound=Pictures, covariant=True)
DYE_CHANGE: Any = Field(
    default=0.0,
    ge=0,
    lt=1,
    description="Densities of the dyes in training images change by factors of 1 plus or minus it, and by as "
    "much to either side (Tellez et al. 2018 take 0.05); the paper names none.",
)


@dataclass(frozen=True)
class TrainingData(Generic[Images]):
    """A set of images and how it is divided.

    Attributes
    ----------
    images : ImageSet, GradedSet or another set that the recipe takes
    split : Split
        With the parts ``train`` and ``validation``; what is in no other part is left alone.
    description : str
        Of the set, for the card.
    """

    images: Images
    split: Split
    description: str = ""

    def part(self, name: str) -> list[int]:
        """Return the numbers of the images of a part.

        Raises
        ------
        RunError
            When the split has no such part, or nothing is in it.
        """
        indices = self.split.indices(self.images.items, name)
        if not indices:
            raise RunError(f"The split has no image in its part {name!r}. Divide the data anew.")
        return indices


@dataclass(frozen=True)
class Plan:
    """A training, ready to begin.

    Attributes
    ----------
    network : Module
        Its weights follow from the recipe's seed.
    phases : tuple of Phase
    card : mapping of str to object
        Fields of the model's card that follow from recipe and data: all but its name, texts and scores.
    kept : Module, optional
        The part of the network that is the model, where another part only serves the training.
    """

    network: nn.Module
    phases: tuple[Phase, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    kept: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        """What a training begins with and leaves behind."""
        return self.network if self.kept is None else self.kept


def fitting_arguments(network: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network that a recipe is given, if it can be built with them.

    Files of first weights are not looked at.

    Parameters
    ----------
    network : str or None
        None where the name itself is wrong, of which the user is told.
    arguments : dict

    Raises
    ------
    ValueError
        One sentence: which argument is wrong, and which there are.
    """
    if network is None or not arguments:
        return arguments
    built = {key: None if key.endswith("pretrained") else of for key, of in arguments.items()}
    try:
        _require_built(_Call(network, repr(sorted(built.items())), built))
    except ModelError as error:
        raise ValueError(str(error)) from error
    return arguments


@dataclass(frozen=True)
class _Call:
    """A network by name and arguments, known again by how these are written: they cannot be hashed."""

    network: str
    written: str
    arguments: dict[str, Any] = field(compare=False)


# a form asks anew at each key that is pressed, and building takes tenths of a second
@lru_cache(maxsize=32)
def _require_built(call: _Call) -> None:
    """See that a network can be built."""
    outlined(call.network, **call.arguments)


class Recipe(WrittenFields, ABC):
    """The numbers of a training; a subclass for each paper, with the paper's numbers as defaults."""

    model_config = ConfigDict(allow_inf_nan=False)
    kind: ClassVar[str]

    seed: int = Field(default=42, ge=0, description="Of the first weights and of everything random.")
    largest_gradient: float | None = Field(
        default=None, gt=0, description="Norm that gradients are clipped to; not at all by default."
    )

    @abstractmethod
    def plan(self, data: TrainingData[Any]) -> Plan:
        """Build network and phases for some data.

        Raises
        ------
        RunError
            When the data are not what the recipe takes.
        """
