import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.cluster import images


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:trixie-slim", "docker.io/library/debian:trixie-slim"),
        ("media-operator/ingest:dev", "docker.io/media-operator/ingest:dev"),
        ("docker.io/media-operator/ingest", "docker.io/media-operator/ingest:latest"),
        ("localhost/media-operator/ingest:dev", "localhost/media-operator/ingest:dev"),
        ("registry:5000/ingest", "registry:5000/ingest:latest"),
        ("ghcr.io/media-operator/ingest@sha256:00", "ghcr.io/media-operator/ingest@sha256:00"),
    ],
)
def test_a_name_is_completed_as_a_node_does_it(short: str, full: str) -> None:
    assert images.normalize(short) == full


def test_an_archive_is_what_a_container_runtime_imports() -> None:
    archive = images.archive("example.test/pause:1", "amd64", b"program")
    with tarfile.open(fileobj=io.BytesIO(archive)) as image:
        contents = {member.name: _read(image, member) for member in image}
    (manifest,) = json.loads(contents["manifest.json"])
    assert manifest["RepoTags"] == ["example.test/pause:1"]
    config = json.loads(contents[manifest["Config"]])
    (layer,) = (contents[name] for name in manifest["Layers"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        program = files.getmember(Path(config["config"]["Entrypoint"][0]).name)
        assert (program.mode, _read(files, program)) == (0o755, b"program")


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()
