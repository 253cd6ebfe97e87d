"""The multi-stage model: maps of patches, gradients in two passes, and a field of view as a slide."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from napari_lumen import ModelError
from napari_lumen.models import attention_modules, build, describe, export_model, record_attention
from napari_lumen.models.feature_map import FeatureMap, lumps, mean_per_cell
from napari_lumen.models.multistage import MultiStage, tumour_probability

PATCH = 32
CELLS = torch.tensor([[7, 40], [7, 41], [8, 41], [8, 42], [9, 44], [10, 43], [11, 44]])


def parameters(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


def small(**arguments: Any) -> MultiStage:
    """Build a network for patches of 32 px of which it sees 28, with statistics as if it were trained."""
    torch.manual_seed(0)
    network = build(
        "multistage", **{"encoder": "resnet18", "width": 4, "patch": PATCH, "crop": 28} | arguments
    )
    assert isinstance(network, MultiStage)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> MultiStage:
    return small()


# -- weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "extractor", "segmenter"),
    [
        ("end_to_end", 5_616_304, 31_045_186),
        ("classifier", 5_616_338, None),
        ("segmentation", None, 31_037_698),
        ("imagenet", 5_599_904, 31_625_794),
    ],
)
def test_each_variant_has_the_parameters_of_the_specification(
    variant: str, extractor: int | None, segmenter: int | None
) -> None:
    with torch.device("meta"):
        built = build("multistage", variant=variant)
    for part, count in ((built.extractor, extractor), (built.segmenter, segmenter)):
        assert (part is None) == (count is None)
        assert part is None or parameters(part) == count
    assert parameters(built) == (extractor or 0) + (segmenter or 0)


def test_the_first_stage_becomes_part_of_the_whole_but_for_its_last_layer(network: MultiStage) -> None:
    first = small(variant="classifier")
    whole = copy.deepcopy(network)
    keys = whole.load_state_dict(first.state_dict(), strict=False)
    assert set(keys.unexpected_keys) == {"extractor.head.weight", "extractor.head.bias"}
    assert all(key.startswith("segmenter.") for key in keys.missing_keys)
    patches = torch.rand(3, 3, 28, 28)
    torch.testing.assert_close(whole.features(patches), first.features(patches))


def test_the_encoder_takes_published_weights(tmp_path: Path) -> None:
    encoder = build("resnet", depth=18, classes=1000)
    torch.save(encoder.state_dict(), tmp_path / "resnet18.pth")
    filled = small(pretrained=tmp_path / "resnet18.pth")
    report = filled.extractor.backbone.pretrained
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    torch.testing.assert_close(
        filled.get_parameter("extractor.backbone.layer4.1.conv2.weight"),
        encoder.get_parameter("layer4.1.conv2.weight"),
    )


# -- patches -------------------------------------------------------------------------------------------


def test_a_vector_has_16_values_and_none_below_0(network: MultiStage) -> None:
    with torch.inference_mode():
        vectors = network.features(torch.randn(8, 3, 28, 28))
    assert vectors.shape == (8, 16)
    assert vectors.min() == 0  # ReLU clips some of 128


def test_images_normalised_for_imagenet_suit_googlenet_too() -> None:
    whole = small(encoder="googlenet")
    plain = build("googlenet").eval()
    plain.load_state_dict(whole.extractor.backbone.state_dict())
    image = torch.rand(2, 3, 28, 28)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        got = whole.features((image - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        wanted = F.relu(whole.extractor.reduce(plain(image * 2 - 1)))
    assert (got - wanted).norm() < 1e-3 * wanted.norm()


def test_the_classifier_of_patches_is_linear_in_their_vectors() -> None:
    classifier = small(variant="classifier")
    patches = torch.rand(3, 3, 28, 28)
    logits = classifier.patch_logits(patches)
    assert logits.shape == (3, 2)
    weight, bias = (classifier.get_parameter(f"extractor.head.{name}") for name in ("weight", "bias"))
    torch.testing.assert_close(logits, classifier.features(patches) @ weight.T + bias)


def test_the_imagenet_vector_is_the_pooled_map_of_a_frozen_encoder() -> None:
    baseline = small(variant="imagenet").train()
    patches = torch.rand(4, 3, 28, 28)
    vectors = baseline.features(patches)
    torch.testing.assert_close(vectors, baseline.extractor.backbone(patches))
    assert vectors.shape == (4, 512)
    before = copy.deepcopy(baseline.extractor.state_dict())
    baseline(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(torch.equal(before[key], value) for key, value in baseline.extractor.state_dict().items())
    assert all(p.grad is None for p in baseline.extractor.parameters())
    assert all(p.grad is not None for p in baseline.segmenter.parameters())


# -- maps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "sides"), [(None, (16, 16)), ((20, 9), (20, 9)), ((5, 5), (5, 5))])
def test_place_then_gather_is_the_identity_and_the_rest_is_zero(
    network: MultiStage, shape: tuple[int, int] | None, sides: tuple[int, int]
) -> None:
    vectors = torch.rand(len(CELLS), 16) + 1
    placed = network.assemble(vectors, CELLS, shape)
    assert placed.values.shape == (1, 16, *sides)
    assert placed.inside.all()
    torch.testing.assert_close(placed.gather(placed.values), vectors, rtol=0, atol=0)
    assert placed.values.count_nonzero() == vectors.numel()
    torch.testing.assert_close(placed.cells + torch.tensor(placed.origin), CELLS)


def test_the_box_around_the_patches_is_centred() -> None:
    placed = small(map_size=32).assemble(torch.ones(len(CELLS), 16), CELLS)
    rows, columns = placed.values[0, 0].nonzero().unbind(1)
    assert placed.values.shape == (1, 16, 32, 32)
    # a box of 5 x 5 on 32: 13 before it, 14 behind
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (13, 17, 13, 17)
    assert placed.origin == (7 - 13, 40 - 13)


def test_a_free_map_is_as_large_as_the_tissue_asks(network: MultiStage) -> None:
    cells = torch.tensor([[0, 0], [16, 39]])
    assert network.assemble(torch.ones(2, 16), cells).values.shape == (1, 16, 32, 48)


def test_tissue_beyond_a_fixed_map_is_cropped_on_both_sides_with_a_warning() -> None:
    fixed = small(map_size=4)
    cells = torch.stack([torch.arange(10), torch.zeros(10, dtype=torch.long)], dim=1)
    vectors = torch.arange(1.0, 11)[:, None].expand(-1, 16)
    with pytest.warns(UserWarning, match=r"6 of 10 patches lie beyond the map of 4 x 4.*covers 10 x 1"):
        placed = fixed.assemble(vectors, cells)
    assert placed.inside.nonzero().flatten().tolist() == [3, 4, 5, 6]
    torch.testing.assert_close(placed.gather(placed.values), vectors[3:7])
    assert fixed.segment(placed.values).shape == (1, 2, 4, 4)


def test_the_gradient_of_a_map_reaches_the_vectors_of_its_cells(network: MultiStage) -> None:
    vectors = torch.rand(len(CELLS), 16, requires_grad=True)
    placed = network.assemble(vectors, CELLS)
    weight = torch.rand_like(placed.values)
    (placed.values * weight).sum().backward()
    torch.testing.assert_close(vectors.grad, placed.gather(weight))


def test_beyond_the_edge_of_a_map_the_slide_is_empty(network: MultiStage) -> None:
    odd = torch.rand(1, 16, 20, 9)
    empty_beyond = F.pad(odd, (0, 7, 0, 12))
    with torch.inference_mode():
        torch.testing.assert_close(network.segment(odd), network.segment(empty_beyond)[..., :20, :9])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (torch.tensor([[0, 0], [1, 1], [0, 0]]), "two patches share a cell"),
        (torch.tensor([[0, 0], [1, 1]]), r"cells of shape \(2, 2\) for 3 vectors"),
        (torch.tensor([0, 1, 2]), r"cells of shape \(3,\) for 3 vectors"),
    ],
)
def test_cells_that_do_not_fit_the_vectors_are_refused(
    network: MultiStage, cells: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        network.assemble(torch.rand(3, 16), cells)


def test_a_slide_without_patches_is_refused(network: MultiStage) -> None:
    with pytest.raises(ValueError, match="one or more vectors"):
        network.assemble(torch.rand(0, 16), torch.zeros(0, 2, dtype=torch.long))


def test_patches_that_touch_by_a_side_or_a_corner_are_one_lump() -> None:
    cells = torch.tensor([[5, 9], [0, -3], [1, -2], [5, 7], [6, 8], [2, 20], [0, -2]])
    found = [lump.tolist() for lump in lumps(cells)]
    assert found == [[1, 2, 6], [5], [0, 3, 4]]
    assert lumps(cells[:0]) == ()


def test_a_pixel_map_is_scored_by_the_mean_over_each_patch() -> None:
    probability = torch.rand(2, 1, 64, 70)
    scores = mean_per_cell(probability, 32)
    assert scores.shape == (2, 1, 2, 3)
    torch.testing.assert_close(scores[1, 0, 1, 0], probability[1, 0, 32:, :32].mean())
    torch.testing.assert_close(scores[0, 0, 0, 2], probability[0, 0, :32, 64:].mean())


# -- end-to-end learning (section 3.2.2) ---------------------------------------------------------------


def gradients(module: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def slide_loss(network: MultiStage, vectors: Tensor) -> Tensor:
    """Return the cross entropy over labelled patches, two of which have no label."""
    placed = network.assemble(vectors, CELLS)
    logits = placed.gather(network.segment(placed.values))
    return F.cross_entropy(logits, torch.tensor([0, 1, 1, -100, 0, -100, 1]))


def two_passes(network: MultiStage, patches: Tensor, size: int) -> Tensor:
    """Back-propagate as the paper does (steps 1 to 5) and return the vectors' gradient."""
    batches = patches.split(size)
    with torch.no_grad():
        vectors = torch.cat([network.features(batch) for batch in batches])
    vectors.requires_grad_()
    slide_loss(network, vectors).backward()
    assert vectors.grad is not None
    for batch, g in zip(batches, vectors.grad.split(size), strict=True):
        (g * network.features(batch)).sum().backward()
    return vectors.grad


