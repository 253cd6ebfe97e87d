"""ResNet and published weights: torchvision's names, checked files, and no code run."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_lumen import ModelError
from napari_lumen.models import build
from napari_lumen.models.pretrained import load_pretrained
from napari_lumen.models.resnet import ResNet


def published_resnet18(classes: int = 1000) -> dict[str, Tensor]:
    """Return a state dict of the layout of torchvision's resnet18, its names and shapes written out."""
    state: dict[str, Tensor] = {}

    def norm(name: str, width: int) -> None:
        for key in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{key}"] = torch.rand(width) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    state["conv1.weight"] = torch.rand(64, 3, 7, 7)
    norm("bn1", 64)
    inputs = 64
    for level, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            before = f"layer{level}.{block}"
            state[f"{before}.conv1.weight"] = torch.rand(width, inputs, 3, 3)
            norm(f"{before}.bn1", width)
            state[f"{before}.conv2.weight"] = torch.rand(width, width, 3, 3)
            norm(f"{before}.bn2", width)
            if block == 0 and level > 1:
                state[f"{before}.downsample.0.weight"] = torch.rand(width, inputs, 1, 1)
                norm(f"{before}.downsample.1", width)
            inputs = width
    state["fc.weight"] = torch.rand(classes, 512)
    state["fc.bias"] = torch.rand(classes)
    return state


@pytest.mark.parametrize(
    ("depth", "weights", "entries"),
    # weights of the papers, entries of torchvision's state dicts
    [
        (18, 11_689_512, 122),
        (34, 21_797_672, 218),
        (50, 25_557_032, 320),
        (101, 44_549_160, 626),
        (152, 60_192_808, 932),
    ],
)
def test_resnet_has_the_weights_and_names_of_the_published_ones(
    depth: int, weights: int, entries: int
) -> None:
    with torch.device("meta"):
        network = build("resnet", depth=depth, classes=1000)
    assert sum(p.numel() for p in network.parameters()) == weights
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize(
    ("output_stride", "sides"), [(32, (16, 8, 4, 2)), (16, (16, 8, 4, 4)), (8, (16, 8, 8, 8))]
)
def test_the_output_stride_keeps_the_last_levels_large(output_stride: int, sides: tuple[int, ...]) -> None:
    network = ResNet(18, output_stride=output_stride).eval()
    with torch.inference_mode():
        levels = network.levels(torch.rand(1, 3, 64, 64))
    assert tuple(level.shape[-1] for level in levels) == sides


