"""The multi-stage recipe: patches, maps, both together, and its baselines."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from fakes import ArraySlide
from multistage_fakes import PATCH, SIDE, Fields, data, recipe, weights
from napari_lumen import load_model, predict
from napari_lumen.errors import RunError
from napari_lumen.geometry import Region
from napari_lumen.models import Model, ModelCard, TrainingRecord, save_model
from napari_lumen.training.checkpoint import Place
from napari_lumen.training.example import Batch
from napari_lumen.training.phase import TRAIN, Phase
from napari_lumen.training.progress import TrainingProgress
from napari_lumen.training.recipe import Plan
from napari_lumen.training.recipes.multistage import MultiStageRecipe
from napari_lumen.training.recipes.multistage_layout import labels_on, slide_maps, training_maps
from napari_lumen.training.recipes.multistage_scores import PatchScores
from napari_lumen.training.settings import Settings
from napari_lumen.training.trainer import Trainer
from napari_lumen.training.turn import Turn


class KilledError(BaseException):
    """Ends a training as a kill does."""


def fit(
    plan: Plan, folder: Path, told: list[TrainingProgress] | None = None, seconds: float = 60.0
) -> tuple[nn.Module, Place]:
    folder.mkdir(exist_ok=True)
    settings = Settings(device="cpu", checkpoint_seconds=seconds)
    fabric = Fabric(accelerator="cpu", devices=1)
    trainer = Trainer(fabric, settings, folder, 7, on_progress=None if told is None else told.append)
    return plan.network, trainer.fit(plan.network, plan.phases)


# -- numbers -------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_paper() -> None:
    paper = MultiStageRecipe()
    assert (paper.patch, paper.crop, paper.features, paper.map_size) == (256, 224, 16, 32)
    assert (paper.tissue_share, paper.tumour_share, paper.normal_share) == (0.8, 0.2, 0.8)
    assert (paper.low, paper.high) == (0.75, 1.25)
    assert (paper.patch_rate, paper.patch_epochs, paper.patch_batch) == (1e-4, 30, 128)
    assert (paper.map_rate, paper.map_epochs, paper.map_batch) == (1e-4, 50, 32)
    assert (paper.extractor_rate, paper.segmenter_rate) == (1e-9, 1e-7)
    assert (paper.end_to_end_epochs, paper.end_to_end_batch) == (10, 1)
    assert (paper.encoder, paper.width, paper.method, paper.balanced) == (
        "googlenet",
        64,
        "end_to_end",
        False,
    )
    assert (paper.reduction, paper.segmentation_batch, paper.slide_map) == (8, 1, "lumps")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"patch": 64, "crop": 65}, "crop 65 must be at most patch 64"),
        ({"patch": 60, "crop": 56}, "reduction 8 must divide patch 60"),
        ({"method": "segmentation", "pretrained": "file"}, "the method segmentation has none"),
        ({"low": 2}, "low 2.0 must be at most high 1.25"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiStageRecipe(**numbers)


@pytest.mark.parametrize("names", [(), ("fat",)])
def test_which_classes_are_tumour_must_be_said(names: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match="which classes are tumour; there is gland, tumour"):
        recipe(tumour=names).plan(data(Fields()))


def test_a_share_of_tissue_is_asked_of_slides_alone() -> None:
    with pytest.raises(
        RunError, match=r"field tissue_share is 0\.3, but these are images, which count as tissue"
    ):
        recipe(tissue_share=0.3).plan(data(Fields()))


def test_each_method_has_its_phases_and_optimisers() -> None:
    phases = {
        method: [phase.name for phase in recipe(method=method).plan(data(Fields())).phases]
        for method in ("classifier", "segmentation", "imagenet", "separate", "end_to_end")
    }
    assert phases == {
        "classifier": ["patches"],
        "segmentation": ["reduced images"],
        "imagenet": ["maps"],
        "separate": ["patches", "maps"],
        "end_to_end": ["patches", "maps", "end to end"],
    }
    plan = recipe(extractor_rate=1e-9, segmenter_rate=1e-7).plan(data(Fields()))
    chosen = [phase.optimisers(plan.network)["weights"] for phase in plan.phases]
    assert all(type(one) is torch.optim.Adam and one.defaults["betas"] == (0.9, 0.999) for one in chosen)
    names = {parameter: name for name, parameter in plan.network.named_parameters()}
    groups = [[{names[item] for item in group["params"]} for group in one.param_groups] for one in chosen]
    first, second = ({name for name in names.values() if part in name} for part in ("extractor", "segmenter"))
    assert groups == [[first | {"f_n.weight", "f_n.bias"}], [second], [first, second]]
    assert [group["lr"] for group in chosen[2].param_groups] == [1e-9, 1e-7]
    assert not any("f_n" in name for name in plan.model.state_dict())


# -- patches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balanced", [False, True])
def test_an_epoch_has_every_patch_once_or_as_many_of_either_class(balanced: bool) -> None:
    fields = Fields(6)
    half = fields.labels
    fields.labels = lambda index: half(index) if index == 0 else np.zeros_like(half(index))  # type: ignore[method-assign]
    plan = recipe(balanced=balanced, patch_batch=4).plan(data(fields))
    phase = plan.phases[0]
    phase.begin(plan.network, turn_of(plan))
    epochs = [
        [index for step in phase.order(epoch, np.random.default_rng(epoch)) for index in step[TRAIN]]
        for epoch in (0, 1)
    ]
    labels = [
        [int(phase.example(TRAIN, index, np.random.default_rng(0)).targets["label"]) for index in epoch]
        for epoch in epochs
    ]
    for indices, known in zip(epochs, labels, strict=True):
        assert len(set(indices)) == len(indices) == (16 if balanced else 3 * 16)
        assert sum(known) == 8
    assert (set(epochs[0]) == set(epochs[1])) is not balanced


def test_a_training_without_a_class_to_balance_says_so(tmp_path: Path) -> None:
    fields = Fields(6)
    fields.labels = lambda index: np.zeros((64, 64), np.uint8)  # type: ignore[method-assign]
    with pytest.raises(RunError, match="have 48 normal and 0 tumour patches of 16 px"):
        fit(recipe(balanced=True).plan(data(fields)), tmp_path)


def test_a_patch_is_cropped_turned_mirrored_and_coloured_by_its_generator_alone() -> None:
    plan = recipe().plan(data(Fields()))
    view = plan.phases[0].view  # type: ignore[attr-defined]
    patch = np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), np.uint8)
    seen = [view.augmented(patch, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert seen[0].shape == (3, 14, 14)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    plain = replace(view, low=1.0, high=1.0)
    ways = {plain.augmented(patch, np.random.default_rng(seed)).numpy().tobytes() for seed in range(600)}
    every = {
        np.ascontiguousarray(view.whole(np.rot90(cut, turns)[:, ::mirror]).numpy()).tobytes()
        for y in range(3)
        for x in range(3)
        for cut in [patch[y : y + 14, x : x + 14]]
        for turns in range(4)
        for mirror in (1, -1)
    }
    assert ways == every
    assert len(every) == 9 * 8


# -- maps ----------------------------------------------------------------------------------------------


def test_only_the_unet_learns_on_maps_and_dropout_and_statistics_of_the_extractor_rest(
    tmp_path: Path,
) -> None:
    plan = recipe().plan(data(Fields()))
    before = plan.model.extractor.state_dict()  # type: ignore[union-attr]
    before = {key: value.clone() for key, value in before.items()}
    maps = replace_phases(plan, plan.phases[1])
    first = plan.model.segmenter.head.weight.clone()  # type: ignore[union-attr]
    network, _ = fit(maps, tmp_path)
    for key, value in plan.model.extractor.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, before[key]), key
    assert not torch.equal(network.model.segmenter.head.weight, first)


def test_a_step_does_not_depend_on_its_parts_nor_on_what_has_no_label() -> None:
    torch.manual_seed(0)
    fields = Fields(7)
    labels = fields.labels
    fields.labels = lambda index: np.where(np.arange(64) < 16 * index, 255, labels(index)).astype(np.uint8)  # type: ignore[method-assign]
    gradients = []
    for micro in (None, 1):
        plan = recipe(map_batch=4).plan(data(fields))
        phase = plan.phases[1]
        turn = turn_of(plan, micro)
        phase.begin(plan.network, turn)
        turn.use(phase.optimisers(plan.network))
        batch = Batch.of([phase.example(TRAIN, index, np.random.default_rng(0)) for index in range(4)])
        assert [int((one != -100).sum()) for one in batch.targets["labels"]] == [16, 12, 8, 4]
        plan.network.eval()  # whose statistics would differ between parts
        phase.step(turn, {TRAIN: batch})
        gradients.append(turn.seen)
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("number", [1, 2], ids=["maps", "end to end"])
def test_a_step_without_labels_changes_nothing(number: int) -> None:
    fields = Fields(7)
    plan = recipe().plan(data(fields))
    phase, turn = plan.phases[number], Turn(Fabric(accelerator="cpu", devices=1), plan.network)
    phase.begin(plan.network, turn)
    turn.use(phase.optimisers(plan.network))
    phase.begin_epoch(plan.network, 0)

    def step(*indices: int) -> Mapping[str, float]:
        examples = [phase.example(TRAIN, index, np.random.default_rng(0)) for index in indices]
        return phase.step(turn, {TRAIN: Batch.of(examples)})

    assert step(0, 1)["loss"] > 0  # Adam has moments now, which would move the weights by themselves
    before = weights(plan.network)
    for one in phase._maps:  # type: ignore[attr-defined]
        one.labels.fill_(-100)
    assert step(0, 1) == {"loss": 0.0}
    assert torch.equal(weights(plan.network), before)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["patches", "maps", "end to end"])
def test_held_out_slides_that_are_answered_by_no_number_end_the_training(number: int) -> None:
    plan = recipe().plan(data(Fields(7)))
    phase, turn = plan.phases[number], Turn(Fabric(accelerator="cpu", devices=1), plan.network)
    with torch.no_grad():
        phase.begin(plan.network, turn)
        for weight in plan.network.parameters():
            weight.fill_(torch.nan)
        with pytest.raises(RunError, match="held-out data is nan or infinite"):
            phase.validate(plan.network.eval(), turn)


def test_too_few_maps_for_batch_normalisation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There are 1 maps of 4 x 4 patches"):
        fit(recipe(method="imagenet").plan(data(Fields(4))), tmp_path)


def test_every_lump_of_tissue_has_a_map_of_its_own() -> None:
    from napari_lumen.training.recipes.multistage_slides import SlideSet

    class Islands:
        items = Fields(1).items
        patch = 1

        def cells(self, index: int) -> np.ndarray:
            cells = np.full((6, 9), -200, np.int16)
            cells[0:2, 0:2], cells[2, 2], cells[5, 5:9] = 1, -100, 0
            return cells

    islands: SlideSet = Islands()  # type: ignore[assignment]
    lumps = slide_maps(islands, [0], "lumps")
    assert [one.labels.tolist() for one in lumps] == [[1, 1, 1, 1, -100], [0, 0, 0, 0]]
    (whole,) = slide_maps(islands, [0], "slide")
    assert len(whole.cells) == 9
    target = labels_on(lumps[0].laid_out(torch.ones(5, 1), 5), lumps[0].labels)
    assert target.tolist() == [
        [-100] * 5,
        [-100, 1, 1, -100, -100],
        [-100, 1, 1, -100, -100],
        [-100] * 5,
        [-100] * 5,
    ]
    with pytest.warns(UserWarning, match="2 of 4 patches lie beyond the map of 2 x 2"):
        assert lumps[1].within(2).cells.tolist() == [[5, 6], [5, 7]]


def test_a_ring_of_tissue_larger_than_its_map_leaves_no_empty_map() -> None:
    class Ring:
        items = Fields(1).items
        patch = 1

        def cells(self, index: int) -> np.ndarray:
            cells = np.zeros((5, 5), np.int16)
            cells[1:4, 1:4] = -200
            return cells

    ring: Any = Ring()
    with pytest.warns(UserWarning, match="16 of 16 patches lie beyond the map of 3 x 3"):
        assert training_maps(ring, [0], "lumps", 3) == []
    assert len(training_maps(ring, [0], "lumps", 5)) == 1


# -- both together -------------------------------------------------------------------------------------


class Watched(Turn):
    """A turn that keeps the gradients of a step instead of making it."""

    seen: dict[str, Tensor]

    def update(self, optimiser: str) -> None:
        self.seen = {
            name: item.grad.clone() for name, item in self.network.named_parameters() if item.grad is not None
        }
        self.network.zero_grad(set_to_none=True)


def turn_of(plan: Plan, micro_batch: int | None = None) -> Watched:
    return Watched(Fabric(accelerator="cpu", devices=1), plan.network, micro_batch=micro_batch)


def replace_phases(plan: Plan, *phases: Phase) -> Plan:
    return replace(plan, phases=phases)


def with_gaps(fields: Fields) -> Fields:
    """Take the labels from some patches."""
    labels = fields.labels

    def gaps(index: int) -> np.ndarray:
        known = labels(index).copy()
        known[20:40, 10:50] = 255
        return known

    fields.labels = gaps  # type: ignore[method-assign]
    return fields


def end_to_end_gradients(plan: Plan, indices: tuple[int, ...] = (0,)) -> tuple[dict[str, Tensor], list[Any]]:
    """Make the step of some maps, and return its gradients and the maps with the seeds of their patches."""
    phase, turn = plan.phases[-1], turn_of(plan)
    phase.begin(plan.network, turn)
    turn.use(phase.optimisers(plan.network))
    phase.begin_epoch(plan.network, 0)
    examples = [phase.example(TRAIN, index, np.random.default_rng(index)) for index in indices]
    phase.step(turn, {TRAIN: Batch.of(examples)})
    return turn.seen, [example.extra for example in examples]


def full_gradients(plan: Plan, extras: list[Any]) -> dict[str, Tensor]:
    """Return the gradients of one graph through everything: all patches at once, laid out by hand."""
    phase: Any = plan.phases[-1]
    model: Any = plan.model
    losses = []
    for extra in extras:
        one, seed = extra["map"], extra["seed"]
        patches = torch.stack(
            [
                phase.view.augmented(
                    phase.slides.read(one.slide, *cell), np.random.default_rng([seed, number])
                )
                for number, cell in enumerate(one.cells.tolist())
            ]
        )
        vectors = model.features(patches.to(next(model.parameters()).dtype))
        free = SIDE - int(one.cells.max()) - 1  # the box around the patches is in the middle of the map
        rows, columns = (one.cells + free // 2).unbind(1)
        feature_map = vectors.new_zeros(1, vectors.shape[1], SIDE, SIDE)
        feature_map[0, :, rows, columns] = vectors.T
        target = torch.full((1, SIDE, SIDE), -100)
        target[0, rows, columns] = one.labels
        losses.append(F.cross_entropy(model.segment(feature_map), target, ignore_index=-100))
    torch.stack(losses).mean().backward()
    found = {name: p.grad.clone() for name, p in plan.network.named_parameters() if p.grad is not None}
    plan.network.zero_grad(set_to_none=True)
    return found


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor], most: float) -> None:
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (got[name] - value).norm() <= most * value.norm(), name


@pytest.mark.parametrize(
    ("encoder", "dtype"),
    [("resnet18", torch.float32), ("googlenet", torch.float32), ("googlenet", torch.float64)],
    ids=["resnet18 float32", "googlenet float32", "googlenet float64"],
)
def test_gradients_end_to_end_are_those_of_one_graph(encoder: str, dtype: torch.dtype) -> None:
    wide = {"patch": 32, "crop": 28} if encoder == "googlenet" else {}
    fields = with_gaps(Fields(6))
    numbers: dict[str, Any] = {"encoder": encoder, "map_size": SIDE, **wide}
    plan = recipe(MultiStageRecipe, mini_batch=5, **numbers).plan(data(fields))
    plan.network.to(dtype)
    got, extras = end_to_end_gradients(plan)
    wanted = full_gradients(plan, extras)
    assert {name.split(".")[1] for name in wanted} == {"extractor", "segmenter"}  # f_n has none
    assert len(wanted) == len(dict(plan.model.named_parameters()))
    assert_same(got, wanted, 1e-5)


def test_gradients_of_several_maps_are_the_mean_and_do_not_depend_on_the_mini_batches() -> None:
    plan = recipe().plan(data(with_gaps(Fields(6))))
    plan.network.double()
    phase: Any = plan.phases[-1]
    found = []
    for size in (16, 7, 3, 1):
        phase.mini_batch = size
        got, extras = end_to_end_gradients(plan, (0, 2))
        found.append(got)
    assert_same(found[0], full_gradients(plan, extras), 1e-6)  # the loss itself is of float32
    for other in found[1:]:
        assert_same(other, found[0], 1e-6)


def test_what_patches_without_a_label_are_changes_no_gradient() -> None:
    found = []
    for value in (255, 1, 3):  # no label, and mixtures that are neither normal nor tumour
        fields = Fields(6)
        labels = fields.labels

        def mixed(index: int, value: int = value, labels: Callable[[int], np.ndarray] = labels) -> np.ndarray:
            known = labels(index).copy()
            known[:PATCH, :PATCH] = 255
            known[:3, :PATCH] = value  # below a fifth, and below four fifths
            return known

        fields.labels = mixed  # type: ignore[method-assign]
        plan = recipe().plan(data(fields))
        found.append(end_to_end_gradients(plan)[0])
    for other in found[1:]:
        assert_same(other, found[0], 0)


@pytest.mark.parametrize("size", [1, 2, 4])  # so memory falls with the number of parts
def test_a_step_holds_a_few_mini_batches_of_patches_and_the_graph_of_one(size: int) -> None:
    plan = recipe(mini_batch=size).plan(data(Fields(6)))
    phase: Any = plan.phases[-1]
    alive, most, sizes, graphs = [0], [0], [], []
    augmented = phase.view.augmented

    class Counting:
        def augmented(self, *arguments: Any) -> Tensor:
            patch = augmented(*arguments)
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            weakref.finalize(patch, lambda: alive.__setitem__(0, alive[0] - 1))
            return patch

    def watch(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        sizes.append(len(inputs[0]))
        graphs.append(sum(one() is not None for one in outputs))
        if output.requires_grad:
            outputs.append(weakref.ref(output))

    outputs: list[Any] = []
    phase.view = Counting()
    plan.model.extractor.register_forward_hook(watch)  # type: ignore[union-attr]
    end_to_end_gradients(plan)
    assert sizes == [size] * (32 // size)  # 16 patches, twice
    assert len(outputs) == 16 // size
    assert max(graphs) <= 1
    assert most[0] <= 4 * size  # two mini-batches ahead of the one in use


def test_end_to_end_keeps_all_statistics_and_leaves_f_n_alone(tmp_path: Path) -> None:
    plan = recipe().plan(data(Fields()))
    before = {key: value.clone() for key, value in plan.network.state_dict().items()}
    fit(replace_phases(plan, plan.phases[-1]), tmp_path)
    changed = {key for key, value in plan.network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"model.{name}" for name, _ in plan.model.named_parameters()}


# -- what is learned -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [(0, 1), (1, 1), (2, 1)], ids=["patches", "maps", "end to end"])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    place: tuple[int, int], tmp_path: Path, whole: Tensor
) -> None:
    plan = recipe(segmenter_rate=1e-2).plan(data(Fields()))
    phase, epoch = plan.phases[place[0]], place[1]
    step = phase.step

    def killed(turn: Turn, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        if (turn.epoch, turn.step) == (epoch, 1):
            raise KilledError
        return step(turn, batches)

    phase.step = killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        fit(plan, tmp_path, seconds=1e-9)
    again, _ = fit(recipe(segmenter_rate=1e-2).plan(data(Fields())), tmp_path)
    assert torch.equal(weights(again), whole)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """The weights of a training that nothing interrupted."""
    network, _ = fit(recipe(segmenter_rate=1e-2).plan(data(Fields())), tmp_path_factory.mktemp("whole"))
    return weights(network)


def test_scores_are_those_of_scikit_learn_pooled_over_slides_without_what_has_no_label() -> None:
    from sklearn.metrics import accuracy_score, average_precision_score, log_loss

    rng = np.random.default_rng(5)
    said = rng.uniform(size=60)
    labels = rng.choice([0, 1, -100], 60)
    said[:2], labels[:2] = 0.5, (0, 1)
    found = PatchScores()
    for part in np.array_split(np.arange(60), 3):
        found.add(torch.from_numpy(said[part]), torch.from_numpy(labels[part]))
    known = labels >= 0
    assert found.scores() == pytest.approx(
        {
            "loss": log_loss(labels[known], said[known]),
            "accuracy": accuracy_score(labels[known], said[known] >= 0.5),
            "average precision": average_precision_score(labels[known], said[known]),
        }
    )


def test_without_labelled_patches_no_score_is_told() -> None:
    found = PatchScores()
    assert all(np.isnan(value) for value in found.scores().values())
    found.add(torch.tensor([0.3]), torch.tensor([-100]))
    assert all(np.isnan(value) for value in found.scores().values())


# -- the model that comes out --------------------------------------------------------------------------


def card_of(plan: Plan) -> ModelCard:
    return ModelCard(
        name="trained",
        title="Trained",
        summary="Finds tumour.",
        training=TrainingRecord(data="fields", split="none"),
        scores={},
        licence="CC0",
        limits="A test.",
        weights_sha256="0" * 64,
        **plan.card,
    )


@pytest.mark.parametrize("method", ["classifier", "segmentation", "imagenet", "end_to_end"])
def test_every_method_learns_and_its_model_finds_tumour_on_a_slide(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fields, told = Fields(12, contrast=90), []
    epochs = {"imagenet": 24, "segmentation": 7}.get(method, 12)
    plan = recipe(method=method, map_epochs=epochs).plan(data(fields))
    fit(plan, tmp_path / "training", told)
    for phase in plan.phases:
        scores = [one.values for one in told if one.event == "validated" and one.phase == phase.name]
        assert set(scores[0]) == {"loss", "accuracy", "average precision"}
        assert min(one["loss"] for one in scores) < 0.5  # that of no knowledge is 0.69
        assert max(one["average precision"] for one in scores) > 0.9
        assert max(one["accuracy"] for one in scores) > 0.85

    model = Model(plan.model.eval(), card_of(plan), tmp_path)
    assert model.card.task == ("segmentation" if method == "segmentation" else "slide")
    assert [(item.value, item.name) for item in model.card.classes] == [(3, "tumour")]
    held_out = 11
    slide = ArraySlide(fields.image(held_out), mpp=(0.5, 0.5))
    run = predict(slide, model, Region(0, 0, *slide.shape), tmp_path / "run", device="cpu")
    record = next(one for one in run.record.rasters if one.name == "tumour")
    said = np.asarray(run.levels(record)[0])
    scale = int(record.step[0])
    truth = (fields.labels(held_out) == 3)[scale // 2 :: scale, scale // 2 :: scale]
    said = said[: len(truth), : truth.shape[1]]
    assert truth.mean() == 0.5
    assert ((said > 0.5) == truth).mean() > 0.85
    if method == "end_to_end":  # patch by patch what the training has validated
        last: Any = plan.phases[-1]
        (one,) = slide_maps(last.slides, [held_out], "slide")
        patches = [last.view.whole(last.slides.read(held_out, *cell)) for cell in one.cells.tolist()]
        network: Any = plan.model
        with torch.no_grad():
            laid_out, logits = network.classify(network.patch_features(torch.stack(patches)), one.cells)
        wanted = laid_out.gather(logits.softmax(dim=1))[:, 1].numpy().reshape(SIDE, SIDE)
        np.testing.assert_allclose(said, wanted, atol=0.6 / 255 + 1e-3)


@pytest.mark.parametrize("method", ["end_to_end", "segmentation"])
def test_the_card_of_the_recipe_builds_the_network_that_was_trained(method: str, tmp_path: Path) -> None:
    plan = recipe(MultiStageRecipe, method=method, mpp=0.25).plan(data(Fields()))
    model = load_model(save_model(tmp_path, plan.model, card_of(plan)))
    assert model.card.mpp == (0.5 if method == "segmentation" else 0.25)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model.network(pixels), plan.model.eval()(pixels))
