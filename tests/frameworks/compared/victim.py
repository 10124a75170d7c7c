"""A process that reads an answer and notes what it has seen, until it is killed."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path

from .program import Program


async def main(name: str, settings: str, url: str, note: str) -> None:
    """Read the answer, and write words and other things seen to a file behind each word."""
    import_module(f".with_{name.replace('-', '_')}", __package__)  # to load them all takes many times as long
    (kind,) = (each for each in Program.__subclasses__() if each.package == name)
    program = kind(**json.loads(settings))
    seen: dict[str, object] = {}
    words: list[str] = []
    place = Path(note)
    async with program.connect(url) as client:
        async for word in program.speak(client, seen):
            words.append(word)
            new = place.with_suffix(".new")
            new.write_text(json.dumps({"words": words, "seen": seen}), "utf-8")
            new.replace(place)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
