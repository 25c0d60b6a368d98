"""Real scanners for tests: ClamAV's daemon with a signature of our own, and an ICAP server in front of it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import free_port, running

_SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
#: What the signature finds, and its name.
MARK = b"something-harmful"
NAME = "Test-Signature"


@contextmanager
def clamd(directory: Path, *, max_bytes: int = 200_000_000) -> Iterator[int]:
    """Run the daemon until the block ends; yield its port. It refuses streams that are longer."""
    database = directory / "signatures"
    database.mkdir()
    (database / "test.ndb").write_text(f"{NAME}:0:*:{MARK.hex()}\n")
    port = free_port()
    lines = [
        "Foreground yes",
        f"DatabaseDirectory {database}",
        "TCPAddr 127.0.0.1",
        f"TCPSocket {port}",
        f"TemporaryDirectory {directory}",
        f"StreamMaxLength {max_bytes}",
        f"MaxScanSize {max_bytes}",
        f"MaxFileSize {max_bytes}",
    ]
    config = directory / "clamd.conf"
    config.write_text("\n".join(lines) + "\n")
    with running(["/usr/sbin/clamd", "-c", config], port, **_SILENT):
        yield port


@contextmanager
def icap(directory: Path, clamd_port: int) -> Iterator[int]:
    """Run c-icap with its service virus_scan, which asks the daemon; yield its port."""
    port = free_port()
    modules = next(Path("/usr/lib").glob("*/c_icap"))
    (directory / "magic").write_bytes(Path("/etc/c-icap/c-icap.magic").read_bytes())
    lines = [
        f"PidFile {directory}/pid",
        f"CommandsSocket {directory}/ctl",
        f"Port 127.0.0.1:{port}",
        "StartServers 1",
        "MaxServers 1",
        f"TmpDir {directory}",
        f"ModulesDir {modules}",
        f"ServicesDir {modules}",
        "TemplateDir /usr/share/c_icap/templates/",
        f"LoadMagicFile {directory}/magic",
        f"ServerLog {directory}/server.log",
        f"AccessLog {directory}/access.log",
        "Module common clamd_mod.so",
        "clamd_mod.ClamdHost 127.0.0.1",
        f"clamd_mod.ClamdPort {clamd_port}",
        "Service antivirus_module virus_scan.so",
        "ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple",
        "virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GRAPHICS STREAM DOCUMENT",
        "virus_scan.DefaultEngine clamd",
        # What is larger passes without having been looked at, and 5 MB is the default.
        "virus_scan.MaxObjectSize 200M",
    ]
    config = directory / "c-icap.conf"
    config.write_text("\n".join(lines) + "\n")
    with running(["c-icap", "-N", "-f", config], port, **_SILENT):
        yield port
