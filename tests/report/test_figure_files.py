"""Figures as files."""

from matplotlib.figure import Figure

from spillover.report.figure_files import render_figure


def make():
    figure = Figure(figsize=(2, 1))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    axes.set_title("cost $x$ of <b>")
    return figure


def test_the_same_figure_is_the_same_file_every_time():
    one, other = (render_figure(make, name="a", label="l") for _ in range(2))
    assert one == other
    assert one.pdf.startswith(b"%PDF-")


def test_text_stays_text_and_is_never_read_as_mathematics_or_markup():
    svg = render_figure(make, name="a", label='says "<hi>"').svg
    assert "cost $x$ of &lt;b&gt;" in svg
    assert 'aria-label="says &quot;&lt;hi&gt;&quot;"' in svg


def test_ids_of_two_figures_do_not_meet():
    one, other = (render_figure(make, name=name, label="l").svg for name in ("a", "b"))
    assert 'id="a-figure_1"' in one
    assert 'id="b-figure_1"' in other
