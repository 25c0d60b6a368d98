"""What a sweep found and did: for people, for the log, and from the process that swept to the one that counts."""

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """Why something is to go."""

    FAILED = "failed"
    """An asset that failed long ago."""
    ORPHAN = "orphan"
    """Objects of which there is no asset."""
    UNREFERENCED = "unreferenced"
    """Objects of an asset whose status does not name them."""
    ATTEMPT = "old-attempt"
    """What an earlier attempt of a finished asset left under work/."""
    UNFINISHED = "unfinished"
    """An upload in parts that nobody goes on with."""
    EXPIRED = "expired"
    """A tombstone that no repetition can need any more."""


#: These follow from what the list of assets says or leaves out: were it the wrong list, they would be wrong.
GUARDED = frozenset({Kind.FAILED, Kind.ORPHAN, Kind.UNREFERENCED})


@dataclass(frozen=True, slots=True)
class Row:
    """What is to go of one prefix for one reason; `assets` and `multipart` stand for a prefix where there is none.

    found and deleted count objects, assets or uploads, of counts all that there are of them.
    """

    prefix: str
    kind: Kind
    found: int
    of: int
    size_bytes: int
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One sweep. refused says why nothing may be deleted, failure why not all was, notes what was not looked at."""

    deletes: bool
    assets: int = 0
    objects: int = 0
    rows: tuple[Row, ...] = ()
    refused: str | None = None
    failure: str | None = None
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    @property
    def found(self) -> int:
        """Return how much is to go."""
        return sum(row.found for row in self.rows)

    @property
    def deleted(self) -> int:
        """Return how much went."""
        return sum(row.deleted for row in self.rows)

    @property
    def result(self) -> str:
        """Return in a word what it was: refused, failed, deleted, or counted."""
        if self.refused:
            return "refused"
        return "failed" if self.failure else "deleted" if self.deletes else "counted"

    def to_json(self) -> str:
        """Return one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote. Raises ValueError, TypeError and KeyError for anything else."""
        body = json.loads(text)
        rows = tuple(Row(**{**row, "kind": Kind(row["kind"])}) for row in body.pop("rows"))
        return replace(cls(**body), rows=rows, notes=tuple(body["notes"]))

    def summary(self) -> str:
        """Return one sentence for people."""
        did = {
            "refused": f"nothing was deleted: {self.refused}",
            "failed": f"{self.deleted} deleted, then {self.failure}",
            "deleted": f"{self.deleted} deleted",
            "counted": "nothing was deleted, since deletion is off",
        }[self.result]
        return f"{self.found} to go, of {self.objects} objects and {self.assets} assets; {did}."

    def table(self) -> str:
        """Return a table for people, with a line for each prefix and reason."""
        lines: list[tuple[str, ...]] = [("prefix", "reason", "found", "of", "bytes", "deleted")]
        lines += [
            (row.prefix, row.kind, *(f"{n:,}" for n in (row.found, row.of, row.size_bytes, row.deleted)))
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = [
            "  ".join([*(line[i].ljust(widths[i]) for i in (0, 1)), *(line[i].rjust(widths[i]) for i in (2, 3, 4, 5))])
            for line in lines
        ]
        return "\n".join([*text, *self.notes, self.summary()]) + "\n"
