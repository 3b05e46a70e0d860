"""Figures and numbers that a page lets its reader save."""

import base64
import csv
import io
import re

from spillover.report.downloads import csv_text, save_links
from spillover.report.figure_tables import figure_tables
from spillover.report.figures import all_figures
from spillover.report.page import render_page
from tests.report.studies import study

EVIL = "</a><script>alert(1)</script>\u202e"


def saved_files(markup):
    found = re.findall(r'<a download="([^"]*)" href="data:[^;]*;base64,([^"]*)"', str(markup))
    return {name: base64.b64decode(text).decode() for name, text in found}


def test_a_csv_comes_back_as_it_was_whatever_stands_in_it():
    rows = [{"a": 'x,"y"\nz', "b": 1.5}, {"a": None, "b": -2}]
    read = list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))
    assert read == [{"a": 'x,"y"\nz', "b": "1.5"}, {"a": "", "b": "-2"}]


def test_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_are_not():
    assert csv_text([{"a": "=HYPERLINK(1)", "b": -1}]) == "a,b\r\n'=HYPERLINK(1),-1\r\n"


def test_links_hold_the_files_and_nothing_can_leave_them():
    links = save_links(EVIL, "<svg>\ud800</svg>", [{"a": EVIL}])
    assert "<script" not in links
    assert "\u202e" not in links
    files = list(saved_files(links).values())
    assert files[0].endswith("<svg>\\ud800</svg>\n")
    assert files[1].startswith("a\r\n")


def test_a_figure_without_numbers_has_no_link_to_any():
    assert list(saved_files(save_links("f", "<svg/>"))) == ["f.svg"]


def test_every_figure_of_a_study_can_be_saved_with_its_numbers():
    inputs = study()
    tables = figure_tables(inputs)
    assert set(all_figures(inputs)) <= set(tables)
    files = saved_files(render_page(inputs))
    for name, svg in all_figures(inputs).items():
        assert svg in files[f"{name}.svg"]
        assert files[f"{name}.csv"].count("\r\n") == len(tables[name]) + 1


def test_the_numbers_of_a_figure_are_those_of_the_study():
    rows = figure_tables(study())["change-safety"]
    assert {row["concept"]: row["delta"] for row in rows if row["after"].startswith("unl")} == {
        "bias": -0.5,
        "medical": -0.4,
    }
