"""What the channels ask of a file, as a table, and how a finished rendition is held to it.

The channels would refuse the file only when somebody sends it, or worse, take it and not show it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media_transcoder.command import DEMUXERS, ffprobe
from media_transcoder.messages import Rendered
from media_transcoder.pictures.imagefile import open_image
from mediaasset.media import Kind, by_mime
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Channel, Rendition

#: Where a source says MB, it does not say of which kind: a million bytes is the smaller one.
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished file: pixels of a picture and its mode by Pillow, or the streams by ffprobe."""

    kind: Kind
    mime_type: str
    size_bytes: int
    width: int = 0
    height: int = 0
    mode: str = ""
    frames: int = 1
    streams: tuple[dict[str, Any], ...] = field(default=())

    def codecs(self, kind: str) -> list[str]:
        """Return the codecs of its streams of one type."""
        return [str(stream.get("codec_name")) for stream in self.streams if stream.get("codec_type") == kind]

    @property
    def is_sticker(self) -> bool:
        """Tell whether WhatsApp sends a picture as a sticker: as nothing else it takes this type."""
        return self.mime_type == "image/webp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a channel asks of files of some kinds. `found` says what there is, `advice` what to do."""

    id: str
    kinds: tuple[Kind, ...]
    asks: str
    holds: Callable[[Finished], bool]
    found: Callable[[Finished], str]
    advice: str


def _type(kind: Kind, asks: str, *mime_types: str) -> Rule:
    return Rule(
        id=f"{kind.lower()}-type",
        kinds=(kind,),
        asks=asks,
        holds=lambda file: file.mime_type in mime_types,
        found=lambda file: file.mime_type,
        advice="choose another format",
    )


def _size(kind: Kind, megabytes: int) -> Rule:
    return Rule(
        id=f"{kind.lower()}-size",
        kinds=(kind,),
        asks=f"at most {megabytes} MB",
        holds=lambda file: file.size_bytes <= megabytes * _MB,
        found=lambda file: f"{file.size_bytes} bytes",
        advice="send a smaller file" if kind is Kind.DOCUMENT else f"set maxBytes to {megabytes * _MB} or less",
    )


_OFFICE = "application/vnd.openxmlformats-officedocument"

#: WhatsApp's, unless another source is named: Meta's table of media types as Amazon gives it for its own gateway,
#: https://docs.aws.amazon.com/social-messaging/latest/userguide/supported-media-types.html
_WHATSAPP = (
    _type(Kind.IMAGE, "JPEG or PNG, or WebP for a sticker", "image/jpeg", "image/png", "image/webp"),
    _size(Kind.IMAGE, 5),
    Rule(
        # Both of Meta's own SDK: https://whatsapp.github.io/WhatsApp-Nodejs-SDK/api-reference/types/StickerMediaObject
        id="sticker-sides",
        kinds=(Kind.IMAGE,),
        asks="512 x 512 pixels",
        holds=lambda file: not file.is_sticker or (file.width, file.height) == (512, 512),
        found=lambda file: f"{file.width} x {file.height}",
        advice="set fit to Exact, and width and height to 512",
    ),
    Rule(
        id="sticker-size",
        kinds=(Kind.IMAGE,),
        asks="at most 100 kB, or 500 kB where it moves",
        holds=lambda file: not file.is_sticker or file.size_bytes <= (500_000 if file.frames > 1 else 100_000),
        found=lambda file: f"{file.size_bytes} bytes in {file.frames} frames",
        advice="set maxBytes to 100000, or to 500000 for an animation",
    ),
    Rule(
        # "Images must be 8-bit, RGB or RGBA": https://docs.bizmagnets.ai/whatsapp-channel/supported-media-types
        id="image-colours",
        kinds=(Kind.IMAGE,),
        asks="8-bit RGB or RGBA",
        holds=lambda file: file.mode in ("RGB", "RGBA"),
        found=lambda file: f"mode {file.mode}",
        advice="set format to JPEG",
    ),
    _type(Kind.VIDEO, "MP4", "video/mp4"),
    _size(Kind.VIDEO, 16),
    Rule(
        # "Only H.264 video codec and AAC audio codec supported. Single audio stream or no audio stream only": Meta's
        # page on video messages of November 2025, which is kept at
        # https://support.chatarchitect.com/books/meta-whatsapp/page/video-messages-developer-documentation
        id="video-codecs",
        kinds=(Kind.VIDEO,),
        asks="one H.264 stream, and one AAC stream or no sound",
        holds=lambda file: file.codecs("video") == ["h264"] and file.codecs("audio") in (["aac"], []),
        found=lambda file: " and ".join([*file.codecs("video"), *file.codecs("audio")]) or "nothing",
        advice="set codec to H264",
    ),
    Rule(
        # The same page: files of the High profile with B-frames are not supported by the clients of Android.
        id="video-profile",
        kinds=(Kind.VIDEO,),
        asks="no B-frames in the High profile",
        holds=lambda file: (
            not any("High" in str(stream.get("profile")) and stream.get("has_b_frames") for stream in file.streams)
        ),
        found=lambda file: ", ".join(
            f"{stream.get('profile')} with {stream.get('has_b_frames')} B-frames"
            for stream in file.streams
            if stream.get("codec_type") == "video"
        ),
        advice="have it encoded anew",
    ),
    _type(
        Kind.AUDIO,
        "AAC, AMR, MP3, M4A or Ogg",
        "audio/aac",
        "audio/amr",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
    ),
    _size(Kind.AUDIO, 16),
    Rule(
        # One channel: "only single channel audio files are supported by WA clients", of the documentation of Sinch.
        id="audio-opus",
        kinds=(Kind.AUDIO,),
        asks="Opus with one channel in Ogg",
        holds=lambda file: (
            file.mime_type != "audio/ogg"
            or [(stream.get("codec_name"), stream.get("channels")) for stream in file.streams] == [("opus", 1)]
        ),
        found=lambda file: ", ".join(
            f"{stream.get('codec_name')} with {stream.get('channels')} channels" for stream in file.streams
        ),
        advice="set format to Opus",
    ),
    _type(
        Kind.DOCUMENT,
        "text, PDF, Word, Excel or PowerPoint",
        "text/plain",
        "application/pdf",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        f"{_OFFICE}.wordprocessingml.document",
        f"{_OFFICE}.spreadsheetml.sheet",
        f"{_OFFICE}.presentationml.presentation",
    ),
    _size(Kind.DOCUMENT, 100),
)

