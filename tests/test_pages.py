"""Pages load nothing from elsewhere, give every image its words, lead to one another, and fit a phone."""

import base64
import json
import os
import shutil
import subprocess

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ferhelpers import claims, notebook, pages
from ferhelpers.store import Store

ALT = 'Seven faces, one of each class, "as they are" <drawn>'
CLAIMS = [
    {
        "claim": f"Claim {number} <of> the report",
        "verdict": verdict,
        "epochs": "100 of 100",
        "report says": "0.687 against 0.671",
        "this run": "0.701 against 0.655",
        "caution": "narrow",
        "evidence": "1 of 1 comparisons support it",
        "source": "7, Table 3",
    }
    for number, verdict in enumerate(claims.VERDICTS)
]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An output folder with the records of two notebooks, both executed, and the pages made of them."""
    root = tmp_path_factory.mktemp("site")
    for folder in ("source", "out/notebooks", "out/figures", "out/runs/cnn2-1f"):
        (root / folder).mkdir(parents=True)
    fig, axes = plt.subplots(figsize=(9, 3))
    axes.plot([1, 2])
    for name in ("faces", "six_sets", "faces_heat"):
        fig.savefig(root / f"out/figures/{name}.png", dpi=110)
    plt.close(fig)
    png = base64.b64encode((root / "out/figures/faces.png").read_bytes()).decode()
    wide = pd.DataFrame([[0.5] * 12], columns=[f"test set {number}" for number in range(12)])
    table = notebook.table_html(wide, "Table 1")
    titles = {"01_data": "The data & its faces", "02_distortions": "Five distortions", "03_baseline": "Never ran"}
    for name, title in titles.items():
        cells = [
            new_markdown_cell(f"# {title}"),
            new_markdown_cell(
                "**What is\nthere?**\n\nMore: [![Open in Colab](https://example.org/b.svg)](https://x.org)"
            ),
            new_markdown_cell("To [the next](02_distortions.ipynb) and [a later one](03_baseline.ipynb)"),
            new_code_cell("# On Colab only: install the project"),
            new_code_cell(
                "import numpy as np\n%pip list",
                outputs=[
                    new_output("stream", name="stderr", text="chatter of a library"),
                    new_output("stream", text="a long line " * 30 + "\n"),
                    new_output("display_data", {"image/png": png}, metadata={"image/png": {"alt": ALT}}),
                    new_output("display_data", {"text/html": table}),
                    new_output("display_data", {"text/html": notebook.render("claims.html.j2", claims=CLAIMS)}),
                ],
            ),
        ]
        nbformat.write(new_notebook(cells=cells), root / "source" / f"{name}.ipynb")
    shutil.copy(root / "source/01_data.ipynb", root / "out/notebooks/01_data.ipynb")
    environment = {
        "versions": {"python": "3.11", "keras": "3.15"},
        "backend": "tensorflow",
        "precision": "float32",
        "processor": "A processor",
        "cores": 2,
        "gpus": [],
    }
    record = {
        "notebook": "01_data",
        "seconds": 75.0,
        "data": {"banner": "BUILT-IN DRAWN FACES", "drawn": True},
        "environment": environment,
        "parameters": {"OUTPUT": "/home/me", "SEED": 0},
        "figures": [{"name": "faces", "alt": ALT, "main": True}, {"name": "other", "alt": "no", "main": False}],
        "tables": [{"name": "table_1", "caption": "Table 1"}],
        "answer": ["An early answer."],
        "claims": CLAIMS[:1],
        "runs": [str(root / "out/runs" / name) for name in ("cnn2-1f", "unfinished")],
    }
    other = {
        **record,
        "notebook": "02_distortions",
        "figures": [{"name": name, "alt": ALT, "main": True} for name in ("faces_heat", "six_sets")],
        "parameters": {"SEED": 1},
        "answer": ["Two blocks & no more.", "A second sentence."],
        "claims": CLAIMS,
    }
    for content in (record, other):
        (root / "out/notebooks" / f"{content['notebook']}.json").write_text(json.dumps(content))
    config = {
        "experiment": {"epochs": 55, "seed": 0},
        "environment": environment,
        "parameters": 261_000,
        "key": "1f",
        "chosen": [],
        "data": {"fingerprint": "0123456789abcdef"},
        "command": "python run_all.py --profile full",
    }
    (root / "out/runs/cnn2-1f/config.json").write_text(json.dumps(config))
    Store.seal(root / "out/runs/cnn2-1f")
    (root / "out/runs/unfinished").mkdir()
    (root / "out/runs/unfinished/config.json").write_text("half a fi")
    pages.notebook_page(root / "out/notebooks/01_data.ipynb", root / "out/01_data.html", "", "02_distortions")
    pages.index_page(
        root / "out", [root / "source" / f"{name}.ipynb" for name in titles], "python run_all.py --output '<x>'"
    )
    return root / "out"


def parsed(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("name", ["index.html", "01_data.html"])
def test_pages_load_nothing_from_elsewhere_and_every_image_has_its_words(site, name):
    page = parsed(site / name)
    assert {image["alt"] for image in page.find_all("img")} == {ALT}
    assert not page.find_all(["script", "iframe", "object", "embed"])
    sources = [tag["src"] for tag in page.find_all(src=True)] + [tag["href"] for tag in page.find_all("link")]
    assert all(source.startswith("data:") or (site / source).is_file() for source in sources)
    assert "url(" not in "".join(style.text for style in page.find_all("style")) and "@import" not in str(page)
    assert (site / name).stat().st_size < 3_000_000


def test_pages_lead_to_one_another(site):
    page = parsed(site / "01_data.html")
    assert [link["href"] for link in page.nav.find_all("a")] == ["index.html", "02_distortions.html"]
    assert page.find("a", string="the next")["href"] == "02_distortions.html"
    assert "a later one" in page.text and page.find("a", string="a later one") is None  # it has no page
    page = parsed(site / "index.html")
    entries = page.select("ol.notebooks li")
    titles = ["The data & its faces", "Five distortions", "Never ran"]
    assert [entry.find(["a", "span"]).text for entry in entries] == titles
    assert [[link["href"] for link in entry.find_all("a")] for entry in entries] == [["01_data.html"], [], []]
    assert "What is there?" in entries[0].text and "1 min 15 s" in entries[0].text
    assert "not part of this run" in entries[2].text


def test_pages_of_drawn_faces_say_so(site):
    for name in ("index.html", "01_data.html"):
        assert parsed(site / name).select_one("p.banner.drawn").text == "BUILT-IN DRAWN FACES"


def test_what_no_reader_needs_stays_in_the_notebook_and_a_remote_badge_becomes_a_plain_link(site):
    page = parsed(site / "01_data.html")
    assert "a long line" in page.text and "chatter" not in str(page) and "On Colab only" not in str(page)
    assert page.find("a", href="https://x.org").text == "Open in Colab"


def test_the_first_page_goes_from_the_question_to_the_settings(site):
    page = parsed(site / "index.html")
    parts = page.select("p.question, ul.answer, figure, h2, ol.notebooks, .claims, dl.facts")
    assert [part.text if part.name == "h2" else part.get("class", [part.name])[0] for part in parts] == [
        *("question", "answer", "figure", "figure", "figure", "The notebooks", "notebooks"),
        *("The report's claims", "claims", "Settings", "facts"),
    ]
    assert [image["src"] for image in page.find_all("img")] == [
        f"figures/{name}.png" for name in ("six_sets", "faces_heat", "faces")
    ]
    answer = [item.text for item in page.select("ul.answer li")]
    assert answer == ["An early answer.", "Two blocks & no more.", "A second sentence."]
    assert page.select_one("p.question").text.endswith("?")


def test_the_settings_are_folded_and_no_table_is_repeated(site):
    page = parsed(site / "index.html")
    [table] = page.find_all("table")
    assert table.caption.text == "The trained networks that the numbers come from"
    settings = page.select_one("dl.facts").parent
    assert settings.name == "details" and table in settings.find_all("table") and not settings.has_attr("open")
    facts = ("BUILT-IN DRAWN FACES", "A processor, 2 cores, no GPU", "float32, tensorflow backend", "keras 3.15")
    run = ("cnn2-1f", "261,000", "0123456789ab", "run_all.py --profile full")
    for words in (*facts, "SEED 0 | 1", *run, "python run_all.py --output '<x>'"):
        assert words in settings.text
    assert "/home/me" not in page.text


@pytest.mark.parametrize("name", ["index.html", "01_data.html"])
def test_a_claim_is_a_line_with_its_verdict_in_words_and_its_evidence_folded(site, name):
    lines = parsed(site / name).select(".claims details")
    verdicts = ["supported", "contradicted", "undecided", "trained otherwise", "not run"]
    assert [line.b.text for line in lines] == verdicts
    assert len({line.b["style"] for line in lines}) == 4  # the last two are no verdicts, and alike
    line = "Claim 0 <of> the report supported report: 0.687 against 0.671 here: 0.701 against 0.655 caution: narrow"
    assert " ".join(lines[0].summary.text.split()) == line
    evidence = ["1 of 1 comparisons support it.", "Report: 7, Table 3. Epochs: 100 of 100."]
    assert [p.text for p in lines[0].find_all("p")] == evidence
    assert not lines[0].has_attr("open")


def test_a_second_verdict_is_shown_in_its_colour_where_there_is_one():
    rows = [{**CLAIMS[4], "short schedule": f"{claims.CONTRADICTED} (3 seeds)"}, {**CLAIMS[4], "short schedule": ""}]
    lines = BeautifulSoup(notebook.render("claims.html.j2", claims=rows), "html.parser").select("details")
    assert [[word.text for word in line.find_all("b")] for line in lines] == [["contradicted (3 seeds)"], ["not run"]]
    assert "background: #f9d5d0" in lines[0].b["style"]
    assert "short schedule: contradicted" in " ".join(lines[0].text.split()) and "short" not in lines[1].text


def test_a_run_that_can_judge_nothing_says_so_in_one_line():
    rows = [CLAIMS[3], CLAIMS[4]]  # trained otherwise, not run
    page = BeautifulSoup(notebook.render("claims.html.j2", claims=rows), "html.parser")
    assert page.text.strip().startswith("This run can judge none of the report's 2 claims")
    assert not page.select("details")


def test_a_run_without_an_answer_says_so(tmp_path):
    page = parsed(pages.index_page(tmp_path, [], "python run_all.py"))
    assert "This run has no answer" in page.text and not page.select("ul.answer, figure, .claims")
    assert [title.text for title in page.find_all("h2")] == ["The notebooks", "Settings"]


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_no_console_message_and_no_sideways_scrolling_on_a_phone(site, tmp_path):
    """Both pages in frames of a phone's width, offline; a script in the frame around them reports their widths."""
    frames = "".join(
        f'<iframe src="{(site / name).as_uri()}" width="390"></iframe>' for name in ("index.html", "01_data.html")
    )
    script = """onload = () => {
        const roots = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument.documentElement);
        console.log("too wide by " + roots.map(root => root.scrollWidth - root.clientWidth));
    }"""
    (tmp_path / "phone.html").write_text(f'<link rel="icon" href="data:,">{frames}<script>{script}</script>')
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--no-first-run", f"--user-data-dir={tmp_path}/profile"),
        *(f"--disable-{what}" for what in ("gpu", "quic", "component-update", "background-networking", "sync")),
        *("--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"),
        *("--virtual-time-budget=5000", "--dump-dom"),
        (tmp_path / "phone.html").as_uri(),
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)}
    )
    messages = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    assert len(messages) == 1 and '"too wide by 0,0"' in messages[0], result.stderr


def test_settings_of_stored_results_are_only_asked_for():
    record = {
        "data": {"banner": "FER-2013"},
        "environment": {"versions": {}},
        "parameters": {"EPOCHS": 100, "TRAIN": "", "RESULTS": ""},
    }
    stored = {**record, "parameters": {"EPOCHS": 100, "RESULTS": "results"}}
    assert pages._facts([record]) == [("Data", "FER-2013"), ("Settings", "EPOCHS 100")]
    assert pages._facts([stored]) == [("Data", "FER-2013"), ("Asked for", "EPOCHS 100")]
