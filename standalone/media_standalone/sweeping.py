"""The sweep of standalone: that of the operator, in the same process."""

from collections.abc import Coroutine
from datetime import UTC, datetime

import structlog

from media_ingest.settings import Settings as IngestSettings
from media_operator import metrics
from media_operator.schedule import daily
from media_operator.sweep import sweep
from media_operator.sweepsettings import SweepSettings
from mediaasset.assets import Assets, AssetsError
from mediaasset.environment import load
from mediaasset.parts import Parts
from mediaasset.reasons import MediaError
from mediaasset.store import Store

_LOG = structlog.get_logger(__name__)


def sweeping(assets: Assets, store: Store, parts: Parts, ingest: IngestSettings) -> Coroutine[None, None, None]:
    """Return what sweeps until it is cancelled: at the start, or a machine that is off at night never would, and daily.

    Raises ValueError for settings that are wrong.
    """
    settings = load(SweepSettings)
    update: dict[str, object] = {"upload_lifetime_seconds": ingest.upload_lifetime_seconds}
    if "sweep_deletes" not in settings.model_fields_set:
        # Assets and objects are of one directory: neither can be another's, which is what a dry run is for.
        update["sweep_deletes"] = True
    return _sweeping(assets, store, parts, settings.model_copy(update=update))


async def _sweeping(assets: Assets, store: Store, parts: Parts, settings: SweepSettings) -> None:
    async def act() -> None:
        try:
            metrics.swept(await sweep(assets, store, parts, settings, lambda: datetime.now(UTC)))
        except (AssetsError, MediaError) as error:
            metrics.swept(None)
            _LOG.error("The sweep could not be done.", error=str(error))

    if settings.sweep_time:
        await act()
    await daily(settings, act)
