"""Every block of the documentation is run by a test, or says why none does; those for one machine are run here."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import pages
import redisserver
import s3server
from films import clip
from pages import ROOT, Block, Reader
from pictures import scene
from s3server import S3Server
from servers import free_port
from standalone import Standalone, started

CHART = ROOT / "charts/media-operator"
#: What a page may name without bringing it along.
PICTURES = ["photo", "apple", "me", "left", "banner"]
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ACCOUNTS = ["ingest", "operator", "transcoder", "gateway"]
BLOCKS = [block for page in pages.PAGES for block in pages.blocks(page)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Standalone]:
    folder = tmp_path / "server"
    folder.mkdir()
    token = hashlib.sha256(b"a-token-for-tests-only").hexdigest()
    entry = {"sha256": token, "user": "42", "username": "Alice", "namespace": "default", "scopes": ["admin"]}
    (folder / "tokens.yaml").write_text(json.dumps([entry]))
    source = {"name": "crm", "secrets": [SECRET], "namespace": "default", "user": "42"}
    (folder / "sources.yaml").write_text(json.dumps([{**source, "paths": ["crm/**"]}]))
    sources = {"MEDIA_INGEST_SOURCES": str(folder / "sources.yaml")}
    with started(folder / "data", "--tokens", str(folder / "tokens.yaml"), token=None, **sources) as running:
        yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files that the pages send."""
    folder = tmp_path_factory.mktemp("samples")
    for number, name in enumerate(PICTURES):
        scene(900 + number, 600).save(folder / f"{name}.jpg")
    scene(600, 600).save(folder / "logo.png")
    clip(folder / "clip.mp4")
    shutil.copy(folder / "clip.mp4", folder / "film.mp4")
    tree = folder / "product_images/shoes/Größe 42"
    tree.mkdir(parents=True)
    for number, place in enumerate([tree.parents[1], tree.parents[0], tree]):
        scene(700 + number, 500).save(place / f"{'abc'[number]}.png")
    return folder


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as running:
        for bucket in ("media", "shop-media", "old-bucket"):
            running.create_bucket(bucket)
        # Accounts whose names the pages have for a key.
        for name in ACCOUNTS:
            running.create_account(name)
        for path in (samples / "product_images").rglob("*.png"):
            running.client().upload_file(str(path), "old-bucket", str(path.relative_to(samples)))
        yield running


@pytest.fixture(params=pages.pages("standalone"), ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def served(server: Standalone, samples: Path) -> dict[str, str]:
    """Return what the shell of somebody knows who has a server, and an asset in it."""
    asset = server.finished(server.upload(samples / "photo.jpg")["id"])
    return {
        "MEDIA": server.base_url,
        "MEDIA_URL": server.base_url,
        "TOKEN": server.token,
        "MEDIA_TOKEN": server.token,
        "AUTH": f"Authorization: Bearer {server.token}",
        "ID": asset["id"],
        "WAMID": "wamid.HBgL",
        "SECRET": SECRET,
    }


@pytest.fixture
def reader(page: Path, tmp_path: Path, samples: Path, s3: S3Server, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Return somebody with a server, a bucket and a Redis; a page that starts a server has no other."""
    folder = pages.checkout(tmp_path / "checkout")
    shutil.copytree(samples, folder, dirs_exist_ok=True)
    own = f"http://127.0.0.1:{free_port()}"
    starts_one = any(block.kind == "runs beside" for block in pages.blocks(page))
    variables = {"MEDIA_URL": own} if starts_one else dict(request.getfixturevalue("served"))
    variables |= {name: value for name, value in s3.environment("media").items() if name != "MEDIA_STORE_URL"}
    variables |= {f"{name.upper()}_KEY": name for name in ACCOUNTS}
    with redisserver.started(tmp_path) as redis:
        yield Reader(
            folder,
            variables | {"REDISCLI_AUTH": redis.root, "REDIS_PORT": str(redis.port)},
            {
                # What a page starts itself takes a free port instead of the one that it names.
                "media standalone\n": f"media standalone --port {own.rpartition(':')[2]}\n",
                "http://127.0.0.1:8080": own,
                "https://s3.example.org": s3.endpoint,
                "AWS_ACCESS_KEY_ID=…": f"AWS_ACCESS_KEY_ID={s3.access_key}",
                "AWS_SECRET_ACCESS_KEY=…": f"AWS_SECRET_ACCESS_KEY={s3.secret_key}",
            },
        )


@pytest.mark.timeout(400)
def test_page_can_be_followed(reader: Reader, page: Path) -> None:
    reader.follow(pages.here(page, "standalone"))


def test_every_block_has_a_language_and_somebody_who_runs_it() -> None:
    wrong = [str(block) for block in BLOCKS if block.language not in pages.RUN | pages.READ]
    assert not wrong, "these blocks have no language that we know"
    places = {block.place for block in BLOCKS}
    assert places == {"", "standalone", "cluster"}
    for block in BLOCKS:
        if block.kind == "run by":
            assert (ROOT / block.about).is_file(), f"{block}: there is no {block.about}"
        assert block.kind != "not run" or len(block.about.split()) > 2, f"{block}: why is it not run?"


def test_every_comment_that_looks_like_ours_is_understood() -> None:
    for page in pages.PAGES:
        for line in re.findall(r"<!-- *runs?\b.*|<!-- *not\b.*", page.read_text()):
            assert pages._TAG.match(line), f"{page}: {line}"


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in ("yaml", "json")], ids=str)
def test_data_can_be_read_and_values_are_of_the_chart(block: Block) -> None:
    documents = list(yaml.safe_load_all(block.text)) if block.language == "yaml" else [json.loads(block.text)]
    schema = json.loads((CHART / "values.schema.json").read_text())
    for document in documents:
        if isinstance(document, dict) and document.keys() <= schema["properties"].keys():
            Draft202012Validator(_partial(schema)).validate(document)


def _partial(schema: Any) -> Any:
    """Return a schema without what must be there: a page shows some values of many."""
    if isinstance(schema, dict):
        return {name: _partial(value) for name, value in schema.items() if name != "required"}
    return [_partial(each) for each in schema] if isinstance(schema, list) else schema


def test_blocks_are_found_with_their_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n<!-- not run: it needs an account -->\n\n```sh\none\n```\n\n```sh\ntwo\n```\n\n"
        "- in a list\n\n  ```console\n  $ three \\\n      four\n  said\n  ```\n"
    )
    one, two, three = pages.blocks(page)
    assert (one.place, one.about, one.line) == ("", "it needs an account", 5)
    assert (two.place, two.commands()) == ("standalone", [("two\n", None)])
    assert three.commands() == [("three \\\n    four", "said")]
    page.write_text("<!-- runs on: cluster -->\n\n# A page\n\n```sh\none\n```\n")
    assert pages.blocks(page)[0].place == "cluster"


def test_a_page_that_is_wrong_fails(tmp_path: Path) -> None:
    def block(text: str, language: str = "sh") -> Block:
        return Block(ROOT / "README.md", 1, language, text)

    right = [block("name=A\nexport name"), block('test "$name" = A'), block("$ echo 1 2 3s\n1 … 7s", "console")]
    Reader(pages.checkout(tmp_path / "right"), {}).follow([*right, block("if (name !== 'A') throw 1", "js")])
    for number, wrong in enumerate(
        [block("false\ntrue"), block("echo $missing"), block("$ echo 1\n2", "console"), block("throw 1", "js")]
    ):
        with pytest.raises(AssertionError, match=r"README\.md:1"):
            Reader(pages.checkout(tmp_path / str(number)), {}).follow([wrong])
