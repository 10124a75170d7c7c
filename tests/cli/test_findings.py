import pytest

from toolhouse_async._cli.analysis.profile import profile, read_table
from toolhouse_async._cli.findings import overview


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "1 row is in. No cell is empty."),
        (b"a,b\n1,2\n3,4\n", "2 rows are in. No cell is empty. Half of a"),
        (b"a,b\n1,2\n3\n", "1 row has, on line 3, more or fewer cells than the header."),
        (b"a,b\n1,2\n\n3,4,5\n6\n", "2 rows have, the first on line 4, more or fewer cells than the header."),
        (b"a,b\n1,2\n3,4\n5;6\n", "1 row has, on line 4, more or fewer cells than the header."),
        (b"a,b,a\n1,2,3\n", "More than one column is called a, so I number them."),
        (b"a,b\ncaf\xe9,2\n", "It is not UTF-8: I read it as Windows-1252."),
    ],
)
def test_the_words_name_what_is_odd_and_where(tmp_path, content, words):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    assert words in overview(profile(read_table(path)))
