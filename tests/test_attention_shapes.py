"""Networks whose attention does not have the shape that they say: one sentence, in a field and in a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from explain_fakes import dark_at, marker_model
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.errors import ModelError
from napari_lumen.explain import Explainer
from napari_lumen.geometry import Region
from napari_lumen.inference import predict
from napari_lumen.models import Model, build

SPOT = Region(30, 30, 10, 10)
TUMOUR = ClassTable.of([(1, "tumour", (255, 0, 0))])
SLIDE = dark_at(SPOT, (200, 200))


def altered(model: Model, name: str, change: Callable[[Tensor], Tensor]) -> Model:
    """Alter what a marked module of a network outputs."""
    module = model.network.get_submodule(name)
    before = module.forward
    module.forward = lambda *given: change(before(*given))  # type: ignore[method-assign]
    return model


SPATIAL: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda x: x[..., :3, :3], r"it has 3 x 3 cells, and a stride of 4 px makes 16 x 16 of 64 x 64 px"),
    (lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), r"it has 32 x 32 cells"),
    (lambda x: x[..., :7], r"it has 16 x 7 cells"),
    (lambda x: x[..., :0], r"it has 16 x 0 values"),
    (lambda x: x.flatten(), r"shape \(256,\), and a spatial map is \(N, C, h, w\)"),
    (lambda x: x[:, 0], r"and a spatial map is \(N, C, h, w\)"),
]


@pytest.mark.parametrize(("change", "said"), SPATIAL)
@pytest.mark.parametrize("whole", [False, True])
def test_a_map_that_its_stride_does_not_fit_is_told_in_one_sentence(
    change: Callable[[Tensor], Tensor], said: str, whole: bool, tmp_path: Path
) -> None:
    model = altered(marker_model(4, whole=whole, attention=("map4",)), "map4", change)
    with pytest.raises(ModelError, match=said):
        Explainer(model, "cpu").explain(SLIDE, (100.0, 100.0))
    with pytest.raises(ModelError, match=said):
        predict(SLIDE, model, Region(0, 0, 200, 200), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("gate", lambda x: x.flatten(), r"shape \(3,\), and channel gates are \(N, C\)"),
        ("gate", lambda x: x[:, :, None, None].repeat(1, 1, 2, 2), r"and channel gates are \(N, C\)"),
        ("boxes", lambda x: x[..., :4], r"boxes have four edges and a score each, and it has 3 x 4 values"),
        ("boxes", lambda x: x.flatten(1), r"and it has 15 values"),
    ],
)
def test_gates_and_boxes_of_another_shape_are_told_in_one_sentence(
    name: str, change: Callable[[Tensor], Tensor], said: str, tmp_path: Path
) -> None:
    model = altered(marker_model(4, whole=True, attention=(name,)), name, change)
    with pytest.raises(ModelError, match=said):
        Explainer(model, "cpu").explain(SLIDE, (100.0, 100.0))
    with pytest.raises(ModelError, match=said):
        predict(SLIDE, model, Region(0, 0, 200, 200), tmp_path / "run")


@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels_of_a_padded_map_is_fine(channels: int, tmp_path: Path) -> None:
    model = marker_model(4, multiple=64, size=80, attention=("map4",))
    altered(model, "map4", lambda x: x.repeat(1, channels, 1, 1))
    field = Explainer(model, "cpu").explain(SLIDE, (100.0, 100.0))
    assert field["map4"].values.shape == (20, 20)
    assert predict(SLIDE, model, Region(0, 0, 200, 200), tmp_path / "run").record.tiles == 9


@pytest.mark.parametrize("name", ["boxes", "gate", "missing"])
def test_a_card_of_a_segmentation_asks_for_maps_alone(name: str, tmp_path: Path) -> None:
    model = marker_model(4, attention=("map4", name))
    said = (
        f"The card of Marker is not usable: field 'attention': network 'marker' has no spatial map '{name}'"
    )
    with pytest.raises(ModelError, match=said):
        predict(SLIDE, model, Region(0, 0, 200, 200), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    # a field shows what the network records, whatever the card asks for
    assert Explainer(model, "cpu").explain(SLIDE, (100.0, 100.0))["boxes"].kind == "boxes"


def test_a_map_of_two_stages_has_a_cell_a_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes: dict[str, Any] = {"encoder": "resnet18", "width": 4, "patch": 32, "crop": 28}
    of_two = {"task": "slide", "activation": "softmax", "attention": ("tumour_prob",), "classes": TUMOUR}
    card = marker_model(4, size=32).card.model_copy(update=of_two)
    model = Model(build("multistage", **sizes).eval(), card, Path("marker"))
    altered(model, "tumour_prob", lambda x: x[..., :1, :1])
    slide = dark_at(Region(20, 20, 150, 150), (200, 200), mpp=0.5)
    said = "The network made a map of 1 x 1 cells of one of"
    with pytest.raises(ModelError, match=said):
        Explainer(model, "cpu").explain(slide, Region(0, 0, 192, 192))
    with pytest.raises(ModelError, match=said):
        predict(slide, model, Region(0, 0, 192, 192), tmp_path / "run")
