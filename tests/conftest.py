"""What every test may ask for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("lumen", deadline=None)  # a busy machine is no failure
settings.load_profile("lumen")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: a process that begins with one last leaves the other idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def plugins_are_found_as_napari_does() -> None:
    """Let napari look for plugins first, and once: a second time breaks it, as asking npe2 before does."""
    from napari.plugins import _initialize_plugins

    _initialize_plugins()


@pytest.fixture(scope="module", autouse=True)
def what_stays_is_not_garbage(plugins_are_found_as_napari_does: None) -> None:
    """Let the garbage collector pass over what is loaded by now: napari calls it for each layer that goes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def jobs_do_not_wait_for_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give the plugin's jobs the priority of the tests: below it they would wait for those beside them."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux" and request.module.__name__ != "test_plugin_priority":
            own = os.getpriority(os.PRIO_PROCESS, 0)
            patch.setattr("napari_lumen.plugin.priority._LOW_PRIORITY", own)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real public data that lies beside the repository during development; never copied into it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the development data is absent: {folder}")
    return folder


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests remember of slides out of the user's own data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """What napari notifies of while the test runs."""
    from napari.utils.notifications import notification_manager  # most tests do without napari

    notes: list[Any] = []
    notification_manager.notification_ready.connect(notes.append)
    yield notes
    notification_manager.notification_ready.disconnect(notes.append)
