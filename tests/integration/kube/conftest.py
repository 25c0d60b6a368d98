"""One API server with controllers and one store, and an operator of its own for each test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import scene as scenes
from scene import Scene, Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with scenes.servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def scene(servers: Servers, tmp_path: Path) -> Iterator[Scene]:
    with scenes.scene(servers, tmp_path, secrets.token_hex(4)) as made:
        yield made
