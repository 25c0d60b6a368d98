"""The closed table of reasons: what an asset, an exit code and an HTTP answer may give as the cause.

A reason is the `reason` of a condition, the exit code of a transcoder, the decision whether trying again can help,
the status of an HTTP answer, and a sentence that tells a person what to do. Nothing else in the project invents one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Retry(StrEnum):
    """Who tries again."""

    NEVER = "never"
    """Trying again gives the same answer: the asset is Stalled at once."""
    POD = "pod"
    """The same attempt, in another pod (backoffLimit), and after that another attempt."""
    ATTEMPT = "attempt"
    """A new attempt, after a pause that doubles."""
    PLATFORM = "platform"
    """Kubernetes, until the cause is gone: no transcoder has begun, so it does not count as an attempt that failed."""
    LARGER = "larger"
    """A new attempt in the next larger class, at once; in the largest, or where there is only one, nobody."""


class Reason(StrEnum):
    """Why an asset is not Ready, or why a request was refused."""

    # Not failures: what an asset waits for.
    PENDING = "Pending"
    QUEUED = "Queued"
    TRANSCODING = "Transcoding"
    RETRYING = "Retrying"
    SUSPENDED = "Suspended"
    MOVING = "MovingObjects"
    REPLACING = "Replacing"
    REPLACED = "Replaced"
    EXPIRED = "Expired"
    DELETING = "Deleting"
    NAME_TAKEN = "NameTaken"
    READY = "Ready"

    # The source.
    EMPTY_SOURCE = "EmptySource"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_FORBIDDEN = "SourceForbidden"
    SOURCE_UNAUTHORIZED = "SourceUnauthorized"
    SOURCE_TOO_LARGE = "SourceTooLarge"
    SOURCE_MISMATCH = "SourceMismatch"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    UNSUPPORTED_TYPE = "UnsupportedType"
    TYPE_MISMATCH = "TypeMismatch"
    UNDECODABLE = "Undecodable"
    LIMIT_EXCEEDED = "LimitExceeded"
    INFECTED = "Infected"

    # The request.
    INVALID_TASK = "InvalidTask"
    INVALID_RENDITION = "InvalidRendition"
    CHANNEL_RULE = "ChannelRule"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    NOT_APPLICABLE = "NotApplicable"

    # The platform: no transcoder has begun.
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    PODS_REFUSED = "PodsRefused"
    IMAGE_PULL = "ImagePull"
    CANNOT_START = "CannotStart"

    # The machine.
    NEEDS_LARGER_CLASS = "NeedsLargerClass"
    OUT_OF_MEMORY = "OutOfMemory"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    DISK_FULL = "DiskFull"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_FORBIDDEN = "StoreForbidden"
    INTERRUPTED = "Interrupted"
    JOB_LOST = "JobLost"
    INVALID_OUTPUT = "InvalidOutput"
    INTERNAL = "Internal"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    exit_code is None for a reason that a transcoder never gives; http_status is None for one that no request is
    refused with.
    """

    text: str
    exit_code: int | None = None
    retry: Retry = Retry.NEVER
    http_status: int | None = None


