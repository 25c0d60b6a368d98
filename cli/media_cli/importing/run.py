"""The import itself: several files at once, each looked at, sent with an idempotency key, and noted in the state."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from media_cli.client import Client, ServerError
from media_cli.importing import paths
from media_cli.importing.sources import Item, Source
from media_cli.importing.state import State
from mediaasset.media import SNIFF_BYTES, sniff

#: How often a file is sent before its failure counts, and the longest pause between two of them in seconds.
TRIES = 6
LONGEST_PAUSE = 30


class Outcome(StrEnum):
    """What became of a file."""

    UPLOADED = "uploaded"
    #: The server has it from an earlier run.
    ALREADY = "already"
    #: It would be uploaded, were this no dry run.
    PLANNED = "planned"
    SKIPPED = "skipped"
    FAILED = "failed"
    #: The import ended before its turn.
    LEFT = "left"


@dataclass(slots=True)
class Record:
    """One file: the public path that it has got, and the id of its asset; `reason` why it was skipped or failed."""

    file: str
    size: int
    outcome: Outcome
    path: str | None = None
    asset: str | None = None
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Import:
    """One import. `fields` hold for every file; `client` is None in a dry run; `sent` is told of each file's bytes."""

    source: Source
    base: str
    fields: Mapping[str, str]
    client: Client | None
    state: State
    jobs: int
    sent: Callable[[Record], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)
    #: What ended the import early.
    broken: ServerError | None = None

    def run(self, items: Iterable[Item]) -> list[Record]:
        """Import the files, `jobs` at a time; return a record of each, in their order.

        One that fails does not stop the others, unless all of them would fail: without a server, or with a token that
        it does not know. After `stop` is set, files that are being sent are finished, and the others left.
        """
        records: list[Record | None] = []
        running: dict[Future[Record], int] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            for number, item in enumerate(items):
                records.append(None)
                running[pool.submit(self._one, item)] = number
                # What waits to be sent is bounded too, for a source may hold millions of files.
                if len(running) > 2 * self.jobs:
                    self._collect(running, records)
            while running:
                self._collect(running, records)
        return [record for record in records if record]

    def _collect(self, running: dict[Future[Record], int], records: list[Record | None]) -> None:
        done: set[Future[Record]] = set()
        while not done:
            # With a time, so that a signal is handled while it waits.
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            records[running.pop(future)] = record = future.result()
            self.sent(record)

    def _one(self, item: Item) -> Record:
        record = Record(str(item.path), item.size, Outcome.LEFT)
        if self.stop.is_set():
            return record
        try:
            if reason := self._unfit(item):
                record.outcome, record.reason = Outcome.SKIPPED, reason
                return record
            record.path = paths.public_path(self.base, item.path.parent)
            if asset := self.state.asset(record.file, item.stamp):
                record.asset, record.outcome = asset, Outcome.ALREADY
            elif self.client is None:
                record.outcome = Outcome.PLANNED
            else:
                self._send(self.client, item, record, record.path)
        except ServerError as error:
            self._judge(error, record)
        except (OSError, ValueError) as error:
            record.outcome, record.reason = Outcome.FAILED, str(error)
        return record

    def _unfit(self, item: Item) -> str | None:
        """Return why a file is not to be sent, None when it is media."""
        if any(part.startswith(".") for part in item.path.parts):
            return "hidden"
        if not item.size:
            return "empty"
        head = self.source.head(item, SNIFF_BYTES)
        is_text = item.path.suffix.lower() == ".txt"
        return None if sniff(head, declared_text=is_text) else "no media that is supported"

    def _send(self, client: Client, item: Item, record: Record, path: str) -> None:
        fields = {
            **self.fields,
            "path": path,
            "collection": path,
            **paths.origin(self.base, item.path),
        }
        with self.source.open(item) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            key = paths.key(path, item.path.name, sha256)
            for number in range(TRIES):
                file.seek(0)
                try:
                    asset, was_there = client.upload_once(item.path.name, file, fields, key)
                    break
                except ServerError as error:
                    if not error.transient or number + 1 == TRIES:
                        raise
                    pause = error.pause if error.pause is not None else 2.0**number / 2
                    if self.stop.wait(min(pause, LONGEST_PAUSE)):
                        return
        record.asset = str(asset["id"])
        self.state.add(record.file, item.stamp, record.asset)
        record.outcome = Outcome.ALREADY if was_there else Outcome.UPLOADED

    def _judge(self, error: ServerError, record: Record) -> None:
        record.outcome, record.reason = Outcome.FAILED, str(error)
        if error.status == HTTPStatus.GONE:
            record.outcome, record.reason = Outcome.SKIPPED, "it was imported before, and deleted since"
        elif error.status in (None, HTTPStatus.UNAUTHORIZED):
            self.broken = error
            self.stop.set()


def counts(records: Iterable[Record]) -> dict[str, int]:
    """Return how many files had each outcome."""
    found: dict[str, Any] = dict.fromkeys(Outcome, 0)
    for record in records:
        found[record.outcome] += 1
    return {str(outcome): number for outcome, number in found.items()}
