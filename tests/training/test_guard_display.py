"""The guard's table: what it shows, where, and where not."""

import io

from rich.console import Console

from spillover.training.guard_display import GuardTable, guard_table
from tests.training.guarding import arguments


def shown(*, in_place, rows):
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=in_place)
    table = GuardTable({"refusal_drop": 1.0}, in_place=in_place, console=console)
    for step, value, alarm in rows:
        table.add(step, {"refusal_drop": value, "margin_drop": 0.5}, alarm=alarm)
    table.close()
    return text.getvalue()


def test_each_row_has_values_beside_thresholds_and_what_was_done():
    text = shown(in_place=False, rows=[(5, 0.25, None), (10, 1.5, "stopped")])
    assert "0.250 / 1.000" in text
    assert "good" in text
    assert "1.500 / 1.000" in text
    assert "alarm: stopped" in text
    assert "0.500" in text


def test_a_table_in_place_keeps_the_last_dozen_rows():
    text = shown(in_place=True, rows=[(step, 0.0, None) for step in range(30)])
    last = text[text.rfind("refusal drop") :]
    assert "29" in last
    assert " 17 " not in last
    assert " 18 " in last


def test_no_table_where_there_is_no_terminal_unless_asked_for(tmp_path):
    args = arguments(tmp_path)
    assert guard_table(args, {}, asked=None) is None
    assert guard_table(args, {}, asked=False) is None
    assert guard_table(args, {}, asked=True) is not None