#: Exit codes start at 10 (1 and 2 are Python's own) and stay below 126 (shell and signals). They are part of the
#: contract with podFailurePolicy: a code is never given a second meaning.
TABLE: dict[Reason, Rule] = {
    Reason.PENDING: Rule("The operator has not looked at this asset yet."),
    Reason.QUEUED: Rule("Waits until fewer transcoders run; nothing needs doing."),
    Reason.TRANSCODING: Rule("A transcoder works on it."),
    Reason.RETRYING: Rule("The last attempt failed and another follows after a pause."),
    Reason.SUSPENDED: Rule("spec.suspend is true: set it to false to go on."),
    Reason.MOVING: Rule("The visibility changed and the objects are being moved."),
    Reason.REPLACING: Rule("The older assets of its collection are being deleted."),
    Reason.REPLACED: Rule("A newer asset of its collection is Ready, and the collection keeps only the latest."),
    Reason.EXPIRED: Rule("Its time is over, by spec.expireSecondsAfterCreation or spec.expireSecondsAfterFailure."),
    Reason.DELETING: Rule("The asset is being deleted."),
    Reason.NAME_TAKEN: Rule(
        "The first to ask for a name has it: delete that asset, or make a new one with another spec.stablePath."
    ),
    Reason.READY: Rule("All required renditions are published."),
    Reason.EMPTY_SOURCE: Rule("The source has no bytes: send the file again.", 10, http_status=400),
    Reason.SOURCE_NOT_FOUND: Rule(
        "The source does not exist: upload it again, or correct the key or URL in a new asset.", 11, http_status=404
    ),
    Reason.SOURCE_FORBIDDEN: Rule(
        "The source may not be read: its server refuses it, its address is not allowed, or its key belongs to"
        " another namespace.",
        12,
        http_status=403,
    ),
    Reason.SOURCE_UNAUTHORIZED: Rule(
        "The account has no valid token: put one into its Secret, then ask for reprocessing.",
        22,
        http_status=502,
    ),
    Reason.SOURCE_TOO_LARGE: Rule(
        "The source is larger than the profile allows: send a smaller file or raise the limit.", 13, http_status=413
    ),
    Reason.SOURCE_MISMATCH: Rule(
        "The source is not what was announced (size or sha256 differ): send it again.", 14, http_status=422
    ),
    Reason.SOURCE_UNAVAILABLE: Rule(
        "The server of the source did not answer or broke off: it is asked again.", 15, Retry.ATTEMPT, 502
    ),
    Reason.UNSUPPORTED_TYPE: Rule("The content is of no supported type.", 16, http_status=415),
    Reason.TYPE_MISMATCH: Rule(
        "The content is of another type than declared: correct the declaration or the file.", 17, http_status=415
    ),
    Reason.UNDECODABLE: Rule(
        "The file is damaged or incomplete and cannot be decoded: export or send it again.", 18, http_status=422
    ),
    Reason.LIMIT_EXCEEDED: Rule(
        "The media exceed a limit of the profile (pixels, frames, streams or duration).", 19, http_status=422
    ),
    Reason.INFECTED: Rule(
        "The scanner found something harmful in the file, and nothing was kept: send a clean one.", http_status=422
    ),
    Reason.INVALID_TASK: Rule("The transcoder got a task that it cannot read: check that versions match.", 20),
    Reason.INVALID_RENDITION: Rule(
        "A rendition asks for something that cannot be made: correct the profile or spec.renditions.",
        21,
        http_status=422,
    ),
    Reason.CHANNEL_RULE: Rule(
        "The channel would refuse this rendition: send media that keep its rules, or use another profile.",
        23,
        http_status=422,
    ),
    Reason.PROFILE_NOT_FOUND: Rule(
        "The profile does not exist: create it, or name another in spec.profileName.", retry=Retry.ATTEMPT
    ),
    Reason.NOT_APPLICABLE: Rule("The rendition does not apply to this type of media."),
    Reason.UNSCHEDULABLE: Rule(
        "No node takes the transcoder: add nodes, or lower what transcoders request.", retry=Retry.PLATFORM
    ),
    Reason.QUOTA_EXCEEDED: Rule(
        "A ResourceQuota of the work namespace is used up: raise it, or let fewer transcoders run at once.",
        retry=Retry.PLATFORM,
    ),
    Reason.PODS_REFUSED: Rule(
        "Kubernetes refuses the transcoder's pod: correct the policy, the limits or the account that it names.",
        retry=Retry.PLATFORM,
    ),
    Reason.IMAGE_PULL: Rule(
        "The transcoder's image cannot be pulled: correct its name, the pull secret or the way to its registry.",
        retry=Retry.PLATFORM,
    ),
    Reason.CANNOT_START: Rule(
        "The transcoder's container cannot be started: create the Secret or volume that it names.",
        retry=Retry.PLATFORM,
    ),
    Reason.NEEDS_LARGER_CLASS: Rule("The media need a transcoder with more memory or time.", 30, Retry.LARGER),
    Reason.OUT_OF_MEMORY: Rule("The transcoder ran out of memory: allow it more.", 31, Retry.LARGER),
    Reason.DEADLINE_EXCEEDED: Rule("The transcoder took longer than allowed: raise the deadline.", 32, Retry.LARGER),
    Reason.DISK_FULL: Rule("The transcoder ran out of scratch space: allow it more.", 33, Retry.LARGER, 507),
    Reason.STORE_UNAVAILABLE: Rule(
        "The object store did not answer: it is tried again; check its address and health.", 34, Retry.POD, 503
    ),
    Reason.STORE_FORBIDDEN: Rule(
        "The object store refused the credentials: correct the key and its policy.", 35, Retry.ATTEMPT, 503
    ),
    Reason.INTERRUPTED: Rule("The transcoder was stopped before it had finished: it is started again.", 36, Retry.POD),
    Reason.JOB_LOST: Rule("The transcoder disappeared without a result: it is started again.", retry=Retry.ATTEMPT),
    Reason.INVALID_OUTPUT: Rule(
        "A rendition did not pass its check and was not published: report this, with the file.", 37, Retry.ATTEMPT
    ),
    Reason.INTERNAL: Rule("An error in media-operator itself: report this, with the log.", 38, Retry.POD, 500),
}

#: Failures that another content of the profile may take away: its limits, or what it asks for.
OF_PROFILE = frozenset(
    {
        Reason.SOURCE_TOO_LARGE,
        Reason.LIMIT_EXCEEDED,
        Reason.INVALID_RENDITION,
        Reason.CHANNEL_RULE,
        Reason.PROFILE_NOT_FOUND,
        Reason.NEEDS_LARGER_CLASS,
        Reason.OUT_OF_MEMORY,
        Reason.DEADLINE_EXCEEDED,
        Reason.DISK_FULL,
    }
)

_BY_EXIT_CODE = {rule.exit_code: reason for reason, rule in TABLE.items() if rule.exit_code is not None}


def from_exit_code(code: int) -> Reason:
    """Return the reason behind the exit code of a transcoder; negative codes and 128 + n mean signal n.

    A killed process is Interrupted, also by SIGKILL: 137 alone does not prove a lack of memory, and whoever knows more
    (the kubelet's OOMKilled, the parent of a killed child) says OutOfMemory.
    """
    if code in _BY_EXIT_CODE:
        return _BY_EXIT_CODE[code]
    if code < 0 or code > 128:  # noqa: PLR2004 - the shell's base of signals
        return Reason.INTERRUPTED
    return Reason.INTERNAL


class MediaError(Exception):
    """A failure with a reason of the table and a sentence about this case, fit for the person who sent the file."""

    def __init__(self, reason: Reason, message: str = "", *, log: tuple[str, ...] = ()) -> None:
        """Take the reason and what is particular to this case; without it, the text of the table stands alone.

        log is what a program said that failed, line by line: not for that person, but for whoever looks closer.
        """
        super().__init__(message or TABLE[reason].text)
        self.reason = reason
        self.log = log

    @property
    def message(self) -> str:
        """What happened, and what to do."""
        text = TABLE[self.reason].text
        own = str(self)
        return own if own == text else f"{own} {text}"
