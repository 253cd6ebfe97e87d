"""Tables of a training over its epochs, kept beside the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import nn

from crop_fakes import KilledError, fit
from napari_lumen.training import trainer
from training_fakes import LinePhase, small_network


class Told(LinePhase):
    """Tells a weight after each epoch, and at the end."""

    def tables(self, network: nn.Module) -> dict[str, pd.DataFrame]:
        weight = next(network.parameters())[:2, 0].detach().numpy().copy()
        return {"weights": pd.DataFrame({"row": [0, 1], "weight": weight})}

    def finish(self, network: nn.Module, folder: Path) -> None:
        (folder / "found.txt").write_text(str(next(network.parameters())[0, 0].item()))


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "weights.parquet")


def test_a_table_holds_the_rows_of_every_epoch_of_every_phase(tmp_path: Path) -> None:
    network = small_network()
    fit(tmp_path, network, (Told(name="first", choice=None), Told(name="second", choice=None)))
    found = table(tmp_path)
    assert list(found.columns) == ["phase", "epoch", "row", "weight"]
    assert found["epoch"].tolist() == [0, 0, 1, 1, 2, 2] * 2
    assert found["phase"].tolist() == ["first"] * 6 + ["second"] * 6
    assert found["weight"].iloc[-2] == next(network.parameters())[0, 0].item()
    assert found["weight"].nunique() == 12
    assert float((tmp_path / "found.txt").read_text()) == next(network.parameters())[0, 0].item()


@pytest.mark.parametrize("every_step", [True, False])
def test_a_kill_between_table_and_checkpoint_leaves_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_step: bool
) -> None:
    fit(tmp_path / "whole", small_network(), (Told(epochs=4),), every_step=every_step)
    killed = tmp_path / "killed"
    write = trainer.write_checkpoint

    def kill(path: Path, place: Any, state: Any) -> None:
        if (place.epoch, place.step) == (2, 0):
            raise KilledError
        write(path, place, state)

    def kill_at_once(epoch: int, step: int) -> None:
        raise KilledError

    monkeypatch.setattr(trainer, "write_checkpoint", kill)
    with pytest.raises(KilledError):
        fit(killed, small_network(), (Told(epochs=4),), every_step=every_step)
    assert table(killed)["epoch"].max() == 1  # ahead of the checkpoint, which stands within epoch 1
    monkeypatch.setattr(trainer, "write_checkpoint", write)
    if not every_step:  # a whole epoch is still to come: it begins without the rows that it will add
        with pytest.raises(KilledError):
            fit(killed, small_network(), (Told(epochs=4, before_step=kill_at_once),))
        assert table(killed)["epoch"].max() == 0
    fit(killed, small_network(), (Told(epochs=4),), every_step=every_step)
    pd.testing.assert_frame_equal(table(killed), table(tmp_path / "whole"))


@pytest.mark.parametrize("damage", ["shorter", "is damaged", "not there"])
@pytest.mark.parametrize("name", ["weights", "curves"])
def test_a_training_goes_on_without_a_table_that_was_lost(tmp_path: Path, name: str, damage: str) -> None:
    def kill(epoch: int, step: int) -> None:
        if epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path, small_network(), (Told(before_step=kill),))
    path = tmp_path / f"{name}.parquet"
    if damage == "shorter":
        pd.read_parquet(path).head(1).to_parquet(path)
    elif damage == "is damaged":
        path.write_bytes(b"half of it")
    else:
        path.unlink()
    said = "last rows" if damage == "shorter" else damage
    with pytest.warns(UserWarning, match=rf"{name}\.parquet .*{said}.*goes on from its checkpoint"):
        fit(tmp_path, small_network(), (Told(),))
    assert set(pd.read_parquet(path)["epoch"]) == {2}
