"""A turn's trace as a picture: each span is a bar, from its start to its end.

``python docs/_ext/trace_drawing.py`` makes a turn against the emulator, and writes ``docs/how-to/trace.svg`` of the
spans that were exported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from toolhouse_async import AsyncToolhouse, PollingPolicy
from toolhouse_async.otel import Tracing
from toolhouse_async.testing import WorkersEmulator

PICTURE: Final = Path(__file__).parents[1] / "how-to/trace.svg"
SECONDS: Final = 4.0
"""How long the worker's job takes."""
WIDTH: Final = 860
NAMES: Final = 230
"""Pixels of the column of names."""
ROW: Final = 28
BAR: Final = 14
LEAST: Final = 3
"""Pixels of the shortest bar."""
COLOURS: Final = {"invoke_agent": "#0a4bff", "execute_tool": "#8250df", "failed": "#cf222e", "": "#1a7f37"}
STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
line { stroke: #8c959f; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
"""


async def analyst(ctx: Any) -> AsyncIterator[Any]:
    """A worker that uses a tool, and then analyses in a background job."""
    if ctx.job_result is not None:
        yield ctx.text("Done: 344 rows, 3 outliers.")
        return
    yield ctx.text("I will work through it.")
    call = ctx.tool_call("code_interpreter", {"code": "describe('data.csv')"})
    yield call
    await asyncio.sleep(SECONDS / 4)
    yield ctx.tool_result(call, "started")
    yield ctx.background(asyncio.sleep, SECONDS, "described")


async def make_trace() -> list[ReadableSpan]:
    """The spans of one turn of that worker, which is refused at first."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    emulator = WorkersEmulator()
    emulator.worker("csv-analyst")(analyst)
    emulator.faults.add(method="POST", status=429, headers={"Retry-After": "1"})
    polling = PollingPolicy(min_interval=1, max_interval=1.5, jitter=0)
    async with emulator.serve() as server:
        options: dict[str, Any] = {"polling": polling, "observers": [Tracing(provider)]}
        async with AsyncToolhouse("", base_url=server.url, **options) as toolhouse:
            await toolhouse.run("csv-analyst", "Analyze this CSV")
    return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


def draw(spans: Sequence[ReadableSpan]) -> str:
    """Return the spans of one trace as an SVG picture, the root first and the others as they begin."""
    began = min(span.start_time or 0 for span in spans)
    whole = max(span.end_time or 0 for span in spans) - began
    scale = (WIDTH - NAMES - LEAST) / whole
    height = ROW * (len(spans) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="The spans of a turn, each from its start to its end">',
        f"<style>{STYLE}</style>",
    ]
    for number, span in enumerate(spans):
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        x = NAMES + ((span.start_time or 0) - began) * scale
        width = max(LEAST, seconds * 1e9 * scale)
        top = ROW * number + (ROW - BAR) / 2
        status = (span.attributes or {}).get("http.response.status_code", "")
        words = f"{span.name} {status}".strip()
        indent = 16 if span.parent else 0
        parts.append(
            f"<g data-span={quoteattr(span.name)}><title>{escape(words)}: {seconds:.3f} s</title>"
            f'<text x="{indent}" y="{top + BAR - 2}">{escape(words)}</text>'
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{_colour(span)}"/></g>'
        )
    y = ROW * len(spans) + 4
    parts.append(f'<line x1="{NAMES}" x2="{WIDTH}" y1="{y}" y2="{y}"/>')
    parts.append(f'<text x="{NAMES}" y="{y + 17}">0 s</text>')
    parts.append(f'<text x="{WIDTH}" y="{y + 17}" text-anchor="end">{whole / 1e9:.1f} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def _colour(span: ReadableSpan) -> str:
    if not span.status.is_ok:
        return COLOURS["failed"]
    return COLOURS.get(span.name.partition(" ")[0], COLOURS[""])


if __name__ == "__main__":
    PICTURE.write_text(draw(asyncio.run(make_trace())), "utf-8")