def test_a_narrow_resnet_has_the_widths_that_it_is_asked_for() -> None:
    network = ResNet(18, width=16)
    assert network.widths == (16, 32, 64, 128)
    inside = sum(4 * 9 * width**2 for width in network.widths)  # of each level's four convolutions
    halved = sum(9 * width**2 // 2 for width in (32, 64, 128))  # the first of a level sees half as many
    shortcuts = sum(width**2 // 2 for width in (32, 64, 128))
    normalised = 2 * (16 + 4 * 16 + sum(5 * width for width in (32, 64, 128)))
    weights = 3 * 49 * 16 + inside - halved + shortcuts + normalised
    assert sum(p.numel() for p in network.parameters()) == weights


@pytest.mark.parametrize("name", ["darefinenet", "gated_attention"])
def test_both_encoders_of_a_network_are_narrow_together(name: str) -> None:
    with torch.device("meta"):
        network = build(name, encoder_width=8)
    found = [part.widths for part in network.modules() if isinstance(part, ResNet)]
    assert len(found) == 2
    assert {widths[0] // (1 if widths[0] == 8 else 4) for widths in found} == {8}


def test_only_resnet_18_has_a_width_in_multistage() -> None:
    with torch.device("meta"):
        network = build("multistage", encoder="resnet18", encoder_width=16)
    assert network.extractor.backbone.widths == (16, 32, 64, 128)
    with pytest.raises(ModelError, match="googlenet has one width, not 16"):
        build("multistage", encoder_width=16)


def test_an_impossible_resnet_is_refused() -> None:
    with pytest.raises(ModelError, match="depth must be one of 18, 34, 50, 101, 152, not 20"):
        build("resnet", depth=20)
    with pytest.raises(ModelError, match="output_stride must be 8, 16 or 32, not 4"):
        build("resnet", output_stride=4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_are_taken_whole(tmp_path: Path, suffix: str) -> None:
    state = published_resnet18()
    file = tmp_path / f"resnet18{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    network = ResNet(18, classes=1000, pretrained=file)
    assert network.pretrained is not None
    assert network.pretrained.loaded == 122
    assert network.pretrained.missing == network.pretrained.unexpected == network.pretrained.left_out == ()
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_an_encoder_takes_them_without_the_last_layer(tmp_path: Path) -> None:
    torch.save(published_resnet18(), tmp_path / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without = ResNet(18, pretrained=tmp_path / "w.pth").pretrained
        other = ResNet(18, classes=4, pretrained=tmp_path / "w.pth").pretrained
    assert without is not None
    assert other is not None
    assert without.left_out == other.left_out == ("fc.weight", "fc.bias")


def test_wrapped_and_parallel_state_dicts_are_unwrapped(tmp_path: Path) -> None:
    wrapped = {f"module.{key}": value for key, value in published_resnet18().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "w.pth")
    report = ResNet(18, pretrained=tmp_path / "w.pth").pretrained
    assert report is not None
    assert report.missing == ()


def test_missing_and_unexpected_keys_are_named(tmp_path: Path) -> None:
    state = published_resnet18()
    del state["layer3.1.conv2.weight"]
    state["head.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(
        UserWarning, match=r"1 are \(layer3\.1\.conv2\.weight\) missing.*1 are \(head\.weight\)"
    ):
        report = ResNet(18, pretrained=tmp_path / "w.pth").pretrained
    assert report is not None
    assert report.missing == ("layer3.1.conv2.weight",)
    assert report.unexpected == ("head.weight",)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="are not of this network"):
        ResNet(18, pretrained=tmp_path / "other.pth")
    torch.save(published_resnet18(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"do not fit: layer1\.0\.conv1\.weight is \(64, 64, 3, 3\) there"):
        ResNet(50, pretrained=tmp_path / "w.pth")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="hold more than tensors, which could run code"):
        ResNet(18, pretrained=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"^The weights .*broken") as error:
        ResNet(18, pretrained=file)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pth cannot be read \(No such file or directory\)"):
        ResNet(18, pretrained=tmp_path / "gone.pth")


def test_a_checksum_in_the_name_is_held(tmp_path: Path) -> None:
    torch.save(published_resnet18(), tmp_path / "w.pth")
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    good = (tmp_path / "w.pth").rename(tmp_path / f"resnet18-{digest[:8]}.pth")
    assert ResNet(18, pretrained=good).pretrained is not None
    bad = good.rename(tmp_path / "resnet18-0badc0de.pth")
    with pytest.raises(ModelError, match="damaged or were replaced: their SHA-256 begins"):
        ResNet(18, pretrained=bad)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = lambda *a: _Quiet(*a, directory=str(folder))  # noqa: E731
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_weights_come_by_url_and_are_kept(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "served" / "w.pth"
    torch.save(published_resnet18(), file)
    assert _taken(ResNet(18, pretrained=f"{server}/w.pth")) == 120
    file.unlink()
    assert _taken(ResNet(18, pretrained=f"{server}/w.pth")) == 120  # from the cache
    with pytest.raises(ModelError, match="cannot be fetched"):
        ResNet(18, pretrained=f"{server}/other.pth")


def _taken(network: nn.Module) -> int:
    assert isinstance(network, ResNet)
    assert network.pretrained is not None
    return network.pretrained.loaded


def test_a_broken_download_is_not_kept(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "served" / "w.pth"
    file.write_bytes(b"<html>please log in</html>")
    with pytest.raises(ModelError, match=rf"^The weights {server}/w\.pth cannot be read"):
        ResNet(18, pretrained=f"{server}/w.pth")
    torch.save(published_resnet18(), file)
    assert _taken(ResNet(18, pretrained=f"{server}/w.pth")) == 120


def test_a_download_is_silent(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save(published_resnet18(), tmp_path / "served" / "w.pth")
    ResNet(18, pretrained=f"{server}/w.pth")
    assert "".join(capfd.readouterr()) == ""


def test_a_date_in_a_name_is_no_checksum(tmp_path: Path) -> None:
    torch.save(published_resnet18(), tmp_path / "resnet18-20240115.pth")
    assert _taken(ResNet(18, pretrained=tmp_path / "resnet18-20240115.pth")) == 120


def test_a_state_dict_that_holds_itself_has_an_end(tmp_path: Path) -> None:
    state: dict[str, object] = {}
    state["state_dict"] = state
    torch.save(state, tmp_path / "cycle.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        ResNet(18, pretrained=tmp_path / "cycle.pth")


def test_no_damage_leaks_another_error(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.rand(64, 3, 7, 7)}, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    random = Random(0)
    network = ResNet(18)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[random.randrange(400)] = random.randrange(256)
        file.write_bytes(damaged)
        with suppress(ModelError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_pretrained(network, file)


def test_text_is_told_in_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("hello")
    with pytest.raises(ModelError, match="damaged, or no state dict of tensors"):
        ResNet(18, pretrained=tmp_path / "w.pth")


@pytest.mark.parametrize("lost", [("fc.weight", "fc.bias"), ("fc.bias",)])
def test_a_last_layer_that_the_file_has_not_is_missing(tmp_path: Path, lost: tuple[str, ...]) -> None:
    state = published_resnet18()
    for key in lost:
        del state[key]
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=rf"{len(lost)} are \({', '.join(lost)}\) missing"):
        report = ResNet(18, classes=1000, pretrained=tmp_path / "w.pth").pretrained
    assert report is not None
    assert (report.missing, report.left_out) == (lost, ())


@pytest.mark.parametrize(
    "query", ["", "?token=ab", "?token=a/b", "?token=a/b#part", "?a=resnet18-00000000.x"]
)
def test_the_checksum_in_a_name_is_found_before_a_query(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "served" / "w.safetensors"
    small = nn.Linear(2, 3)
    save_file(small.state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    whole = file.with_name(f"resnet18-a{digest[:8]}.safetensors")  # no such checksum
    named = file.rename(file.with_name(f"resnet18-{_with_a_letter(digest)}.safetensors"))
    whole.write_bytes(named.read_bytes())
    assert load_pretrained(small, f"{server}/{named.name}{query}").loaded == 2
    with pytest.raises(ModelError, match="their SHA-256 begins"):
        load_pretrained(small, f"{server}/{whole.name}{query}")


def _with_a_letter(digest: str) -> str:
    """Return enough digits of a checksum that they cannot be a date."""
    return next(digest[:n] for n in range(8, 65) if not digest[:n].isdigit())


def test_a_url_may_state_its_checksum(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "served" / "w.pth"
    torch.save(published_resnet18(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for right in (digest, digest[:8], digest.upper()):
        assert _taken(ResNet(18, pretrained=f"{server}/w.pth#sha256={right}")) == 120
    other = digest[:7] + ("1" if digest[7] == "0" else "0")
    for url in (f"{server}/w.pth", file.as_uri()):
        with pytest.raises(ModelError, match="damaged or were replaced"):
            ResNet(18, pretrained=f"{url}#sha256={other}")
        with pytest.raises(ModelError, match="a checksum that is none"):
            ResNet(18, pretrained=f"{url}#sha256=xyz")
    assert file.exists()
    network = build("gated_attention", local_depth=18, pretrained=f"{server}/w.pth#sha256={digest}")
    assert _taken(network.global_network) == 120  # type: ignore[arg-type]


def test_urls_of_files_are_read_as_browsers_write_them(tmp_path: Path, server: str) -> None:
    file = tmp_path / "my weights#1.pth"
    torch.save(published_resnet18(), file)
    uri = file.as_uri()
    assert "%20" in uri
    local = uri.replace("file://", "file://localhost")
    for url in (uri, local, uri.replace("file", "FILE", 1), uri.replace("file://", "file:")):
        assert _taken(ResNet(18, pretrained=url)) == 120
    with pytest.raises(ModelError, match="lie on another computer, nas"):
        ResNet(18, pretrained=uri.replace("file://", "file://nas"))


def test_the_scheme_may_be_written_large(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save(published_resnet18(), tmp_path / "served" / "w.pth")
    assert _taken(ResNet(18, pretrained=f"{server}/w.pth".replace("http", "HTTP"))) == 120


@pytest.mark.parametrize("source", ["~nouserx/w.pth", "a\0b.pth", "http://[x/w.pth", "a" * 300])
def test_what_is_no_place_is_one_sentence(source: str) -> None:
    with pytest.raises(ModelError) as error:
        ResNet(18, pretrained=source)
    assert "\n" not in str(error.value)


class _System:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch ran",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_that_calls_is_refused_as_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"a": _System()}, protocol=protocol))
    with pytest.raises(ModelError, match="hold more than tensors, which could run code"):
        ResNet(18, pretrained=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_of_tensors_is_not_called_code(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(published_resnet18(), protocol=4))
    with pytest.raises(ModelError, match="damaged, or no state dict of tensors"):
        ResNet(18, pretrained=tmp_path / "w.pth")
