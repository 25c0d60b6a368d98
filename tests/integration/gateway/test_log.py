"""The log of a gateway whose workers write their lines together: each line is whole, and none is missing."""

import json
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

import gateway
from gateway import Bucket, put

REQUESTS = 4000


def test_lines_of_all_workers_are_whole_and_the_last_ones_come_with_the_end(bucket: Bucket, tmp_path: Path) -> None:
    """Read the log from a pipe, as a container's is, and more slowly than it is written."""
    reading, writing = os.pipe()
    lines: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            lines.append(b"".join(iter(lambda: pipe.read(1000), b"")))

    reader = threading.Thread(target=read)
    reader.start()
    key = put(bucket, b"logged")
    try:
        with gateway.start(tmp_path, bucket.endpoint, writing, GATEWAY_CACHE_SECONDS="3600") as served:
            os.close(writing)
            url = f"{served.base_url}/{key}"

            def ask(number: int) -> None:
                with httpx2.Client(headers={"User-Agent": f"{number}-" + "x" * 100}) as client:
                    for _ in range(REQUESTS // 20):
                        assert client.get(url).status_code == 200

            with ThreadPoolExecutor(20) as pool:
                list(pool.map(ask, range(20)))
    finally:
        reader.join(30)
    (text,) = lines
    assert text.endswith(b"\n")
    found = Counter(json.loads(line)["server"] for line in text.splitlines())
    assert found == {"edge": REQUESTS, "origin": 1}
