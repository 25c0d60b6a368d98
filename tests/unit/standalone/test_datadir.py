"""What is removed at a start, and what is not."""

from pathlib import Path

from making import make_asset
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.datadir import remove_orphans
from media_standalone.directory import Signer, open_store
from mediaasset import keys


async def test_only_uploads_that_nobody_was_answered_for_are_removed(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db")
    assets = SqliteAssets(database, lambda *_: None)
    store = open_store(tmp_path / "store", Signer(b"k" * 32, ""))
    await assets.create(make_asset(name="kept"))
    objects = {
        "uploads/shop/kept/x": "its asset refers to it",
        "uploads/shop/kept/y": "",
        "uploads/shop/orphan/x": "",
        "uploads/shop/retained/x": "it was to be retained",
        "uploads/.DS_Store": "none of ours",
        "media/shop/orphan/x": "no upload",
    }
    for key in objects:
        await store.create(key, b"x")
    await store.create(keys.tombstone("shop", "retained"), b"{}")
    assert await remove_orphans(assets, store) == 2
    left = {item.key async for item in store.list("") if not item.key.startswith("tombstones/")}
    assert left == {key for key, why in objects.items() if why}
    await database.close()
