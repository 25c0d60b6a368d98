"""The sweep: finds what nobody needs any more in the store, and among the assets, and deletes it if it may.

It keeps no state: whatever it was doing when it died is found again by the next one. What may go is decided in
sweeprules.py. The objects are listed first and the assets read afterwards, so that an asset which is made meanwhile can
only be one whose objects were not listed; nothing is deleted before both lists are complete.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from media_operator.sweepreport import Kind, Report, Row
from media_operator.sweeprules import (
    PREFIXES,
    Finding,
    Inventory,
    is_overdue,
    prefix_of,
    refusal,
    rows_of,
    unit_of,
    units_named_by,
)
from media_operator.sweepsettings import SweepSettings
from mediaasset import keys, pointers
from mediaasset.assets import Assets, AssetsError, Event, Key, NotFoundError
from mediaasset.parts import Parts, Unfinished
from mediaasset.reasons import TABLE, MediaError, Reason
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.store import Store

#: How many objects are deleted between two looks at the rate.
_BATCH = 100

_LOG = structlog.get_logger(__name__)


async def sweep(
    assets: Assets,
    store: Store,
    parts: Parts,
    settings: SweepSettings,
    now: Callable[[], datetime],
    *,
    deletes: bool | None = None,
) -> Report:
    """Sweep once, and say so in the log; deletes stands for the setting of that name.

    Raises AssetsError and MediaError when a list cannot be read: nothing is deleted then. What goes wrong later is in
    the report.
    """
    return await _Sweep(assets, store, parts, settings, now()).run(
        deletes=settings.sweep_deletes if deletes is None else deletes
    )


class _Sweep:
    def __init__(self, assets: Assets, store: Store, parts: Parts, settings: SweepSettings, now: datetime) -> None:
        self._assets, self._store, self._parts = assets, store, parts
        self._settings, self._now = settings, now
        self._before = now - timedelta(seconds=settings.sweep_age_seconds)
        self._due = 0.0

    async def run(self, *, deletes: bool) -> Report:
        began = time.monotonic()
        unfinished, notes = await self._unfinished()
        inventory = Inventory(self._settings, self._now)
        for prefix in PREFIXES:
            async for item in self._store.list(f"{prefix}/"):
                inventory.object(item)
        async for asset in self._assets.all():
            inventory.asset(asset)
        for key in inventory.unknown():
            inventory.pointer(key, await self._owner(key))
        findings = list(inventory.findings())
        rows = rows_of(findings, inventory.totals)
        if old := self._given_up(unfinished):
            rows.append(Row("multipart", Kind.UNFINISHED, len(old), len(unfinished), 0))
        known = inventory.totals["assets"]
        report = Report(
            deletes=deletes,
            assets=known,
            objects=sum(inventory.totals.values()) - known,
            rows=tuple(rows),
            refused=refusal(rows, known, self._settings.sweep_max_percent),
            notes=notes,
        )
        if deletes and not report.refused:
            report = await self._delete(report, findings, old)
        report = replace(report, seconds=round(time.monotonic() - began, 3))
        _tell(report)
        return report

    async def _owner(self, key: str) -> Key | None:
        try:
            return pointers.owner_of(await self._store.read(key, max_bytes=pointers.MAX_BYTES) or b"")
        except ValueError:
            return None

    async def _unfinished(self) -> tuple[list[Unfinished], tuple[str, ...]]:
        try:
            return [each async for each in self._parts.unfinished()], ()
        except MediaError as error:
            if error.reason is not Reason.STORE_FORBIDDEN:
                raise
            # The rest of the sweep does not need them.
            return [], ("The store does not let us list multipart uploads: they are not looked at.",)

    def _given_up(self, unfinished: Sequence[Unfinished]) -> list[Unfinished]:
        seconds = max(self._settings.sweep_age_seconds, self._settings.upload_lifetime_seconds)
        before = self._now - timedelta(seconds=seconds)
        return [each for each in unfinished if each.since <= before and self._is_ours(each.key)]

    def _is_ours(self, key: str) -> bool:
        """Tell whether an unfinished object is one of ours; standalone's directory of them holds no others."""
        top, namespace, *_ = [*key.split("/"), ""]
        return not key or (top in PREFIXES and (top != keys.UPLOADS or self._settings.may_judge(namespace)))

    async def _delete(self, report: Report, findings: list[Finding], unfinished: list[Unfinished]) -> Report:
        deleted: dict[tuple[str, Kind], int] = {}
        failure = None
        try:
            for each in unfinished:
                await self._parts.abort(each.key, each.handle)
                _add(deleted, "multipart", Kind.UNFINISHED, 1)
                await self._pause(1)
            for finding in findings:
                async for count in self._finding(finding):
                    _add(deleted, prefix_of(finding), finding.kind, count)
                    await self._pause(count)
        except (AssetsError, MediaError) as error:
            failure = f"it broke off: {error}"
        rows = tuple(replace(row, deleted=deleted.get((row.prefix, row.kind), 0)) for row in report.rows)
        return replace(report, rows=rows, failure=failure)

    async def _finding(self, finding: Finding) -> AsyncIterator[int]:
        """Delete a finding, and yield how much went each time; nothing if it is wanted after all."""
        asset = await self._asset(finding)
        if not self._is_still(finding, asset):
            return
        if finding.kind is Kind.FAILED:
            assert asset is not None  # noqa: S101 - what is gone is no finding any more
            with suppress(NotFoundError):
                await self._assets.delete(*asset.key, uid=asset.metadata.uid)
                await self._assets.emit(asset, Event(Reason.EXPIRED, TABLE[Reason.EXPIRED].text))
                yield 1
            return
        if pointers.is_pointer(finding.unit) and await self._owner(finding.unit) != finding.asset:
            # Another asset has taken the name over.
            return
        for batch in _batches(await self._keys(finding.unit)):
            await self._store.delete(batch)
            yield len(batch)

    async def _asset(self, finding: Finding) -> MediaAsset | None:
        if finding.asset is None:
            return None
        try:
            return await self._assets.get(*finding.asset)
        except NotFoundError:
            return None

    def _is_still(self, finding: Finding, asset: MediaAsset | None) -> bool:
        """Tell whether a finding is one for the asset as it is now."""
        if finding.kind in (Kind.ORPHAN, Kind.EXPIRED):
            return asset is None
        # Another one may have the name by now; what a gone one left is the next sweep's.
        if asset is None or asset.metadata.uid not in finding.unit:
            return False
        if finding.kind is Kind.FAILED:
            return is_overdue(asset, self._now, self._settings)
        is_public = asset.spec.visibility is Visibility.PUBLIC and keys.lies_under(finding.unit, f"{keys.PUBLIC}/")
        return asset.is_final and not is_public and finding.unit not in units_named_by(asset)

    async def _keys(self, unit: str) -> list[str]:
        """Return the keys of a unit: of a prefix what lies there now, without what is young, or none of ours."""
        if not unit.endswith("/"):
            return [unit]
        return [
            item.key
            async for item in self._store.list(unit)
            if item.modified <= self._before and unit_of(item.key) == unit
        ]

    async def _pause(self, count: int) -> None:
        """Wait until as many deletions as there were may have been made at the rate that is set."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + count / self._settings.sweep_deletes_per_second
        await asyncio.sleep(self._due - now)


def _add(deleted: dict[tuple[str, Kind], int], prefix: str, kind: Kind, count: int) -> None:
    deleted[prefix, kind] = deleted.get((prefix, kind), 0) + count


def _batches(items: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(items), _BATCH):
        yield items[begin : begin + _BATCH]


def _tell(report: Report) -> None:
    log = _LOG.warning if report.refused or report.failure else _LOG.info
    rows = {
        f"{row.prefix}/{row.kind}": {"found": row.found, "bytes": row.size_bytes, "deleted": row.deleted}
        for row in report.rows
    }
    log(
        "sweep",
        result=report.result,
        summary=report.summary(),
        objects=report.objects,
        assets=report.assets,
        rows=rows,
        notes=report.notes,
        seconds=report.seconds,
    )