def assert_same_gradients(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (got[name] - value).norm() <= 1e-5 * value.norm(), name


@pytest.mark.parametrize("encoder", ["resnet18", "googlenet"])
def test_gradients_in_two_passes_are_those_of_one_graph(encoder: str) -> None:
    network = small(encoder=encoder)
    patches = torch.rand(len(CELLS), 3, 28, 28)
    slide_loss(network, network.features(patches)).backward()
    wanted = gradients(network)
    assert wanted.keys() == dict(network.named_parameters()).keys()
    assert all(value.any() for name, value in wanted.items() if name.startswith("extractor.backbone"))
    for size in (len(CELLS), 3):  # whatever the number of mini-batches
        g = two_passes(network, patches, size)
        assert g.shape == (len(CELLS), 16)
        assert_same_gradients(gradients(network), wanted)


def test_with_batch_statistics_they_are_the_same_for_the_same_mini_batches_alone() -> None:
    network = small().double().train()
    network.segmenter.eval()
    network.extractor.dropout.eval()
    patches = torch.rand(len(CELLS), 3, 28, 28, dtype=torch.float64)
    slide_loss(network, torch.cat([network.features(b) for b in patches.split(4)])).backward()
    wanted = gradients(network)
    two_passes(network, patches, 4)
    assert_same_gradients(gradients(network), wanted)
    two_passes(network, patches, 5)
    other = gradients(network)[name := "extractor.reduce.weight"]
    assert (other - wanted[name]).norm() > 1e-3 * wanted[name].norm()


# -- a field of view -----------------------------------------------------------------------------------


@pytest.mark.parametrize("map_size", [None, 6, 24])
def test_a_field_of_view_is_a_slide_all_of_tissue(network: MultiStage, map_size: int | None) -> None:
    sized = small(map_size=map_size)
    sized.load_state_dict(network.state_dict())
    x = torch.rand(2, 3, 3 * PATCH, 4 * PATCH)
    with torch.inference_mode():
        logits = sized(x)
        cells = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        patches = torch.stack(
            [x[1, :, r * PATCH + 2 : r * PATCH + 30, c * PATCH + 2 : c * PATCH + 30] for r, c in cells]
        )
        placed = sized.assemble(sized.features(patches), cells)
        by_hand = placed.gather(sized.segment(placed.values))
    assert logits.shape == (2, 2, 3 * PATCH, 4 * PATCH)
    scores = logits[1].view(2, 3, PATCH, 4, PATCH)
    assert (scores == scores[:, :, :1, :, :1]).all()  # constant over each patch
    torch.testing.assert_close(scores[:, :, 0, :, 0].flatten(1).T, by_hand, atol=1e-4, rtol=1e-4)


def test_a_field_of_view_beyond_the_map_enlarges_it() -> None:
    fixed = small(map_size=2)
    maps = []
    fixed.segmenter.register_forward_pre_hook(lambda _module, args: maps.append(args[0].shape))
    with torch.inference_mode():
        assert fixed(torch.rand(1, 3, 3 * PATCH, PATCH)).shape == (1, 2, 3 * PATCH, PATCH)
    assert maps == [(1, 16, 3, 2)]


def test_the_classifier_alone_scores_each_patch_for_itself() -> None:
    classifier = small(variant="classifier")
    x = torch.rand(1, 3, 2 * PATCH, PATCH)
    with torch.inference_mode():
        logits = classifier(x)
        for row in range(2):
            crop = x[:, :, row * PATCH + 2 : row * PATCH + 30, 2:30]
            wanted = classifier.patch_logits(crop)[0, :, None, None].expand(-1, PATCH, PATCH)
            torch.testing.assert_close(
                logits[0, :, row * PATCH : (row + 1) * PATCH], wanted, atol=1e-4, rtol=1e-4
            )


def test_patches_at_the_edge_are_filled_up_with_white(network: MultiStage) -> None:
    x = torch.rand(1, 3, 40, 50)
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    filled = white[None, :, None, None].repeat(1, 1, 64, 64)
    filled[..., :40, :50] = x
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(filled)[..., :40, :50])


