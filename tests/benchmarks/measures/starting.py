"""Importing the package and starting clients, each in a fresh process."""

from __future__ import annotations

from statistics import median

from ..machine import in_child, run_python
from ..report import Row
from ..rounds import Figures, ratio
from .measure import Setting

IMPORTS = {"the four dependencies": "aiohttp, anyio, orjson, attrs", "ours": "toolhouse_async"}
OPTIONAL = ("cattrs", "click", "psycopg", "pydantic", "pytest", "redis", "rich")
TIMED = """
import time
began = time.process_time()
import {modules}
taken = time.process_time() - began
import sys, orjson
print(orjson.dumps([taken * 1e3, [name for name in {optional} if name in sys.modules]]).decode())
"""


def importing(setting: Setting) -> list[Row]:
    """``import toolhouse_async`` beside importing what it needs; fresh interpreters, compiled files present."""
    figures: Figures = {name: [] for name in IMPORTS}
    extras: set[str] = set()
    for number in range(-1, setting.rounds * 2):
        for name, modules in IMPORTS.items():
            code = TIMED.format(modules=modules, optional=OPTIONAL)
            taken, loaded = run_python("-c", code)
            extras.update(loaded)
            if number >= 0:
                figures[name].append(taken)
    against = "the four dependencies"
    return [
        Row(
            "import: CPU", "ours", median(figures["ours"]), "ms", against, median(figures[against]),
            ratio(figures, "ours", against), 1.1,
        ),
        Row("import: extras loaded", "ours", len(extras), "modules", bar=0),
    ]  # fmt: skip


def clients(setting: Setting) -> list[Row]:
    """The first client of a process and the next ones; all of them over TLS."""
    starts = [in_child("start") for _ in range(setting.rounds)]
    return [
        Row("client start: TLS contexts built in 11 starts", "ours", max(s["contexts"] for s in starts), "", bar=1),
        Row("client start: built on the event loop", "ours", max(s["on_loop"] for s in starts), "", bar=0),
        Row("client start: longest step, first client", "ours", median(s["first"] for s in starts), "ms", bar=5.0),
        Row("client start: longest step, next ones", "ours", median(s["later"] for s in starts), "ms", bar=5.0),
    ]
