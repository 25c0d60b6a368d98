"""The blocks of code in the documentation, run as a reader runs them: those of a page one after the other in one shell.

A comment right before a block says what the block does not; before the first heading it holds for the whole page:

    <!-- runs on: cluster -->   tests/e2e/test_pages.py runs it, anything without a comment tests/docs/test_pages.py
    <!-- run by: tests/… -->    another test does what it says
    <!-- not run: … -->         nothing here can run it, and this is why
    <!-- runs beside: URL -->   it is a server, which the blocks after it find at this URL
    <!-- file: PATH -->         a file of the reader, which the blocks after it find

A `console` block holds commands after `$ ` and what they say, in which `…` stands for anything.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Languages whose blocks are commands or programs, those that are only read, and by whom.
RUN = {"sh", "console", "js", "python", "redis"}
READ = {"yaml", "json", "text", "html", "powershell"}

ON_CLUSTER = ("runs on", "cluster")

_TAG = re.compile(r"<!-- (runs on|run by|not run|runs beside|file): (.+?) -->", re.DOTALL)
#: Variables of whoever runs the tests, which would lead a reader elsewhere.
_FOREIGN = ("MEDIA_", "AWS_", "XDG_", "KUBE")
#: What is another one each time, and what stands for it when outputs are compared.
_VARYING = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "TIME"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"-[0-9a-f]{16}\.", "-DIGEST."),
    (r"\b[a-z2-7]{26}\b", "NAME"),
    (r"\b(\d+[smhd])+\b", "AGE"),
    (r"\s+", " "),
]


@dataclass(frozen=True)
class Block:
    """One block of code: where it stands, its language and text, and the kind and text of its comment."""

    page: Path
    line: int
    language: str
    text: str
    kind: str = ""
    about: str = ""
    on_cluster: bool = False

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def place(self) -> str:
        """Return where our own tests run it: `standalone`, `cluster`, or nowhere."""
        if self.kind in ("run by", "not run") or (self.language not in RUN and self.kind != "file"):
            return ""
        return self.about if self.kind == "runs on" else "cluster" if self.on_cluster else "standalone"

    def commands(self) -> list[tuple[str, str | None]]:
        """Return the commands of a block in a shell, each with what the page says that it prints, if it does."""
        if self.language != "console":
            return [(self.text, None)]
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [self._console(part) for part in parts]

    def _console(self, part: str) -> tuple[str, str | None]:
        lines = part.splitlines()
        # A command goes on after a backslash.
        end = next((number for number, line in enumerate(lines) if not line.endswith("\\")), 0) + 1
        return "\n".join(lines[:end]), "\n".join(lines[end:]).strip() or None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    found: list[Block] = []
    whole = last = ("", "")
    headed = False
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        headed = headed or token.type == "heading_open"
        tag = _TAG.search(token.content) if token.type == "html_block" else None
        if tag and not headed:
            whole = tag[1], tag[2]
        elif token.type in ("fence", "code_block"):
            line = (token.map or [0])[0] + 1
            found.append(
                Block(page, line, token.info.strip(), token.content, *(last if last[0] else whole), whole == ON_CLUSTER)
            )
        # A comment is for what comes right after it.
        last = (tag[1], tag[2]) if tag and headed else ("", "")
    return found


def here(page: Path, place: str) -> list[Block]:
    """Return the blocks of a page that are run at a place."""
    return [block for block in blocks(page) if block.place == place]


def pages(place: str) -> list[Path]:
    """Return the pages that have anything to run at a place."""
    return [page for page in PAGES if here(page, place)]


@dataclass
class Reader:
    """Somebody who follows a page in a copy of the checkout's directory.

    variables are those of the shell; replaced says what stands in place of a word of the page, such as a host; programs
    are directories that come first in PATH; curl holds options of curl for each of its calls.
    """

    folder: Path
    variables: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict)
    programs: Sequence[Path] = ()
    curl: str = ""

    def follow(self, read: Sequence[Block]) -> None:
        """Run blocks; AssertionError with the output of the first that fails or says something else."""
        out = self.folder / ".said"
        out.mkdir()
        expected: dict[str, tuple[Block, str | None]] = {}
        script = ["set -aeuo pipefail"]
        for number, block in enumerate(read):
            for place, (command, said) in enumerate(block.commands()):
                name = f"{number}-{place}"
                expected[name] = block, said
                script += [f"echo {name} >{out}/now", *self._lines(block, self._put(command), out / name)]
        code, errors = self._shell("\n".join(script))
        now = (out / "now").read_text().strip()
        servers = [name for name, (block, _) in expected.items() if block.kind == "runs beside"]
        said = "\n".join((out / name).read_text() for name in {*servers, now} if (out / name).exists())
        assert code == 0, f"{expected[now][0]} ended with {code}:\n{said}{errors}"
        actual = {name: (out / name).read_text() for name, (_, text) in expected.items() if text is not None}
        wrong = [
            f"{block} says\n{text}\nand it was\n{actual[name]}"
            for name, (block, text) in expected.items()
            if text is not None and not same(self._put(text), actual[name])
        ]
        assert not wrong, "\n".join(wrong)

    def _put(self, text: str) -> str:
        for word, other in self.replaced.items():
            text = text.replace(word, other)
        return text

    def _lines(self, block: Block, text: str, output: Path) -> Iterable[str]:
        if block.kind == "file":
            # Not before it is this block's turn: the page may write the file anew.
            source = output.with_suffix(".file")
            source.write_text(text)
            text = f"mkdir -p $(dirname {block.about}) && cp {shlex.quote(str(source))} {block.about}"
        elif block.language in ("js", "python"):
            # Variables of the shell are names of the program.
            prelude, suffix, program = {
                "js": ("for (const name in process.env) globalThis[name] ??= process.env[name];", "mjs", "node"),
                "python": ("import os; globals().update(os.environ)", "py", "python"),
            }[block.language]
            # Beside the files of the reader, which it may import.
            source = self.folder / f"said-{output.name}.{suffix}"
            source.write_text(f"{prelude}\n{text}")
            text = f"{program} {source}"
        elif block.language == "redis":
            text = f"redis-cli -p $REDIS_PORT {' '.join(map(shlex.quote, text.split()))} | grep -x OK"
        yield f"{{\n{text}\n}} >{output} 2>&1" + (" &" if block.kind == "runs beside" else "")
        if block.kind == "runs beside":
            url = self._put(block.about)
            yield f"for _ in $(seq 600); do curl -so /dev/null {url} && break; kill -0 $!; sleep 0.1; done"

    def _shell(self, script: str) -> tuple[int, str]:
        """Run a script as a group of processes that ends with it; return its exit code and standard error."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        # An answer that is an error is one for curl too.
        (home / ".curlrc").write_text(f"fail-with-body\nno-progress-meter\n{self.curl}")
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        own.pop("VIRTUAL_ENV", None)
        path = ":".join([*map(str, self.programs), str(ROOT / ".venv/bin"), own["PATH"]])
        environment = {**own, "HOME": str(home), "PATH": path, "UV_NO_SYNC": "1", "COLUMNS": "200", **self.variables}
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                code = process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            return code, process.stderr.read() if process.stderr else ""


def same(text: str, actual: str) -> bool:
    """Tell whether an output is what a page says, but for what is another one each time."""
    pattern = ".*".join(re.escape(_plain(part)) for part in text.split("…"))
    return re.fullmatch(re.sub(r"(\\ )?\.\*(\\ )?", ".*", pattern), _plain(actual).strip(), re.DOTALL) is not None


def _plain(text: str) -> str:
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return text


def checkout(folder: Path) -> Path:
    """Make a directory that looks like the checkout, in which a reader may write; return it."""
    folder.mkdir(parents=True)
    for entry in ROOT.iterdir():
        if entry.name not in (".git", ".cache"):
            (folder / entry.name).symlink_to(entry)
    return folder
