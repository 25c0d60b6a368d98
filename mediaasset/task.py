"""Task and Result: what the operator gives a transcoder, and what it gives back. Dataclasses and JSON only.

The transcoder imports this module at each start, so it must stay cheap: no pydantic, no I/O.
JSON keys are camelCase like the custom resource's; unknown keys are ignored, so that an older program reads what a
newer one wrote as long as `version` is the same.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cache
from typing import Any, Self

from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason

#: Raised only when an old reader would misunderstand a new document.
VERSION = 1

#: Where a transcoder finds its Task, and the URL of its store (s3://bucket/prefix or file:///directory).
TASK_VARIABLE = "MEDIA_TASK"
STORE_VARIABLE = "MEDIA_STORE_URL"
#: A name for this pod, unique among the pods of an attempt; it becomes part of the failure's key.
POD_VARIABLE = "MEDIA_POD_NAME"
#: Set where no kubelet ends a transcoder: it then goes when its parent goes.
DIE_WITH_PARENT_VARIABLE = "MEDIA_DIE_WITH_PARENT"
#: What one container may use, as the platform tells it: bytes of memory, and whole CPUs. Absent without limits.
MEMORY_VARIABLE = "MEDIA_MEMORY_BYTES"
CPUS_VARIABLE = "MEDIA_CPUS"
#: Where progress is published beside standard output, as a URL of Redis; absent for nowhere.
REDIS_VARIABLE = "MEDIA_REDIS_URL"
#: A directory with one directory per WhatsApp account, which holds the files `token` and `namespace`; and the base URL
#: of the Graph API with its version, where it is another than Meta's own.
WHATSAPP_VARIABLE = "MEDIA_WHATSAPP_DIRECTORY"
GRAPH_VARIABLE = "MEDIA_GRAPH_URL"
#: Meta keeps a version for two years at least; what is used here has been the same since v13.
GRAPH_URL = "https://graph.facebook.com/v24.0"

#: The channel of Redis on which the progress of an asset is published, as the JSON of `Progress`: this and its uid.
PROGRESS_CHANNEL = "media-progress:"


class Fit(StrEnum):
    """How a picture is brought into its box; none ever enlarges it."""

    INSIDE = "Inside"
    """Whole and in proportion, at most as large as the box."""
    COVER = "Cover"
    """Fills the box, in proportion, cut equally on both sides."""
    EXACT = "Exact"
    """Exactly the box: the whole picture in proportion in its middle, on white, black or transparent ground."""


class Format(StrEnum):
    """What a rendition is written as."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    AVIF = "AVIF"
    ORIGINAL = "Original"
    """The full-size image, upright and without metadata: a JPEG or an opaque HEIC as JPEG, anything else as PNG."""
    MP4 = "MP4"
    HLS = "HLS"
    """A ladder of sizes as fragmented MP4 with a playlist for each and one over all: a directory."""
    STORYBOARD = "Storyboard"
    """Small pictures of all of a film in one JPEG, and a WebVTT file that says which is when: a directory."""
    MP3 = "MP3"
    OPUS = "Opus"
    """Opus in Ogg, mono: a voice message."""
    COPY = "Copy"
    """The bytes as they came; documents only."""


#: Renditions that are a directory of files, of which one is asked for first.
INDEX = {Format.HLS: "index.m3u8", Format.STORYBOARD: "index.vtt"}


class Codec(StrEnum):
    """How moving pictures are compressed."""

    H264 = "H264"
    """What everything plays."""
    AV1 = "AV1"
    """A third smaller; no Safari before 17, and slower to make."""


class Channel(StrEnum):
    """Whose rules a rendition has to keep; see media_transcoder/channels.py for them."""

    WHATSAPP = "WhatsApp"
    META_CATALOG = "MetaCatalog"


class Queue(StrEnum):
    """In which line an asset waits for its turn."""

    INTERACTIVE = "Interactive"
    """Somebody waits for it: it goes first, and has places of its own."""
    BATCH = "Batch"
    """A bulk import: it takes the places that are left."""


class MediaClass(StrEnum):
    """How much a transcoder may use: memory, CPUs, time and scratch space."""

    IMAGE = "Image"
    """Documents too: they are only copied."""
    AUDIO = "Audio"
    VIDEO = "Video"
    LARGE_VIDEO = "LargeVideo"


