"""Networks written for other programs say there what they say here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import build, export_model, load_model
from napari_lumen.models.attention import mark_attention, record_attention
from napari_lumen.models.folding import folded


def with_statistics(network: nn.Module) -> nn.Module:
    """Give all normalisations statistics that differ from those of a new network."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def test_an_exported_program_gives_the_same_logits_for_any_number_of_tiles(tmp_path: Path) -> None:
    network = with_statistics(build("unet", width=4))
    file = export_model(network, tmp_path / "new" / "unet.pt2", 32)
    program = torch.export.load(file).module()
    for count in (1, 3):
        tiles = torch.rand(count, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(program(tiles), network(tiles))


def test_two_views_are_exported_too(tmp_path: Path) -> None:
    network = with_statistics(build("darefinenet", depth=18, context_depth=18))
    program = torch.export.load(export_model(network, tmp_path / "dual.pt2", 64)).module()
    views = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(program(views), network(views))


def test_onnx_gives_the_same_logits(tmp_path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    network = with_statistics(build("unet", width=4))
    model = onnx.load(export_model(network, tmp_path / "unet.onnx", 32))
    tiles = torch.rand(2, 3, 32, 32)
    (logits,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: tiles.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(tiles).numpy(), atol=1e-4)


def test_a_model_is_exported_at_the_size_of_its_card(tmp_path: Path) -> None:
    model = load_model("nuclei-focusnetpp-light")
    program = torch.export.load(export_model(model, tmp_path / "nuclei.pt2")).module()
    side = model.card.input.views[0].size
    for count in (1, 2):
        tiles = torch.rand(count, 3, side, side)
        with torch.no_grad():
            torch.testing.assert_close(program(tiles), model.network(tiles))


def test_what_cannot_be_exported_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"exported to \.pt2 or \.onnx, not to 'x\.pth'"):
        export_model(build("unet", width=4), tmp_path / "x.pth")
    gated = build("gated_attention", global_depth=18, local_depth=18, global_size=64, local_size=64)
    with pytest.raises(ModelError, match="depends on the image") as error:
        export_model(gated, tmp_path / "gated.pt2", 64)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    file = tmp_path / "old.pt2"
    file.write_bytes(b"old")
    with pytest.raises(ModelError, match="Undecided cannot be exported at 32 px"):
        export_model(Undecided(), file, 32)
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("focusnetpp", {"preset": "light"}),
        ("resnet", {"depth": 18, "classes": 3}),
        ("unet", {"width": 4}),
        ("attention_unet", {"preset": "slim"}),
    ],
)
def test_a_folded_network_is_the_same_function_with_fewer_passes(
    name: str, arguments: dict[str, object]
) -> None:
    network = with_statistics(build(name, **arguments))
    shorter = folded(network)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (network, shorter)]
    assert norms[1] < norms[0] / 2
    tiles = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(shorter(tiles), network(tiles), rtol=1e-4, atol=1e-5)


def test_nothing_is_folded_into_what_is_recorded() -> None:
    recorded = mark_attention(nn.Sequential(nn.Conv2d(3, 4, 1)), "spatial", "Some map.")
    network = with_statistics(nn.Sequential(recorded, nn.BatchNorm2d(4)))
    tiles = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), record_attention(network) as expected:
        logits = network(tiles)
    shorter = folded(network)
    with torch.no_grad(), record_attention(shorter) as found:
        torch.testing.assert_close(shorter(tiles), logits)
    torch.testing.assert_close(found, expected)


def test_a_network_in_training_is_not_folded() -> None:
    with pytest.raises(ValueError, match="evaluation"):
        folded(build("unet", width=4))


def test_on_one_thread_1x1_convolutions_are_those_of_onednn() -> None:
    network = with_statistics(build("resnet", depth=50, classes=2))
    tiles = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shorter = folded(network).to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.profiler.profile() as profile:
            found = shorter(tiles)
    finally:
        torch.set_num_threads(threads)
    with torch.inference_mode():
        torch.testing.assert_close(found, network(tiles), rtol=1e-4, atol=1e-5)
    if torch.backends.mkldnn.is_available() and not torch.cuda.is_available():
        assert not [event.key for event in profile.key_averages() if "slow_conv" in event.key]
