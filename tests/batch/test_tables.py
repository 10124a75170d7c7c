"""Tables of pandas as the rows of a batch."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async._batch.rows import RECORDS, Questions


def test_what_errors_name_for_a_table_of_pandas_serves_one_with_missing_values() -> None:
    frame = pd.DataFrame({"a": [1.5, math.nan], "b": ["x", None]})
    with pytest.raises(ConfigurationError) as caught:
        Questions(None, "{a}").ask(frame.to_dict("records")[1])
    assert str(caught.value).endswith(f"; of a table of pandas pass {RECORDS}")
    rows = eval(RECORDS, {"frame": frame})
    assert [Questions(None, "{a} {b}").ask(row).message for row in rows] == ["1.5 x", " "]
