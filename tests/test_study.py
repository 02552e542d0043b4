"""The whole series at the demo profile, as `make run` runs it: every notebook, page, figure and table."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NETWORKS = 13 + 3  # the report's eleven, one without normalisation and one wired as listed; three diets


def run(*arguments):
    command = [sys.executable, "run_all.py", "--data", "builtin", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    done = run("--output", str(output))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return output


def test_every_network_was_trained_once(demo):
    configs = [json.loads(path.read_text()) for path in demo.glob("runs/*/config.json")]
    assert len(configs) == len({config["key"] for config in configs}) == NETWORKS


def test_the_baseline_is_neither_hopeless_nor_perfect(demo):
    overview = pd.read_csv(demo / "tables" / "overview.csv", index_col="network")
    assert 0.6 <= float(overview.loc["baseline", "accuracy: this run"]) <= 0.92


def test_every_table_of_the_report_is_beside_this_run(demo):
    for table in range(1, 21):
        frame = pd.read_csv(demo / "tables" / f"table_{table:02d}.csv")
        assert not frame.isna().any(axis=None) and (frame != "not run").all(axis=None)


def test_drawn_faces_judge_no_claim(demo):
    claims = json.loads((demo / "notebooks" / "08_verdicts.json").read_text())["claims"]
    assert len(claims) >= 23 and {claim["verdict"] for claim in claims} == {"trained otherwise"}


@pytest.mark.parametrize("page", ["index", *(path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb")))])
def test_pages_are_small_described_and_honest_about_their_data(demo, page):
    html = (demo / f"{page}.html").read_text()
    pictures = re.findall(r"<img\b[^>]*>", html)
    linked = sum((demo / name).stat().st_size for name in re.findall(r'src="(figures/[^"]+)"', html))
    assert len(html) + linked <= 3_000_000
    assert pictures and all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)
    assert ("not FER-2013" in html) == (page != "10_your_photo")
    assert "<script" not in html


def test_a_second_run_trains_nothing(demo):
    done = run("--output", str(demo), "--only", "06", "--no-html")
    assert done.returncode == 0 and "06_final_model  done" in done.stdout
    assert not re.search(r"epoch \d+/\d+", done.stdout)  # the line of a training
    assert len(list(demo.glob("runs/*/config.json"))) == NETWORKS
