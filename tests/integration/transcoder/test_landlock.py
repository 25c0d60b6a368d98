"""What code finds that runs in the decoder, played by a program that stands where ffprobe should."""

import os
import socket
import subprocess
from pathlib import Path

from bench import Bench
from media_transcoder import landlock
from service import wait_for

PROGRAM = """#!/bin/bash
exec >$TMPDIR/found 2>/dev/null
head -c 4 $TMPDIR/source >/dev/null && echo source
cat {accounts}/support/token >/dev/null && echo token
cat {store}/uploads/ns/asset/source >/dev/null && echo store
cat /proc/$PPID/environ >/dev/null && echo environment
(echo x >/dev/tcp/127.0.0.1/{port}) && echo connection
(echo x >{store}/written) && echo elsewhere
echo end
exec sleep 60
"""


def found(where: Path) -> list[str]:
    """Wait until the program has written what it found below a directory; return it."""

    def complete() -> list[str] | None:
        lines = [line for path in where.glob("**/found") for line in path.read_text().split()]
        return lines if lines[-1:] == ["end"] else None

    return wait_for(complete, what="the program to say what it found")


def test_a_decoder_that_was_taken_over_finds_neither_token_nor_way_out(bench: Bench, tmp_path: Path) -> None:
    accounts, folder, free = tmp_path / "accounts", tmp_path / "bin", tmp_path / "free"
    for each in (accounts / "support", folder, free):
        each.mkdir(parents=True)
    (accounts / "support/token").write_text("token")
    task = bench.put(b"\0\0\0\x18ftypisom" + bytes(500))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = folder / "ffprobe"
        port = listener.getsockname()[1]
        program.write_text(PROGRAM.format(accounts=accounts, store=bench.store, port=port))
        program.chmod(0o755)
        variables = {"PATH": f"{folder}:{os.environ['PATH']}", "MEDIA_WHATSAPP_DIRECTORY": str(accounts)}
        process = bench.start(task, **variables)
        confined = found(bench.scratch)
        process.terminate()
        bench.end(process)
        assert not (bench.store / "written").exists()
        # The same program finds all of it where nothing confines it.
        (free / "source").write_bytes(b"abcd")
        with subprocess.Popen([program], env={**os.environ, "TMPDIR": str(free)}) as unconfined:
            everything = found(free)
            unconfined.kill()
    assert everything == ["source", "token", "store", "environment", "connection", "elsewhere", "end"]
    # Kernels before 6.7 confine files only.
    assert confined == ["source", *(["connection"] if landlock.version() < 4 else []), "end"]
