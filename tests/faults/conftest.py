"""One API server and one store for all; each test has an operator, proxies and a prefix of its own."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

import scene as scenes
from golden import Golden
from scene import Scene, Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with scenes.servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def golden(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Take a scene in which nothing happens through all steps."""
    with scenes.scene(servers, tmp_path_factory.mktemp("golden"), "golden") as quiet:
        quiet.operator.start()
        return Golden(quiet)


@pytest.fixture
def scene(servers: Servers, tmp_path: Path) -> Iterator[Scene]:
    with scenes.scene(servers, tmp_path, secrets.token_hex(4)) as made:
        yield made
