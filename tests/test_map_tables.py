"""Tables of pandas and polars as what ``map`` is given."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pytest

from toolhouse_async import AsyncToolhouse, ConfigurationError
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
async def test_a_column_of_a_table_is_taken_and_a_table_is_not(make: Any) -> None:
    frame = make({"id": [1, 2], "question": ["1 x", "1 y"]})
    emulator = WorkersEmulator()
    emulator.worker("a")(echo)
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        items = [item async for item in toolhouse.map("a", frame["question"], ordered=True)]
        assert [(item.message, item.error) for item in items] == [("1 x", None), ("1 y", None)]
        with pytest.raises(ConfigurationError, match="messages is a table"):
            toolhouse.map("a", frame)
        assert len(server.requests) == 2
