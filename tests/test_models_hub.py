"""Models on a hub, served by a local one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch

from hub_server import COMMIT, Hub, write_model
from napari_lumen import ModelError
from napari_lumen.models import available, install_model, load_model, read_card
from napari_lumen.models.hub import HubReference
from napari_lumen.models.library import user_models


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("published"))


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    server.files = {file.name: file.read_bytes() for file in published.iterdir()}
    server.files |= {"pytorch_model.bin": b"\x80\x04pickle", "README.md": b"# Glands"}
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield server
    server.close()


def refusal(name: str) -> str:
    """Return the one sentence with which a model is refused."""
    with pytest.raises(ModelError) as error:
        load_model(name)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("name", ["hub:lab/glands", "hub:lab/glands@v1", f"hub:lab/glands@{COMMIT}"])
def test_a_model_is_loaded_from_a_hub(hub: Hub, published: Path, tmp_path: Path, name: str) -> None:
    model = load_model(name)
    assert model.card == read_card(published)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.network(x), load_model(published).network(x))
    assert model.path.is_relative_to(tmp_path / "cache")
    assert not user_models().exists()


def test_only_card_and_weights_are_fetched_and_only_once(hub: Hub) -> None:
    folder = load_model("hub:lab/glands").path
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    fetched = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert fetched == {"card.json", "weights.safetensors"}
    hub.asked.clear()
    load_model("hub:lab/glands")
    assert not [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]


def test_without_a_connection_the_last_copy_serves(hub: Hub) -> None:
    first = load_model("hub:lab/glands")
    hub.close()
    assert load_model("hub:lab/glands").card == first.card
    assert "hub:lab/other cannot be fetched: " in refusal("hub:lab/other")
    assert "hub:lab/glands@v1 cannot be fetched: " in refusal("hub:lab/glands@v1")


def test_what_a_hub_has_not_is_said(hub: Hub) -> None:
    assert "There is no model lab/nuclei on the hub" in refusal("hub:lab/nuclei")
    assert "model lab/glands has no revision 'v9'" in refusal("hub:lab/glands@v9")
    hub.gated = True
    assert "who are logged in may see it" in refusal("hub:lab/secret")


@pytest.mark.parametrize("lost", ["card.json", "weights.safetensors"])
def test_a_repository_that_holds_no_model_of_ours_is_refused(hub: Hub, lost: str) -> None:
    del hub.files[lost]
    assert refusal("hub:lab/glands") == f"hub:lab/glands is no model of napari-lumen: it has no {lost}."


@pytest.mark.parametrize("name", ["hub:", "hub:glands", "hub:a/b/c", "hub:a/b@", "hub:../b c", "hub:a/b@c@d"])
def test_a_reference_that_is_none_is_refused_without_asking(hub: Hub, name: str) -> None:
    assert "write hub:ORG/NAME or hub:ORG/NAME@REVISION" in refusal(name)
    assert hub.asked == []


def test_a_reference_reads_as_it_is_written() -> None:
    assert HubReference.parse("hub:lab/x.y@refs/pr/1") == HubReference("lab/x.y", "refs/pr/1")
    for text in ("hub:lab/x.y", "hub:lab/x.y@refs/pr/1"):
        assert str(HubReference.parse(text)) == text


def test_without_the_extra_the_command_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert 'pip install "napari-lumen[hub]".' in refusal("hub:lab/glands")


def test_an_installed_model_of_a_hub_stays_without_it(hub: Hub, published: Path) -> None:
    path = install_model("hub:lab/glands", "mine")
    assert path == user_models() / "mine"
    assert not any(os.path.islink(file) for file in path.iterdir())  # noqa: PTH114  the cache may be emptied
    hub.close()
    assert "mine" in available()
    model = load_model("mine")
    assert model.card.name == "mine"
    assert model.card.weights_sha256 == read_card(published).weights_sha256


def test_a_model_that_was_damaged_on_a_hub_is_not_installed(hub: Hub) -> None:
    hub.files["weights.safetensors"] = b"damaged"
    with pytest.raises(ModelError, match="damaged or was replaced"):
        install_model("hub:lab/glands")
    assert not user_models().exists()


def test_any_error_of_the_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("a new kind of error\nwith a second line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert "cannot be fetched: a new kind of error. Check" in refusal("hub:lab/glands")


@pytest.mark.parametrize("read", [load_model, install_model])
def test_a_copy_that_was_damaged_in_the_cache_is_fetched_again(
    hub: Hub, read: Callable[[str], object]
) -> None:
    weights = load_model("hub:lab/glands").path / "weights.safetensors"
    whole = weights.read_bytes()
    weights.resolve().write_bytes(whole[:-10])
    hub.asked.clear()
    read("hub:lab/glands")
    assert weights.read_bytes() == whole
    assert len([line for line in hub.asked if line.startswith("GET") and "weights" in line]) == 1
    hub.files["weights.safetensors"] = b"damaged"
    weights.resolve().write_bytes(b"damaged")
    hub.asked.clear()
    assert "damaged or was replaced" in refusal("hub:lab/glands")
    assert (
        len([line for line in hub.asked if line.startswith("GET") and "weights" in line]) == 1
    )  # not for ever
