"""Where an imported file goes: the public path that its folder becomes, and the key that brings it there once. Pure."""

import hashlib
import json
import re
import unicodedata
from pathlib import PurePosixPath

from mediaasset.keys import is_public_path
from mediaasset.pointers import stable_path_problem

#: Below this name the metadata of an imported asset say where the file was, if it cannot answer at that path.
ORIGIN = "import_path"
#: Characters of a value of metadata, as the API bounds them.
_METADATA_LENGTH = 1024


def public_path(base: str, folder: PurePosixPath) -> str:
    """Return the public path of files in a folder below the source.

    Names keep their ASCII letters, digits, dots, dashes and underscores; letters with marks lose these, and all else
    becomes a dash. Raises ValueError where the result cannot be a public path.
    """
    parts = [base.strip("/"), *(_segment(part) for part in folder.parts)]
    path = "/".join(part for part in parts if part)
    if not is_public_path(path):
        message = f"its folder gives no public path: {path!r} (8 folders of 63 characters, 200 in all, are the most)"
        raise ValueError(message)
    return path


def key(path: str, name: str, sha256: str) -> str:
    """Return the idempotency key of a file: the same bytes under the same name and path are one asset."""
    return "import-" + hashlib.sha256(f"{path}\0{name}\0{sha256}".encode(errors="surrogateescape")).hexdigest()


def origin(base: str, relative: PurePosixPath) -> dict[str, str]:
    """Return the fields of an upload by which a file answers at the path where it was.

    Where that is no path for media, such as one without an extension, the metadata remember it, if it is not too long.
    """
    was = f"{base.strip('/')}/{relative}".lstrip("/").encode("utf-8", "replace").decode()
    if stable_path_problem(was) is None:
        return {"stable_path": was}
    return {"metadata": json.dumps({ORIGIN: was})} if len(was) <= _METADATA_LENGTH else {}


def _segment(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    # A name without any ASCII letter must not become the folder above it.
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip(".") or "-"