#: Meta's field tables for catalogues, as https://productfeedspec.com/platforms/meta-catalog gives them.
_META_CATALOG = (
    Rule(
        id="type",
        kinds=(Kind.AUDIO, Kind.DOCUMENT),
        asks="pictures and videos",
        holds=lambda _: False,
        found=lambda file: file.mime_type,
        advice="leave the rendition out",
    ),
    _type(Kind.IMAGE, "JPEG or PNG", "image/jpeg", "image/png"),
    # Nowhere confirmed by Meta, and held to by those who feed catalogues. A picture of 5000 pixels was refused and the
    # same of 3000 taken: https://github.com/facebook/facebook-for-woocommerce/issues/463
    _size(Kind.IMAGE, 8),
    Rule(
        id="image-sides",
        kinds=(Kind.IMAGE,),
        asks="at least 500 x 500 pixels",
        holds=lambda file: min(file.width, file.height) >= 500,  # noqa: PLR2004 - the rule itself
        found=lambda file: f"{file.width} x {file.height}",
        advice="send a larger picture, which is never enlarged, or set minSide to 500",
    ),
    # https://developers.facebook.com/documentation/ads-commerce/marketing-api/advantage-catalog-ads/dynamic-media
    _size(Kind.VIDEO, 200),
)

RULES: dict[Channel, tuple[Rule, ...]] = {Channel.WHATSAPP: _WHATSAPP, Channel.META_CATALOG: _META_CATALOG}


def check(rendition: Rendition, rendered: Rendered, path: Path) -> None:
    """Hold a finished rendition to the rules of its channel.

    Raises MediaError (ChannelRule), which names all that are broken: what is asked, what was found, and what to do.
    """
    if rendition.channel is None:
        return
    file = _finished(rendered, path)
    broken = [rule for rule in RULES[rendition.channel] if file.kind in rule.kinds and not rule.holds(file)]
    if broken:
        complaints = "; ".join(
            f"{rule.id} asks for {rule.asks}, found {rule.found(file)} ({rule.advice})" for rule in broken
        )
        raise MediaError(Reason.CHANNEL_RULE, f"{rendition.name} breaks rules of {rendition.channel}: {complaints}.")


def _finished(rendered: Rendered, path: Path) -> Finished:
    media_type = by_mime(rendered.mime_type or "")
    if media_type is None:
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendered.name}: nobody knows the type {rendered.mime_type}.")
    kind, mode, frames, streams = media_type.kind, "", 1, ()
    if kind is Kind.IMAGE:
        with open_image(path) as picture:
            mode, frames = picture.mode, int(getattr(picture, "n_frames", 1))
    elif kind is not Kind.DOCUMENT:
        streams = tuple(ffprobe(path, DEMUXERS[media_type.mime])["streams"])
    return Finished(
        kind=kind,
        mime_type=media_type.mime,
        size_bytes=path.stat().st_size,
        width=rendered.width or 0,
        height=rendered.height or 0,
        mode=mode,
        frames=frames,
        streams=streams,
    )