class RenditionState(StrEnum):
    """How far one rendition is."""

    PENDING = "Pending"
    READY = "Ready"
    SKIPPED = "Skipped"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """What is asked for. width and height bound the box in pixels (None: free); bitrate is in bits per second.

    min_side is in pixels: the shorter side of a picture is not scaled below it, even where the longer one then leaves
    the box. max_bytes bounds the file: quality is given up for it, and what does not fit then fails. animated keeps all
    frames of an animation.
    """

    name: str
    kind: Kind
    format: Format
    fit: Fit = Fit.INSIDE
    width: int | None = None
    height: int | None = None
    quality: int | None = None
    crf: int | None = None
    preset: str | None = None
    bitrate: int | None = None
    codec: Codec | None = None
    max_bytes: int | None = None
    min_side: int | None = None
    animated: bool = False
    channel: Channel | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a source of one kind may measure; None is no limit."""

    max_bytes: int | None = None
    max_pixels: int | None = None
    max_frames: int | None = None
    max_duration_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatsAppMedia:
    """What somebody sent by WhatsApp: the account whose token fetches it, and the id that Graph gave it.

    sha256 is as the webhook announced it, in hexadecimal or base64. The bytes as they came are kept at original_key.
    """

    account_name: str
    media_id: str
    mime_type: str | None = None
    sha256: str | None = None
    original_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the bytes are: exactly one of key (in the store), url and whatsapp. sha256 is hexadecimal."""

    key: str | None = None
    url: str | None = None
    whatsapp: WhatsAppMedia | None = None
    size_bytes: int | None = None
    sha256: str | None = None


class _Document:
    """What is exchanged as JSON on its own; it carries a version."""

    __slots__ = ()

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(encode(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read one; raises MediaError (InvalidTask) for anything that is not one of this version."""
        try:
            body = json.loads(text)
            version = body["version"]
            if version != VERSION:
                message = f"{cls.__name__} has version {version}, this program reads {VERSION}."
                raise MediaError(Reason.INVALID_TASK, message)
            return typing.cast("Self", decode(cls, body))
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise MediaError(Reason.INVALID_TASK, f"not a {cls.__name__}: {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_Document):
    """All that one attempt needs to know, except the credentials of the store.

    Objects go under `prefix`; documents under `document_prefix`, which is private unless the profile publishes
    documents. `type` is what spec.type demands, `file_name` only serves to compare its extension with the content.
    Sources lie under uploads/{namespace}/ or one of `foreign_prefixes`, and URLs on public addresses or in one of
    `allowed_cidrs`. `queue` and `class_name` are for who runs it; without a class there is only one.
    """

    version: int = VERSION
    uid: str
    namespace: str
    name: str
    attempt: int
    inputs_hash: str
    source: Source
    type: Kind | None = None
    file_name: str | None = None
    prefix: str
    document_prefix: str
    renditions: tuple[Rendition, ...] = ()
    limits: dict[Kind, Limits] = field(default_factory=dict)
    allowed_cidrs: tuple[str, ...] = ()
    foreign_prefixes: tuple[str, ...] = ()
    deadline_seconds: int = 900
    queue: Queue = Queue.INTERACTIVE
    class_name: MediaClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What the probe found. Sizes in pixels as displayed (upright), duration in ms, rate in bits per second."""

    type: Kind
    mime_type: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_milliseconds: int | None = None
    bits_per_second: int | None = None
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionResult:
    """What became of one rendition. A Ready one has a key, sha256, mime_type and size.

    Of a directory, key and mime_type are those of its index, size_bytes is that of all its files, and sha256 that of
    the list of their names and digests.
    """

    name: str
    state: RenditionState
    reason: Reason | None = None
    message: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    key: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(_Document):
    """The commit mark: written last, once, when everything that it names lies in the store."""

    version: int = VERSION
    uid: str
    attempt: int
    inputs_hash: str
    source_info: SourceInfo
    renditions: tuple[RenditionResult, ...]
    thumb_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(_Document):
    """Why one pod of an attempt gave up; source_info is what the probe had found until then.

    log holds the last lines of what a program said that failed, without paths and tokens: for whoever looks closer.
    """

    version: int = VERSION
    uid: str
    attempt: int
    inputs_hash: str
    reason: Reason
    message: str
    source_info: SourceInfo | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt is: one JSON line of a transcoder's standard output.

    percent is 0 to 100 or unknown; speed is that of an encoder, in seconds of the media per second.
    """

    stage: str
    percent: float | None = None
    speed: float | None = None


def encode(value: Any) -> Any:
    """Turn dataclasses, enums, tuples and dicts into what JSON has; fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {_camel(name): encode(item) for name, item in items if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {encode(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, value: Any) -> Any:
    """Build a value of type `kind` from what JSON had; raises TypeError or ValueError where it does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else decode(next(a for a in arguments if a is not types.NoneType), value)
    if origin is tuple:
        return tuple(decode(arguments[0], item) for item in _checked(list, value))
    if origin is dict:
        return {decode(arguments[0], key): decode(arguments[1], item) for key, item in _checked(dict, value).items()}
    if dataclasses.is_dataclass(kind):
        return _decode_fields(typing.cast("type", kind), _checked(dict, value))
    if issubclass(kind, Enum):
        return kind(value)
    return _checked(kind, float(value) if kind is float and type(value) is int else value)


def _decode_fields(kind: type, body: dict[str, Any]) -> Any:
    names = {name: _camel(name) for name in _hints(kind)}
    # A required field that is missing becomes the constructor's TypeError.
    return kind(**{name: decode(_hints(kind)[name], body[key]) for name, key in names.items() if key in body})


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:  # not isinstance: True is an int
        message = f"expected {kind.__name__}, got {type(value).__name__}"
        raise TypeError(message)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
