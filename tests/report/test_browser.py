"""Pages with hostile output in a real browser: nothing runs, nothing hides, nothing is slow."""

import re
import resource
import shutil
import subprocess

import pytest
from PIL import Image

from spillover.report.audit_page import render_audit
from spillover.report.inputs import SampleRow
from spillover.report.page import render_page
from spillover.report.run_comparison_page import render_comparison
from tests.report import test_run_comparison as runs
from tests.report.studies import study
from tests.report.test_audit_page import HOSTILE, Scripts, findings, row

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="needs Chromium, which is not installed here")

MORE = (
    "<svg onload=\"document.title='taken'\">",
    "<a href=\"javascript:document.title='taken'\">x</a>",
    "<style>*{display:none}</style>",
    "<base href=https://example.com>",
    "{{ 7*7 }}{% raw %}",
    "]]></script><script>document.title='taken'</script>",
    "&lt;script&gt;",
    "\u2067\u202eabc\u2069",
    "\x00\x1b[2J",
    "e\u0301" * 5000,
)
EVIL = (*HOSTILE, *MORE)


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    return tmp_path_factory.mktemp("profile")


@pytest.fixture
def browse(tmp_path, profile):
    """Return a function that opens a page without a window; gives what the browser prints."""

    def open_page(page, *options):
        file = tmp_path / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", "--disable-dev-shm-usage", "--no-first-run"]
        done = subprocess.run(
            [*command, *options, file.as_uri()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=True,
        )
        return done.stdout

    return open_page


def processor_seconds():
    """Return the processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def audit_page(n_rows):
    rows = [row(place, EVIL[place % len(EVIL)]) for place in range(n_rows)]
    return render_audit(findings(notes=EVIL[:3]), rows)


def assert_nothing_ran(dom, *, title):
    """Look for what hostile text would have left behind in the page as the browser has it."""
    assert f"<title>{title}" in dom
    seen = Scripts(dom)
    assert (seen.handlers, seen.images) == ([], 0)
    assert "<base" not in dom
    assert not any(mark in dom for mark in "\u202e\u2067")
    links = re.findall(r"<a\b[^>]*\bhref=\"([^\"]*)", dom)
    assert all(link.startswith(("#", "data:image/svg+xml;", "data:text/csv;")) for link in links)


def test_an_audit_of_hostile_output_shows_it_as_text(browse):
    dom = browse(audit_page(5 * len(EVIL)), "--dump-dom")
    assert_nothing_ran(dom, title="Alignment audit of models/tuned")
    assert dom.count('class="row"') == 20
    assert f"20 of {5 * len(EVIL)} shown" in dom
    assert "&lt;script&gt;document.title='taken'&lt;/script&gt;" in dom
    assert "[80000 more characters]" in dom
    assert "\\u202egnirts" in dom
    assert "half \\ud800 of a pair" in dom


def test_five_thousand_rows_take_the_browser_few_seconds(browse):
    rows = [row(place, f"Answer {place}. " + "word " * 60) for place in range(5000)]
    page = render_audit(findings(), rows)
    before = processor_seconds()
    browse("<p>Nothing else.", "--dump-dom")
    start = processor_seconds() - before
    dom = browse(page, "--dump-dom")
    assert "20 of 5000 shown" in dom
    # Processor time, as the machine may be busy; what an empty page takes is the start's.
    assert processor_seconds() - before - 2 * start < 5


def test_a_comparison_of_hostile_runs_shows_them_as_text(browse):
    answers = [runs.said(text) for text in EVIL]
    dom = browse(render_comparison(runs.comparison(notes=EVIL[:3]), answers), "--dump-dom")
    assert_nothing_ran(dom, title="two against one")
    assert dom.count('class="row"') == len(EVIL)
    assert '<select name="model">' in dom


def test_a_study_with_hostile_samples_shows_them_as_text(browse):
    samples = tuple(
        SampleRow(prompt_id=str(n), concept="bias", prompt=text, responses={"base": (text, text)})
        for n, text in enumerate(EVIL)
    )
    dom = browse(render_page(study(samples=samples, title=EVIL[0])), "--dump-dom")
    assert "<title>&lt;/script&gt;" in dom
    assert "<script" not in dom
    assert_nothing_ran(dom, title="&lt;/script&gt;")
    assert "a" * 100_000 in dom


@pytest.mark.parametrize(("scheme", "is_light"), [(1, True), (0, False)], ids=["light", "dark"])
def test_a_page_follows_the_readers_scheme(browse, tmp_path, scheme, is_light):
    picture = tmp_path / "page.png"
    browse(
        audit_page(5),
        f"--blink-settings=preferredColorScheme={scheme}",
        "--window-size=420,600",
        f"--screenshot={picture}",
    )
    with Image.open(picture) as opened:
        brightness = sum(opened.convert("RGB").getpixel((3, 3))) / 3
    assert (brightness > 240) if is_light else (brightness < 40)


def test_a_page_can_be_printed(browse, tmp_path):
    paper = tmp_path / "page.pdf"
    browse(audit_page(5), f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000
