"""What a MONAI bundle's inference config says of input and output, read as text: nothing of it is run.

The config language has ``@id`` for another item and ``$`` for Python to evaluate. The first is followed here;
where a needed value is the second, the user is asked for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from napari_lumen.errors import ModelError, first_line

_Triple = tuple[float, float, float]
# transforms that leave the values of a picture as they are
_NEUTRAL = (
    "LoadImage",
    "EnsureChannelFirst",
    "AsChannelFirst",
    "AddChannel",
    "CastToType",
    "ToTensor",
    "EnsureType",
    "Resize",
)
_PREDICTION = "pred"
_ASK = "give mean and std in lumen.json"


@dataclass(frozen=True)
class InferenceConfig:
    """An inference config as it stands in its file.

    Attributes
    ----------
    file : Path
        For messages.
    items : mapping
        Empty when the bundle has no such file.
    """

    file: Path
    items: Mapping[str, Any]

    @staticmethod
    def find(bundle: Path) -> Path | None:
        """Return the inference config of a bundle, where it has one."""
        files = (bundle / "configs" / f"inference.{suffix}" for suffix in ("json", "yaml", "yml"))
        return next((file for file in files if file.is_file()), None)

    @classmethod
    def of(cls, bundle: Path) -> InferenceConfig:
        """Read the inference config of a bundle.

        Raises
        ------
        ModelError
            When it is damaged.
        """
        file = cls.find(bundle)
        if file is None:
            return cls(bundle / "configs" / "inference.json", {})
        try:
            text = file.read_text(encoding="utf-8")
            items = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ModelError(f"The inference config {file} cannot be read: {first_line(error)}.") from error
        if not isinstance(items, Mapping):
            raise ModelError(f"The inference config {file} is not usable: it holds no named items.")
        return cls(file, items)

    def resized_to(self, key: str) -> int | None:
        """Return the side that images are resized to, px; None when they are not.

        Raises
        ------
        ModelError
            When it is not a square, or Python has to be run to know it.
        """
        for name, step in self._steps("preprocessing", key):
            if name == "Resize":
                size = self._value(step.get("spatial_size"))
                sides = size if isinstance(size, list) else [size]
                if len(set(map(str, sides))) != 1 or not isinstance(sides[0], int) or sides[0] < 1:
                    raise ModelError(
                        f"The inference config {self.file} is not usable: field 'preprocessing' resizes to "
                        f"{size}, which is not one side of a square."
                    )
                return sides[0]
        return None

    def normalisation(self, key: str) -> tuple[_Triple, _Triple]:
        """Return mean and deviation, of RGB in [0, 1], that do what the transforms do to RGB of 0 to 255.

        Raises
        ------
        ModelError
            When the transforms are not known, or do more than a shift and a scale for each channel.
        """
        if not isinstance(self._value(self.items.get("preprocessing")), Mapping):
            raise ModelError(
                f"The inference config {self.file} does not say how images are prepared (field "
                f"'preprocessing'): {_ASK}."
            )
        scale, offset = [1.0] * 3, [0.0] * 3
        for name, step in self._steps("preprocessing", key):
            if name in _NEUTRAL:
                continue
            highest = max(255 * s + o for s, o in zip(scale, offset, strict=True))
            by, plus = self._affine(name, step, min(offset), highest)
            scale = [s * b for s, b in zip(scale, by, strict=True)]
            offset = [o * b + p for o, b, p in zip(offset, by, plus, strict=True)]
        std = [1 / (255 * s) for s in scale]
        mean = [-o * d for o, d in zip(offset, std, strict=True)]
        return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])

    def activation(self, key: str) -> Literal["sigmoid", "softmax"]:
        """Return the activation that is applied to the network's answer.

        Parameters
        ----------
        key : str
            Name of the answer in the metadata; MONAI's own engines call it ``pred`` whatever that says.

        Raises
        ------
        ModelError
            When the config does not say.
        """
        for name, step in self._steps("postprocessing", key, _PREDICTION):
            if name == "Activations" and self._is_on(step, "sigmoid", key):
                return "sigmoid"
            if (name == "Activations" and self._is_on(step, "softmax", key)) or (
                name == "AsDiscrete" and self._is_on(step, "argmax", key)
            ):
                return "softmax"
        raise ModelError(
            f"The inference config {self.file} does not say how the answer becomes a probability (field "
            "'postprocessing'): write the field activation, sigmoid, softmax or none, into lumen.json."
        )

    def _is_on(self, step: Mapping[str, Any], option: str, key: str) -> bool:
        """Whether an option is true for the answer: a dictionary transform may list one value a key."""
        value, keys = self._value(step.get(option)), self._value(step.get("keys"))
        if not isinstance(value, list):
            return value is True
        named = keys if isinstance(keys, list) else [keys]
        return any(on is True and name in (key, _PREDICTION) for name, on in zip(named, value, strict=False))

    def _affine(
        self, name: str, step: Mapping[str, Any], lowest: float, highest: float
    ) -> tuple[list[float], list[float]]:
        """Return factor and summand of each channel for a transform of values from lowest to highest."""
        numbers = {key: self._numbers(value) for key, value in step.items()}
        match name:
            case "ScaleIntensityRange":
                a0, a1 = numbers.get("a_min"), numbers.get("a_max")
                b0, b1 = numbers.get("b_min") or [0.0] * 3, numbers.get("b_max") or [1.0] * 3
                clips = step.get("clip") and a0 and a1 and (a0[0] > lowest or a1[0] < highest)
                if a0 and a1 and a0[0] < a1[0] and not clips:
                    by = (b1[0] - b0[0]) / (a1[0] - a0[0])
                    if by > 0:
                        return [by] * 3, [b0[0] - a0[0] * by] * 3
            case "NormalizeIntensity":
                mean, std = numbers.get("subtrahend"), numbers.get("divisor")
                if mean and std and min(std) > 0 and not step.get("nonzero"):
                    return [1 / d for d in std], [-m / d for m, d in zip(mean, std, strict=True)]
        raise ModelError(
            f"The inference config {self.file} prepares images by {name} (field 'preprocessing'), which is "
            f"not a fixed shift and scale for each channel: {_ASK}."
        )

    def _steps(self, item: str, *wanted: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name (without the d of dictionary transforms) and arguments of the transforms for keys."""
        composed = self._value(self.items.get(item))
        steps = self._value(composed.get("transforms")) if isinstance(composed, Mapping) else None
        if isinstance(composed, Mapping) and not isinstance(steps, list):
            raise ModelError(
                f"The inference config {self.file} is not usable: field '{item}.transforms' is no list that "
                "can be read without running Python."
            )
        for step in map(self._value, steps or ()):
            target = step.get("_target_") if isinstance(step, Mapping) else None
            if not isinstance(target, str):
                raise ModelError(
                    f"The inference config {self.file} is not usable: field '{item}.transforms' holds one "
                    "that cannot be read without running Python."
                )
            name, keys = target.rpartition(".")[2], self._value(step.get("keys"))
            if keys is not None:  # a dictionary transform: ScaleIntensityd, ...D or ...Dict
                name = re.sub("(Dict|D|d)$", "", name)
                if not any(key in (keys if isinstance(keys, list) else [keys]) for key in wanted):
                    continue
            if not step.get("_disabled_"):
                yield name, step

    def _numbers(self, value: object) -> list[float] | None:
        """Return a number three times, or three numbers."""
        value = self._value(value)
        entries = value if isinstance(value, list) else [value] * 3
        numbers = [float(n) for n in entries if isinstance(n, int | float) and not isinstance(n, bool)]
        return numbers if len(numbers) == len(entries) == 3 else None

    def _value(self, value: Any) -> Any:
        """Follow ``@item::part`` to what it stands for; anything else is returned as it is."""
        for _ in range(10):  # references may lead in a circle
            if not (isinstance(value, str) and value.startswith("@")):
                return value
            found: Any = self.items
            for part in value[1:].replace("#", "::").split("::"):
                if isinstance(found, Mapping):
                    found = found.get(part)
                elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                    found = found[int(part)]
                else:
                    found = None
            value = found
        return value
