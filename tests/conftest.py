"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from dps.models import PretrainedEncoder
    from dps.training.data import TaskData

settings.register_profile("busy", deadline=None)  # how long an example takes depends on what else runs
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tokens are kept where the tests end, not in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny pre-trained encoder."""
    from tests.tiny import model_folder

    return model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_cola(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 training and 24 dev examples of cola."""
    from dps.tasks import registry
    from tests.tiny import data_folder

    return data_folder(tmp_path_factory.mktemp("data"), registry.get_task("cola"))


@pytest.fixture(scope="session")
def tiny_base(tiny_model: Path) -> PretrainedEncoder:
    """The tiny encoder with a head for cola."""
    from dps.models import PretrainedEncoder, locate_model
    from dps.tasks import registry

    base = PretrainedEncoder(locate_model(str(tiny_model)), registry.get_task("cola"))
    gc.collect()
    gc.freeze()  # as in a slot: what stays is not looked through before every run
    return base


@pytest.fixture(scope="session")
def tiny_data(tiny_base: PretrainedEncoder, tiny_cola: Path) -> TaskData:
    """The tiny examples, tokenised."""
    from dps import sources
    from dps.tasks import registry
    from dps.training.data import TaskData

    return TaskData(
        registry.get_task("cola"), sources.open_data_source(str(tiny_cola)), tiny_base.tokenizer, 32
    )
