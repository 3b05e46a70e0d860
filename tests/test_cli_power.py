"""`spillover power` as a user gives it."""

import pytest

from spillover.stats.power import Design, prompts_needed, smallest_effect

pytestmark = pytest.mark.usefixtures("wide_console")


@pytest.fixture
def power(command):
    """Return a function that gives the command; returns exit code, table cells and messages."""
    return lambda *arguments: command("power", *arguments)


def rows(output):
    """The cells of the tables' rows, by the first."""
    found = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]
    return {first: cells for first, *cells in found}


def test_the_smallest_drop_is_shown_for_more_and_fewer_prompts_too(power):
    code, output, _ = power("--n", 40, "--rate", 0.85)
    assert code == 0
    assert "Smallest drop from 0.85 that a study finds 80% of the time" in output
    assert list(rows(output)) == ["20", "40 (planned)", "80", "160"]
    designs = [Design(before=0.85, discordance=d) for d in (None, "independent", "least")]
    expected = [f"{smallest_effect(design, n=40):.2f}" for design in designs]
    assert rows(output)["40 (planned)"] == expected == ["0.30", "0.31", "0.19"]


def test_a_planned_effect_gets_the_prompts_that_it_needs(power):
    _, output, _ = power("--n", 40, "--rate", 0.85, "--effect", 0.15, "--paired")
    designs = [Design(before=0.85, discordance=d) for d in ("independent", "least")]
    expected = [str(prompts_needed(design, effect=0.15)) for design in designs]
    assert rows(output)["prompts for 80%"] == expected
    assert rows(output)["chance with 40"] == ["27%", "57%"]


def test_a_known_discordance_gives_one_column(power):
    _, output, _ = power(
        "--n", 40, "--rate", 0.85, "--discordance", 0.2, "--effect", 0.15, "--power", 0.9
    )
    design = Design(before=0.85, discordance=0.2)
    needed = prompts_needed(design, effect=0.15, target=0.9)
    assert rows(output)["prompts for 90%"] == [str(needed)]


def test_a_rise_from_nothing_and_what_cannot_be_found(power):
    _, output, _ = power("--n", 10, "--rate", 0, "--rise", "--paired", "--effect", 0.0005)
    assert "Smallest rise from 0 " in output
    assert rows(output)["5"] == ["none", "none"]
    # Six rises are needed; at 5 in 10000 they take some 15800 prompts.
    assert rows(output)["prompts for 80%"] == ["over 10000"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--n", 40, "--rate", 0.85, "--effect", 0.9), "room for a drop from 0 to 0.85"),
        (("--n", 40, "--rate", 0.1, "--discordance", 0.6), "give a smaller discordance"),
        (("--n", 90_000, "--rate", 0.5), "plans go from 1 to 10000 prompts"),
        (("--n", 40, "--rate", 0.5, "--effect", -0.1), "give the size of the change"),
        (("--n", 40, "--rate", 0.5, "--power", 1), "a chance in the open interval"),
    ],
)
def test_a_plan_that_cannot_be_ends_with_code_two_and_a_reason(power, arguments, message):
    code, output, errors = power(*arguments)
    assert (code, output) == (2, "")
    assert message in " ".join(errors.split())


def test_a_rate_out_of_range_is_refused_by_the_command_line(power):
    code, _, errors = power("--n", 40, "--rate", 85)
    assert code == 2
    assert "'--rate': Input should be less than or equal to 1" in errors
