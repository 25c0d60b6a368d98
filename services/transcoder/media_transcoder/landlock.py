"""What a taken-over decoder finds: programs, its own scratch directory, and nothing else of the machine. Linux only.

Landlock (kernel 5.13 and later, https://docs.kernel.org/userspace-api/landlock.html) lets a process give up rights for
itself and all that it starts. It needs no privilege, so it works the same in a pod and on a laptop.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

# The same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

# Rights on files, by their bits (linux/landlock.h), and since which version of Landlock there are how many of them.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_LOOK = _EXECUTE | _READ_FILE | _READ_DIR
#: To bind and to connect a TCP socket, since version 4; signals and abstract sockets of others, since version 6.
_TCP, _TCP_SINCE = 0b11, 4
_OTHERS, _OTHERS_SINCE = 0b11, 6

#: Where systems keep programs and libraries, and what these read to start.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix", "/snap", "/etc")
#: What the machine says of its processors and memory.
_MACHINE = ("/sys/devices/system", "/sys/fs/cgroup", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm")
_PROGRAMS = ("ffmpeg", "ffprobe")


def version() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    return max(_call(_CREATE_RULESET, None, 0, _VERSION_FLAG), 0) if sys.platform == "linux" else 0


def confine(scratch: Path) -> bool:
    """Let this process and its children write below `scratch` only, read programs besides, and open no TCP connection.

    Tells whether that holds; where the kernel has no Landlock, the other limits have to do.
    """
    known = version()
    if not known:
        return False
    rights = (1 << _RIGHTS.get(known, max(_RIGHTS.values()))) - 1
    network, others = _TCP if known >= _TCP_SINCE else 0, _OTHERS if known >= _OTHERS_SINCE else 0
    attributes = struct.pack("=QQQ", rights, network, others)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path in _programs():
            _allow(ruleset, path, rights & _LOOK)
        _allow(ruleset, Path(os.devnull), rights & (_READ_FILE | _WRITE_FILE))
        _allow(ruleset, scratch, rights)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _call(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _programs() -> set[Path]:
    """Return where this interpreter, its modules and the programs that it starts lie."""
    named = (Path(directory, program) for directory in os.get_exec_path() for program in _PROGRAMS)
    found = [each for each in named if each.exists()]
    folders = {folder for each in found for folder in (each.parent, each.resolve().parent)}
    return folders | {Path(path) for path in (*_SYSTEM, *_MACHINE, sys.prefix, sys.base_prefix, *sys.path) if path}


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, so there is nothing to be allowed
        return
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & _OF_FILES, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call; negative when it failed."""
    library = ctypes.CDLL(None)
    library.syscall.restype = ctypes.c_long
    wide = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return int(library.syscall(ctypes.c_long(number), *wide))
