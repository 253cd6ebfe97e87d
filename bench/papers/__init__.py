"""The papers' claims on the data at hand: ours and the baselines, trained alike."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.papers import darefinenet, focusnetpp, gated_attention, multistage, nas_scam
from bench.papers.experiment import SEEDS, Experiment, Result, Variant, read_results
from bench.papers.shared import LOOP_MARK, SHARED
from bench.papers.tables import page
from bench.report import Figure, Report
from napari_lumen.models import load_model
from napari_lumen.training import Training, TrainingConfig, train
from napari_lumen.training.recipes.nas_scam_search import GENOTYPE

_HERE = Path(__file__).parent
_RESULTS, _PAGE = _HERE / "results", _HERE.parent.parent / "docs" / "papers.md"
_MODULES = (focusnetpp, nas_scam, darefinenet, multistage, gated_attention)


def run(report: Report, only: Collection[str] = ()) -> None:
    """Train what is missing, one result after the other, and write the page after each.

    With `only`, of the experiments of these names.
    """
    if not SHARED.is_dir():
        report.remarks.append(f"The data are not there ({SHARED}), so nothing was measured.")
        return
    experiments = [experiment for module in _MODULES for experiment in module.experiments()]
    _write_page(experiments)
    wanted = [experiment for experiment in experiments if not only or experiment.name in only]
    for seed in SEEDS:  # first all variants once: a table of one seed says more than a row of three
        for experiment in wanted:
            done = read_results(_RESULTS / experiment.name, experiment)
            for variant in experiment.variants:
                if (variant.name, seed) not in done:
                    _measured(experiment, variant, seed).write(_RESULTS / experiment.name)
                    _write_page(experiments)
    for experiment in wanted:
        _add_figures(report, experiment)


def _measured(experiment: Experiment, variant: Variant, seed: int) -> Result:
    """Train one variant; a training that was interrupted goes on."""
    sys.stderr.write(f"{experiment.name}: {variant.name}, seed {seed}\n")
    recipe = {**variant.recipe, "seed": seed}
    numbers = hashlib.sha256(json.dumps(variant.numbers, sort_keys=True).encode()).hexdigest()[:8]
    kept = Path(tempfile.gettempdir()) / "napari-lumen-papers" / experiment.name
    folder = kept / f"{variant.name}-{seed}-{numbers}"
    seconds, sessions, begun = 0.0, 1, time.process_time()
    if variant.search is not None:
        search = _train(experiment, variant, {**variant.search, "seed": seed}, folder / "search")
        seconds, sessions = search.state.seconds, search.state.sessions
        recipe["genotype"] = str(search.folder / GENOTYPE)
    training = _train(experiment, variant, recipe, folder / "training")
    sessions = max(sessions, training.state.sessions)
    network = load_model(training.model).network
    ending = ", test"
    return Result(
        experiment=experiment.name,
        variant=variant.name,
        seed=seed,
        scores={
            name.removesuffix(ending): round(value, 5)
            for name, value in training.scores.items()
            if name.endswith(ending)
        },
        weights=sum(parameter.numel() for parameter in network.parameters()),
        seconds=round(seconds + training.state.seconds, 1),
        recipe={**variant.numbers, "seed": seed},
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {training.state.device}",
        date=datetime.now(UTC).date().isoformat(),
        versions=training.state.versions,
        core_seconds=round(time.process_time() - begun, 1) if sessions == 1 else None,
    )


def _train(experiment: Experiment, variant: Variant, recipe: dict[str, Any], folder: Path) -> Training:
    if experiment.encoder is not None:
        begun = dict.fromkeys(variant.encoders, str(experiment.encoder()))
        recipe = {**recipe, "arguments": {**recipe["arguments"], **begun}}
    split = {**experiment.split, "seed": recipe["seed"]} if experiment.resplit else experiment.split
    config = TrainingConfig.model_validate(
        {"name": "model", "recipe": recipe, "data": experiment.data, "split": split}
    )
    return train(config, folder, images=None if experiment.images is None else experiment.images())


def _write_page(experiments: list[Experiment]) -> None:
    found = []
    for experiment in experiments:
        note = _HERE / "notes" / f"{experiment.name}.md"
        results = read_results(_RESULTS / experiment.name, experiment)
        found.append((experiment, results, note.read_text() if note.exists() else ""))
    _, mark, loop = _PAGE.read_text().partition(LOOP_MARK) if _PAGE.exists() else ("", "", "")
    _PAGE.write_text(f"{page(found)}\n{mark}{loop}" if mark else page(found))


def _add_figures(report: Report, experiment: Experiment) -> None:
    results = read_results(_RESULTS / experiment.name, experiment)
    baseline, *others = (
        [results[variant.name, seed].scores[experiment.ratio] for seed in SEEDS]
        for variant in experiment.variants
    )
    for variant, values in zip(experiment.variants[1:], others, strict=True):
        report.figures.append(
            Figure(
                f"{experiment.title}: {variant.name}, {experiment.scores[experiment.ratio]}",
                sum(values) / len(values),
                sum(baseline) / len(baseline),
                experiment.variants[0].name,
                "",
            )
        )
