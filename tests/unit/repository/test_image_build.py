"""How the build of the images learns where packages come from; the builds themselves are what `make e2e` runs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BUILD = Path(__file__).parents[3] / "hack/images/build.py"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, in the hands of a user of whom this machine knows nothing."""
    for variable in ("PIP_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    spec = importlib.util.spec_from_file_location("images_build", BUILD)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_of_pip_are_read_and_the_section_of_its_command_wins(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "own/pip").mkdir(parents=True)
    (tmp_path / "own/pip/pip.conf").write_text(
        "[global]\nindex-url = https://one.example/simple\nfind-links =\n  /first\n  /second\nno-cache-dir = true\n"
        "[install]\nindex-url = https://100%.example/simple\n"
    )
    settings = build._pip_settings()
    assert settings["index-url"] == "https://100%.example/simple"
    assert settings["find-links"] == "/first /second"
    assert "no-cache-dir" not in settings


def test_environment_wins_over_files_and_pip_over_uv(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://file.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/simple")
    assert build._pip_settings()["index-url"] == "https://file.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    assert build._pip_settings()["index-url"] == "https://pip.example/simple"


def test_machine_that_is_set_up_for_uv_alone_is_understood(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/simple")
    monkeypatch.setenv("UV_FIND_LINKS", "/first,/second")
    settings = build._pip_settings()
    assert (settings["index-url"], settings["find-links"]) == ("https://uv.example/simple", "/first /second")