@pytest.mark.parametrize("variant", ["end_to_end", "classifier", "segmentation", "imagenet"])
@pytest.mark.parametrize("size", [(64, 64), (45, 81), (7, 1)])
def test_any_size_comes_back_at_that_size(variant: str, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert small(variant=variant)(torch.rand(2, 3, *size)).shape == (2, 2, *size)


def test_the_number_of_mini_batches_does_not_matter(network: MultiStage) -> None:
    few = small(mini_batch=4)
    few.load_state_dict(network.state_dict())
    batches = []

    def seen(_module: nn.Module, args: tuple[Tensor]) -> None:
        assert args[0].is_contiguous(memory_format=torch.channels_last)
        batches.append(args[0].shape[0])

    few.extractor.register_forward_pre_hook(seen)
    x = torch.rand(1, 3, 3 * PATCH, 3 * PATCH)
    with torch.inference_mode():
        torch.testing.assert_close(few(x), network(x), atol=1e-4, rtol=1e-4)
        few(x[..., :PATCH, :PATCH])
    assert batches == [4, 4, 1, 1]
    few.extractor.train()  # batch statistics are those of the whole batch
    few(x)
    assert batches[4:] == [9]


# -- maps to show --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "names"),
    [
        ("end_to_end", ["feature_norm", "tumour_prob"]),
        ("classifier", ["feature_norm", "tumour_prob"]),
        ("imagenet", ["feature_norm", "tumour_prob"]),
        ("segmentation", ["tumour_prob"]),
    ],
)
def test_the_maps_of_the_specification_are_recorded(variant: str, names: list[str]) -> None:
    recorded = small(variant=variant)
    with torch.inference_mode(), record_attention(recorded) as maps:
        logits = recorded(torch.rand(2, 3, 3 * PATCH - 1, 2 * PATCH))
    infos = {info.name: info for info, _ in attention_modules(recorded)}
    assert list(maps) == list(infos) == names
    size = (95, 64) if variant == "segmentation" else (3, 2)
    for name, value in maps.items():
        assert value.shape == (2, 1, *size)
        assert value.dtype == torch.float32
        low, high = infos[name].value_range
        assert low <= value.min() <= value.max() <= high
        assert infos[name].kind == "spatial"
        assert not infos[name].per_tile
    shown = maps["tumour_prob"]
    if variant != "segmentation":
        shown = F.interpolate(shown, scale_factor=PATCH)[..., :95, :]
        assert infos["feature_norm"].display == "min-max"
    torch.testing.assert_close(shown, logits.softmax(dim=1)[:, 1:])


