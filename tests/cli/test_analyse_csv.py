import json
import subprocess
import sys

import pytest

from tests.cli.support import wait_until, write_slow_file
from toolhouse_async._cli import analyse_csv
from toolhouse_async._cli.analysis import PENGUINS

PROGRAM = [sys.executable, "-P", "-m", "toolhouse_async._cli.analyse_csv"]


def test_it_prints_what_the_file_holds(capsys):
    assert analyse_csv.main([str(PENGUINS), "--column", "body_mass_g"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == 344
    assert report["histogram"]["column"] == "body_mass_g"
    assert report["file"]["bytes"] == PENGUINS.stat().st_size


def test_it_prints_how_sure_the_figures_are(capsys, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("size\n" + "".join(f"{i}.5\n" for i in range(20)))
    assert analyse_csv.main([str(path), "--intervals"]) == 0
    report = json.loads(capsys.readouterr().out)
    low, high = report["intervals"][0]["mean"]
    assert 5 < low < 10 < high < 15


@pytest.mark.parametrize(
    ("arguments", "message"), [(["nothing.csv"], "No such file"), ([PENGUINS, "--column", "x"], "no column")]
)
def test_a_file_that_cannot_be_analysed_gives_its_reason_and_status_2(capsys, arguments, message):
    assert analyse_csv.main(list(map(str, arguments))) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


def test_it_reports_progress_and_ends_when_its_parent_closes_the_pipe(tmp_path):
    path = write_slow_file(tmp_path / "slow.csv")
    with subprocess.Popen(
        [*PROGRAM, "--exit-with-parent", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        first = json.loads(process.stderr.readline())
        assert first["rows"] > 0
        assert 0 < first["share"] < 1
        process.stdin.close()
        wait_until(lambda: process.poll() is not None)
        assert process.returncode == 3
        assert process.stdout.read() == b""


def test_modules_where_the_user_stands_are_not_imported(tmp_path):
    (tmp_path / "csv.py").write_text("raise SystemExit('imported')")
    done = subprocess.run([*PROGRAM, PENGUINS], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["rows"] == 344
