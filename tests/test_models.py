"""Networks, cards and weights: what is published is what is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_lumen import ModelError
from napari_lumen.annotations.classes import ClassTable
from napari_lumen.models import (
    InputSpec,
    ModelCard,
    TrainingRecord,
    View,
    attention_modules,
    build,
    load_model,
    record_attention,
    save_model,
)
from napari_lumen.models.focusnetpp import ResidualGroupAttention, ScaleHead
from napari_lumen.training.losses import adaptive_logarithmic_hybrid


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def running_statistics(module: nn.Module) -> int:
    return sum(b.numel() for name, b in module.named_buffers() if "running" in name)


@pytest.mark.parametrize(
    ("preset", "trainable", "with_statistics"),
    [("table", 7_779_377, 7_808_289), ("text", 3_288_485, 3_308_037), ("light", 1_833_357, 1_847_485)],
)
def test_focusnetpp_has_the_parameters_of_its_specification(
    preset: str, trainable: int, with_statistics: int
) -> None:
    network = build("focusnetpp", preset=preset)
    assert parameters(network) == trainable
    assert parameters(network) + running_statistics(network) == with_statistics


@pytest.mark.parametrize(("width", "count"), [(64, 29_536), (256, 462_208)])
def test_a_block_has_the_parameters_of_its_specification(width: int, count: int) -> None:
    assert parameters(ResidualGroupAttention(width, width)) == count


@pytest.fixture(scope="module")
def light() -> nn.Module:
    torch.manual_seed(0)
    return build("focusnetpp", preset="light").eval()


@pytest.mark.parametrize("size", [(64, 64), (50, 81), (16, 16), (7, 9)])
def test_any_size_comes_back_at_that_size(light: nn.Module, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert light(torch.rand(2, 3, *size)).shape == (2, 1, *size)


def test_attention_and_gates_lie_between_0_and_1_and_all_are_recorded(light: nn.Module) -> None:
    with torch.inference_mode(), record_attention(light) as maps:
        light(torch.rand(1, 3, 64, 64))
    infos = {info.name: info for info, _ in attention_modules(light)}
    assert set(maps) == set(infos)
    kinds = [info.kind for info in infos.values()]
    assert kinds.count("channel") == 16
    assert kinds.count("spatial") == 2 * 16 + 4
    for name, value in maps.items():
        assert 0 < value.min() <= value.max() < 1, name
        assert value.ndim == (4 if infos[name].kind == "spatial" else 2), name
    assert maps["d1.0.att0"].shape == (1, 1, 64, 64)
    assert maps["bottleneck.1.att2"].shape == (1, 1, 4, 4)
    assert maps["e4.0.se"].shape == (1, 128)


def test_recording_leaves_no_hook_behind(light: nn.Module) -> None:
    with record_attention(light, "d2.0.att0") as maps:
        light(torch.rand(1, 3, 32, 32))
    assert list(maps) == ["d2.0.att0"]
    assert not any(module._forward_hooks for module in light.modules())


def test_an_unknown_map_is_named_with_those_there_are(light: nn.Module) -> None:
    with (
        pytest.raises(KeyError, match=r"no attention map named d9.*d1\.0\.att0"),
        record_attention(light, "d9"),
    ):
        pass


def test_without_attention_the_block_does_not_see_the_attended_groups() -> None:
    torch.manual_seed(1)
    block = ResidualGroupAttention(16, 16).eval()
    block.embed = nn.Identity()
    for branch in (block.att0, block.att2):
        branch[-1] = _Zero()
    x = torch.rand(1, 16, 8, 8)
    changed = x.clone()
    changed[:, 4:8] += 1  # g1
    changed[:, 12:] -= 1  # g3
    block.shortcut = _Zero()
    torch.testing.assert_close(block(x), block(changed))


def test_the_first_group_drives_the_first_attention_alone() -> None:
    torch.manual_seed(1)
    block = ResidualGroupAttention(16, 16).eval()
    block.embed = nn.Identity()
    x = torch.rand(1, 16, 8, 8)
    changed = x.clone()
    changed[:, :4] += 1
    with record_attention(block) as maps:
        block(x)
        before = dict(maps)
        block(changed)
    assert not torch.allclose(before["att0"], maps["att0"])
    torch.testing.assert_close(before["att2"], maps["att2"])


def test_head_then_nearest_equals_nearest_then_head_also_in_training() -> None:
    torch.manual_seed(2)
    head = ScaleHead(8, 4).train()
    x = torch.rand(2, 8, 6, 6)
    enlarge = nn.Upsample(scale_factor=4)
    torch.testing.assert_close(enlarge(head(x)), head(enlarge(x)), atol=1e-6, rtol=0)


def test_focusnetpp_learns_from_a_gradient_in_every_weight(light: nn.Module) -> None:
    network = build("focusnetpp", preset="light").train()
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


class _Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


def test_the_loss_has_the_values_of_its_specification() -> None:
    ones = torch.ones(1, 1, 8, 8)
    perfect = adaptive_logarithmic_hybrid(ones * 50, ones)
    assert perfect.item() == pytest.approx(0, abs=1e-4)
    for hybrid, expected in ((0.0, 0.0), (0.1, 1.82322), (1.0, 2.72322)):
        assert _of_hybrid(hybrid) == pytest.approx(expected, abs=1e-4)
    assert _of_hybrid(0.1 - 1e-9) == pytest.approx(_of_hybrid(0.1), abs=1e-4)


def _of_hybrid(hybrid: float) -> float:
    """Value of the loss where HL is known: Tversky alone, of half the pixels, made to be 1 - HL."""
    # with no cross entropy and beta = 0.7: TL = 0.7 FN / (TP + 0.7 FN + 1), over n pixels of target 1
    n = 1_000_000.0
    missed = hybrid * (n + 1) / (0.7 + 0.3 * hybrid)  # soft false negatives that give TL = hybrid
    probability = torch.tensor(1 - missed / n, dtype=torch.float64).clamp(1e-7, 1 - 1e-7)
    logits = torch.full((1, 1, 1000, 1000), torch.logit(probability).item())
    return adaptive_logarithmic_hybrid(logits, torch.ones(1, 1, 1000, 1000), cross_entropy_share=0.0).item()


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4, :] = 1
    sure = (target * 2 - 1) * 8
    missed, false = sure.clone(), sure.clone()
    missed[..., 0, :4] *= -1
    false[..., 7, :4] *= -1
    assert adaptive_logarithmic_hybrid(missed, target) > adaptive_logarithmic_hybrid(false, target)


# -- cards and weights ---------------------------------------------------------------------------------


def card(**changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": "tiny",
        "title": "Tiny",
        "summary": "Finds nothing yet.",
        "task": "segmentation",
        "architecture": "focusnetpp",
        "arguments": {"preset": "light"},
        "activation": "sigmoid",
        "classes": ClassTable.of([(1, "nucleus", (0, 0, 255))]),
        "input": InputSpec(views=(View(size=64, mpp=0.5),), overlap=16),
        "attention": ("d2.0.att0",),
        "training": TrainingRecord(data="none", split="none"),
        "scores": {},
        "licence": "BSD-3-Clause",
        "limits": "Nothing.",
        "weights_sha256": "0" * 64,
    }
    return ModelCard.model_validate(fields | changes)


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path, light: nn.Module) -> None:
    folder = save_model(tmp_path, light, card())
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]
    model = load_model(folder)
    assert not model.network.training
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.network(x), light(x))
    with pytest.raises(ModelError, match="remove it or choose another name"):
        save_model(tmp_path, light, card())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "field 'title'"),
        ({"colour": "red"}, "field 'colour'"),
        ({"architecture": "resnet9000"}, "no network named 'resnet9000'; there is darefinenet, "),
        ({"arguments": {"preset": "huge"}}, "preset must be one of table, text, light"),
        ({"arguments": {"preset": "text"}}, "do not fit network 'focusnetpp'"),
        ({"attention": ["d9.0.att0"]}, "field 'attention'.*no spatial map 'd9.0.att0'"),
        ({"weights_sha256": "1" * 64}, "'weights_sha256' differs"),
        ({"input": {"views": [{"size": 64, "mpp": 0.5}], "overlap": 64}}, "field 'input'.*overlap 64"),
    ],
)
def test_a_wrong_card_is_named_by_its_field(
    tmp_path: Path, light: nn.Module, change: dict[str, object], message: str
) -> None:
    folder = save_model(tmp_path, light, card())
    content = json.loads((folder / "card.json").read_text()) | change
    (folder / "card.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_damaged_or_missing_weights_give_one_sentence(tmp_path: Path, light: nn.Module) -> None:
    folder = save_model(tmp_path, light, card())
    weights = folder / "weights.safetensors"
    rubbish = b"\x80\x04pickle"
    weights.write_bytes(rubbish)
    with pytest.raises(ModelError, match="damaged or was replaced"):
        load_model(folder)
    content = json.loads((folder / "card.json").read_text())
    content["weights_sha256"] = hashlib.sha256(rubbish).hexdigest()
    (folder / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="Pickled weights"):
        load_model(folder)


def test_an_unknown_model_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'nonsense'; there is .*nuclei-focusnetpp-light"):
        load_model("nonsense")
    with pytest.raises(ModelError, match="holds no model"):
        load_model(tmp_path)