def test_a_slide_records_the_length_of_its_vectors_and_nothing_where_it_is_empty(network: MultiStage) -> None:
    vectors = torch.rand(len(CELLS), 16)
    placed = network.assemble(vectors, CELLS)
    with torch.inference_mode(), record_attention(network) as maps:
        logits = network.segment(placed.values)
    torch.testing.assert_close(placed.gather(maps["feature_norm"])[:, 0], vectors.norm(dim=1))
    assert maps["feature_norm"].count_nonzero() == len(CELLS)
    torch.testing.assert_close(
        maps["tumour_prob"] + tumour_probability(logits.flip(1)), torch.ones(1, 1, 16, 16)
    )


class _Counted(TorchDispatchMode):
    """Collect the names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


def test_maps_cost_nothing_while_they_are_not_recorded(network: MultiStage) -> None:
    x = torch.rand(1, 3, PATCH, PATCH)
    with torch.inference_mode():
        with _Counted() as silent:
            network(x)
        with record_attention(network), _Counted() as recording:
            network(x)
    for name in ("softmax", "vector_norm"):
        assert not any(name in operation for operation in silent.names)
        assert any(name in operation for operation in recording.names)


# -- the one interface ---------------------------------------------------------------------------------


@pytest.fixture(params=["end_to_end", "classifier", "segmentation"])
def variant(request: pytest.FixtureRequest) -> MultiStage:
    return small(variant=request.param)


def test_a_gradient_reaches_every_weight(variant: MultiStage) -> None:
    variant.train()(torch.rand(2, 3, 2 * PATCH, 2 * PATCH)).square().mean().backward()
    for name, weight in variant.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_half_precision_and_channels_last_give_the_same(variant: MultiStage) -> None:
    x = torch.rand(1, 3, 2 * PATCH, 50)
    with torch.inference_mode():
        wanted = variant(x)
        last = variant(x.contiguous(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            cast = variant(x)
        whole = copy.deepcopy(variant).to(torch.bfloat16)(x.bfloat16())
    assert (last - wanted).norm() < 1e-4 * wanted.norm()
    for half in (cast, whole):
        assert half.dtype == torch.bfloat16
        assert (half.float() - wanted).norm() < 0.15 * wanted.norm()


def test_it_is_exported_for_a_fixed_size_and_any_number_of_images(network: MultiStage) -> None:
    x = torch.rand(2, 3, 40, 64)
    count = torch.export.Dim("count", min=2, max=8)
    exported = torch.export.export(network, (x,), dynamic_shapes=({0: count},)).module()
    for images in (x, torch.rand(5, 3, 40, 64)):
        torch.testing.assert_close(exported(images), network(images), atol=1e-4, rtol=1e-4)


def test_it_is_a_segmentation_of_one_view(network: MultiStage) -> None:
    assert (network.task, network.view_count) == ("segmentation", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "vgg16"}, "encoder must be one of googlenet, resnet18, not 'vgg16'"),
        ({"variant": "separate_learning"}, "variant must be one of end_to_end, classifier"),
        ({"map_size": 0}, "map_size must be 1 or more, not 0"),
        ({"features": 0}, "features must be 1 or more"),
        ({"mini_batch": 0}, "mini_batch must be 1 or more"),
        ({"crop": 257}, "crop must be from 1 to the side of a patch, 256, not 257"),
        ({"width": 0}, "width must be 1 or more"),
        ({"variant": "segmentation", "pretrained": "w.pth"}, "the variant segmentation has none"),
    ],
)
def test_a_wrong_argument_gives_one_sentence(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("multistage", **{"encoder": "resnet18"} | arguments)


def test_a_part_that_a_variant_has_not_is_named(network: MultiStage) -> None:
    with pytest.raises(ModelError, match="'end_to_end' of multistage has no classifier of patches"):
        network.patch_logits(torch.rand(1, 3, 28, 28))
    with pytest.raises(ModelError, match="'segmentation' of multistage has no feature extractor"):
        small(variant="segmentation").features(torch.rand(1, 3, 28, 28))
    with pytest.raises(ModelError, match="'classifier' of multistage has no network for maps"):
        small(variant="classifier").segment(torch.rand(1, 16, 16, 16))


# -- what a sceptic found ------------------------------------------------------------------------------


def test_the_norm_of_the_gradient_is_that_of_one_graph(network: MultiStage) -> None:
    patches = torch.rand(len(CELLS), 3, 28, 28)
    target = torch.arange(len(CELLS)) % 2

    def loss(laid_out: FeatureMap, logits: Tensor) -> Tensor:
        return F.cross_entropy(laid_out.gather(logits), target)

    vectors = network.features(patches).detach().requires_grad_()
    laid_out, logits = network.classify(vectors, CELLS)
    loss(laid_out, logits).backward()
    with torch.inference_mode(False):
        found = network.grad_norm(vectors.detach(), CELLS, loss)
    assert vectors.grad is not None
    assert found.shape == (1, 1, *laid_out.values.shape[-2:])
    torch.testing.assert_close(laid_out.gather(found)[:, 0], vectors.grad.norm(dim=1))
    assert float(found.sum()) == pytest.approx(float(vectors.grad.norm(dim=1).sum()))
    assert all(p.grad is None for p in network.extractor.parameters())


@pytest.mark.parametrize(("variant", "cells"), [("end_to_end", 215), ("imagenet", 215), ("classifier", 1)])
@pytest.mark.parametrize("size", [256, 1000])
def test_its_receptive_field_is_made_of_the_middles_of_patches(variant: str, cells: int, size: int) -> None:
    found = describe("multistage", variant=variant, size=size)
    assert found.receptive_field == (cells - 1) * 256 + 224
    assert not found.whole_image


def test_one_small_field_of_view_cannot_be_trained_on(network: MultiStage) -> None:
    training = copy.deepcopy(network).train()
    with pytest.raises(ValueError, match="needs more than one value a channel"):
        training(torch.rand(1, 3, 16 * PATCH, 16 * PATCH))
    training(torch.rand(2, 3, PATCH, PATCH)).sum().backward()


def test_no_fields_of_view_have_no_logits(network: MultiStage) -> None:
    with torch.inference_mode():
        assert network(torch.rand(0, 3, PATCH, 2 * PATCH)).shape == (0, 2, PATCH, 2 * PATCH)


@pytest.mark.parametrize("variant", ["end_to_end", "classifier", "segmentation", "imagenet"])
def test_every_variant_is_exported_for_any_number_of_images(variant: str, tmp_path: Path) -> None:
    whole = small(variant=variant, mini_batch=4)
    program = torch.export.load(export_model(whole, tmp_path / "m.pt2", 2 * PATCH)).module()
    for count in (1, 3):
        images = torch.rand(count, 3, 2 * PATCH, 2 * PATCH)
        with torch.no_grad():
            torch.testing.assert_close(program(images), whole(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["end_to_end", "classifier", "segmentation"])
def test_a_network_in_double_precision_is_recorded_in_it(variant: str) -> None:
    network = small(variant=variant).eval().double()
    with torch.no_grad(), record_attention(network) as attention:
        network(torch.rand(1, 3, 64, 64, dtype=torch.float64))
    assert {value.dtype for value in attention.values()} == {torch.float64}


def test_without_values_all_patches_are_extracted_at_once() -> None:
    with torch.device("meta"):
        network = small(mini_batch=1)
    assert network.extractor is not None
    calls: list[torch.Size] = []
    network.extractor.register_forward_hook(lambda _module, args, _out: calls.append(args[0].shape))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 4 * PATCH, 4 * PATCH, device="meta")).is_meta
    assert calls == [(16, 3, 28, 28)]
