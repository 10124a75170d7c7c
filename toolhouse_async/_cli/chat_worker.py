"""The worker of the chat in the browser: it talks, shows Markdown, and analyses penguins in background jobs."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from .csv_analyst import csv_analyst
from .figures import histogram_lines
from .terminal import UNICODE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from ..testing import WorkerContext, WorkerEvent

__all__ = ["SUGGESTIONS", "chat_worker"]

SUGGESTIONS: Final = ("Analyze the penguins and plot a histogram", "What can you do?", "Show me Markdown")

_PACE: Final = 0.02
"""Seconds between words, so that they can be read as they come."""
_WIDTH: Final = 42
"""Characters of a line, so that a histogram fits a phone."""
_ABILITIES: Final = """I am a worker of the embedded Workers API: everything you see happens on your machine.

- Ask me to **analyze** the penguins. I read a file, then compute in *background jobs*: the page waits for them, and the
  conversation goes on by itself.
- Ask me to show **Markdown**.
- Anything else I say back to you.

Reload the page or open a second tab while I answer: no word is lost or said twice.
"""
_MARKDOWN: Final = """# What a worker may write

Words can be **strong**, *stressed*, ~~struck~~ or `code`, and point [somewhere](https://docs.toolhouse.ai).

1. Lists are numbered,
2. or not:
   - one
   - another

> Somebody else said this.

| Species   | Penguins | Mass in g |
|-----------|---------:|----------:|
| Adelie    |      152 |     3,701 |
| Chinstrap |       68 |     3,733 |
| Gentoo    |      124 |     5,076 |

```python
async for event in turn:
    print(event)
```

<script>alert("This is text, as is all that a worker writes.")</script>
"""


async def chat_worker(context: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """Answer a message of a chat; one about an analysis as ``csv-analyst`` does."""
    message = context.message or ""
    if context.job_result is not None or re.search("analy[sz]e|penguin|histogram", message, re.IGNORECASE):
        async with aclosing(cast("AsyncGenerator[WorkerEvent]", csv_analyst(context))) as events:
            async for event in events:
                yield event
        if histogram := _histogram(context.job_result):
            yield context.text(histogram)
        return
    if re.search("markdown", message, re.IGNORECASE):
        answer = _MARKDOWN
    elif not message or re.search(r"\b(what|help|hello|hi)\b", message, re.IGNORECASE):
        answer = _ABILITIES
    else:
        answer = f"You said: {message}"
    for word in re.findall(r"\s*\S+|\s+$", answer):
        yield context.text(word)
        await asyncio.sleep(_PACE)


def _histogram(job_result: Any) -> str:
    """The histogram that a job has brought, as a block of text; empty where it brought none."""
    histogram = job_result["content"].get("histogram") if isinstance(job_result, dict) else None
    if not histogram:
        return ""
    lines = [line.plain for line in histogram_lines(histogram, UNICODE, _WIDTH)]
    return "\n\n```text\n" + "\n".join(lines) + "\n```\n"
