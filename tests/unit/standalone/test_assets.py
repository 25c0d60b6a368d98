"""What SqliteAssets does beyond its port: generations, wakes, the file and its version, profiles of one's own."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from media_standalone.assets import SqliteAssets, load_profiles
from media_standalone.database import SCHEMA_VERSION, Database, SchemaError
from mediaasset.assets import AssetsError
from mediaasset.catalogue import Query
from mediaasset.media import Kind
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source
from mediaasset.status import Status


def new(name: str = "one") -> MediaAsset:
    return MediaAsset(
        metadata=Metadata(namespace="default", name=name),
        spec=MediaAssetSpec(source=Source(object=ObjectSource(key=f"uploads/default/{name}/00"))),
    )


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[SqliteAssets, list[str]]]:
    database = await Database.open(path)
    woken: list[str] = []
    try:
        yield SqliteAssets(database, lambda namespace, name: woken.append(f"{namespace}/{name}")), woken
    finally:
        await database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "standalone.db"


async def test_new_spec_is_a_new_generation_and_the_same_one_is_not(path: Path) -> None:
    async with opened(path) as (assets, _):
        created = await assets.create(new())
        assert await assets.change("default", "one", created.spec.to_dict()) == created
        changed = await assets.change("default", "one", {"altText": "A cat"})
        assert (changed.metadata.generation, changed.spec.alt_text) == (2, "A cat")


async def test_every_change_wakes_and_what_changes_nothing_does_not(path: Path) -> None:
    async with opened(path) as (assets, woken):
        created = await assets.create(new())
        written = await assets.write_status(created, Status(attempt=1))
        await assets.write_status(written, Status(attempt=1))
        await assets.annotate("default", "one", {"a": "b"})
        await assets.annotate("default", "one", {"a": "b"})
        await assets.delete("default", "one")
        await assets.delete("default", "one")
        assert woken == ["default/one"] * 4
        await assets.release(created)
        assert woken == ["default/one"] * 5


async def test_assets_are_there_after_a_new_start(path: Path) -> None:
    async with opened(path) as (assets, _):
        created = await assets.create(new())
    async with opened(path) as (assets, _):
        assert await assets.get("default", "one") == created
        assert await assets.everything() == await assets.unfinished() == (("default", "one"),)
        later = await assets.create(new("two"))
        assert int(later.metadata.resource_version) > int(created.metadata.resource_version)


async def test_file_is_written_ahead_and_synced(path: Path) -> None:
    database = await Database.open(path)
    values = [(await database.rows(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    await database.close()
    assert values == ["wal", 2, 1]


async def test_newer_file_is_refused_and_left_alone(path: Path) -> None:
    async with opened(path) as (assets, _):
        await assets.create(new())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(SchemaError, match="newer version"):
        await Database.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM assets").fetchone() == (1,)


#: As version 1 made it; the tables of Jobs are the same since.
VERSION_1 = """
CREATE TABLE assets (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
  user_id TEXT, source_key TEXT, deleted INTEGER NOT NULL, finished INTEGER NOT NULL, body TEXT NOT NULL,
  UNIQUE (namespace, name)
);
CREATE INDEX assets_listed ON assets (namespace, deleted, sequence);
CREATE INDEX assets_of_user ON assets (namespace, user_id, deleted, sequence);
CREATE TABLE counter (value INTEGER NOT NULL);
INSERT INTO counter VALUES (7);
PRAGMA user_version=1;
"""


async def test_file_of_version_1_keeps_its_assets_and_can_be_asked(path: Path) -> None:
    old = MediaAsset.model_validate(
        {
            "metadata": {
                "namespace": "default",
                "name": "old",
                "uid": "u",
                "creationTimestamp": "2025-01-01T00:00:00Z",
            },
            "spec": {
                "source": {"object": {"key": "uploads/default/old/0", "sizeBytes": 5}},
                "type": "Image",
                "userID": "42",
                "originalFileName": "Cat.jpg",
            },
        }
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute(
            "INSERT INTO assets VALUES (NULL, 'default', 'old', 'u', '42', 'uploads/default/old/0', 0, 0, ?)",
            (old.model_dump_json(by_alias=True, exclude_none=True),),
        )
        connection.commit()
    for _ in range(2):
        async with opened(path) as (assets, _):
            assert await assets.get("default", "old") == old
            page = await assets.list("default", Query(user_id="42", type=Kind.IMAGE, search="cat"), limit=9)
            assert page.items == (old,)
            assert (await assets.stats("default")).size_bytes == 5
            assert await assets.unfinished() == (("default", "old"),)
    with closing(sqlite3.connect(path)) as migrated, closing(sqlite3.connect(path.with_name("new.db"))) as fresh:
        async with opened(path.with_name("new.db")):
            columns = "SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('assets')"
            assert migrated.execute(columns).fetchall() == fresh.execute(columns).fetchall()


async def test_file_that_cannot_be_brought_forward_stays_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("INSERT INTO assets VALUES (NULL, 'default', 'x', 'u', NULL, NULL, 0, 0, '{}')")
        connection.commit()
    with pytest.raises(SchemaError, match="default/x"):
        await Database.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert len(connection.execute("SELECT * FROM pragma_table_info('assets')").fetchall()) == 9


async def test_foreign_file_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(SchemaError, match="not one of standalone"):
        await Database.open(path)


async def test_full_disk_is_an_error_of_the_port_and_nothing_is_half_written(path: Path) -> None:
    database = await Database.open(path)
    assets = SqliteAssets(database, lambda *_: None)
    pages = (await database.rows("PRAGMA page_count"))[0][0]
    # SQLite says "database or disk is full" for its own limit, too.
    await database.rows(f"PRAGMA max_page_count={pages + 1}")
    created: list[MediaAsset] = []

    async def fill() -> None:
        while len(created) < 1000:
            created.append(await assets.create(new(f"n{len(created)}")))

    with pytest.raises(AssetsError, match="full"):
        await fill()
    assert (await assets.list("default", limit=1)).total == len(created)
    await database.close()


async def test_cancelled_callers_leave_no_transaction_open(path: Path) -> None:
    async with opened(path) as (assets, _):
        for turns in range(40):
            creating = asyncio.create_task(assets.create(new(f"n{turns}")))
            for _ in range(turns):
                await asyncio.sleep(0)
            creating.cancel()
            await asyncio.wait([creating])
        names = {item.metadata.name for item in (await assets.list("default", limit=100)).items}
        await assets.create(new("after"))
        assert "after" not in names
        assert (await assets.list("default", limit=100)).total == len(names) + 1


def test_own_profiles_win(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(
        "metadata: {name: shop, annotations: {media-operator.io/is-default-profile: 'true'}}\n"
        "spec: {renditions: [{name: tiny, for: Image, format: JPEG, width: 10, height: 10}]}\n"
    )
    profiles = load_profiles(tmp_path)
    assert {"web", "original", "shop"} <= set(profiles)
    assert profiles[""].metadata.name == "shop"
    assert load_profiles()[""].metadata.name == "web"


@pytest.mark.parametrize("text", ["spec: {renditions: 7}", "{unclosed", "metadata: {name: x}\nspec: {colour: blue}"])
def test_broken_profile_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        load_profiles(tmp_path)
