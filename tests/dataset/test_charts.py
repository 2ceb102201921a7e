"""The charts show what was counted: the right number, at the right place, in the right size and colour."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from builder.dataset import charts
from builder.dataset.statistics import Statistics
from builder.spec import table
from tests.fixtures.builds import OWN_TABLE

PEOPLE = {("maori", "young"): 1000, ("maori", "aged"): 100, ("inuit", "young"): 400, ("inuit", "grown"): 700}
HEAT = [[1000, 0, 100], [400, 700, 0]]


@pytest.fixture
def spec(tmp_path_factory):
    """Two ethnicities, three age groups, and the tea before the banana."""
    head, banana, tea = OWN_TABLE.replace("aged = 50", "grown = 40\naged = 50").split("[[feature]]")
    path = tmp_path_factory.mktemp("table") / "table.toml"
    path.write_text("[[feature]]".join([head, tea, banana]))
    return table.load(path)


@pytest.fixture
def statistics():
    """Both sexes in equal parts; of the bananas some were given up."""
    people = {(sex, *key): count // 2 for key, count in PEOPLE.items() for sex in ("male", "female")}
    made = {("fruit", "banana", "train"): 1200, ("fruit", "banana", "test"): 300, ("drink", "tea", "train"): 700}
    return Statistics(made=Counter(made), people=Counter(people), unfilled=Counter(banana=50))


def texts(axes):
    return {(round(text.get_position()[0], 1), round(text.get_position()[1], 1)): text for text in axes.texts}


def test_the_heat_map_is_as_dark_as_there_are_pictures(spec, statistics):
    """Ethnicities are rows, age groups columns; white is none, the darkest the most."""
    (axes,) = charts._balance(spec, statistics).axes
    (heat,) = axes.images
    assert heat.get_array().tolist() == HEAT
    assert (heat.norm.vmin, heat.norm.vmax) == (0, 1000)
    light = heat.to_rgba(heat.get_array())[..., :3].sum(axis=2)
    assert (
        np.argsort(light, axis=None, kind="stable").tolist()
        == np.argsort(-np.array(HEAT), axis=None, kind="stable").tolist()
    )
    assert light.max() > 2.9 and light.min() < 1
    assert [label.get_text() for label in axes.get_yticklabels()] == ["maori", "inuit"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["young", "grown", "aged"]


def test_the_numbers_of_the_heat_map_stand_in_their_fields_and_can_be_read(spec, statistics):
    """They are white on what is dark, black elsewhere."""
    (axes,) = charts._balance(spec, statistics).axes
    numbers = texts(axes)
    for y, row in enumerate(HEAT):
        for x, count in enumerate(row):
            assert numbers[x, y].get_text() == f"{count:,}"
            assert numbers[x, y].get_color() == ("white" if count >= 700 else "black")


def test_a_feature_has_a_bar_of_its_pictures_and_behind_it_one_of_those_given_up(spec, statistics):
    """In the table's order, from top to bottom."""
    (axes,) = charts._counts(statistics.features(spec)).axes
    made, unfilled = axes.containers
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tea", "banana"] and axes.yaxis_inverted()
    assert [(bar.get_x(), bar.get_width()) for bar in made] == [(0, 700), (0, 1500)]
    assert [(bar.get_x(), bar.get_width()) for bar in unfilled] == [(700, 0), (1500, 50)]
    assert [text.get_text() for text in axes.texts] == ["700", "1,500"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["given up"]


def test_where_nothing_was_given_up_nothing_is_said_of_it(spec, statistics):
    statistics.unfilled.clear()
    (axes,) = charts._counts(statistics.features(spec)).axes
    assert len(axes.containers) == 1 and axes.get_legend() is None


def test_both_charts_are_files_that_hold_no_version(tmp_path, spec, statistics):
    """The same counts are the same bytes, whatever drew them."""
    charts.write(tmp_path, spec, statistics)
    assert {path.name for path in tmp_path.iterdir()} == {"counts.png", "balance.png"}
    for path in tmp_path.iterdir():
        with Image.open(path) as chart:
            assert chart.width > 200 and "Software" not in chart.info
