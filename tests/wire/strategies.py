"""What Hypothesis makes for these tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int, leaf: object = None) -> Any:
    """Objects and lists in turn, ``depth`` levels of them."""
    value: Any = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


@st.composite
def chunkings(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` cut anywhere, into any number of chunks, empty ones included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=30)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
