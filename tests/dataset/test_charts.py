"""The charts show what was counted: the right number, at the right place, in the right size and colour."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from builder.dataset import charts
from builder.dataset.statistics import Census

RECIPE = {
    "labels": {"ethnicity": ["maori", "inuit"], "age_group": ["young", "grown", "aged"]},
    "spec": {"features": [{"attribute": "drink", "name": "tea"}, {"attribute": "fruit", "name": "banana"}]},
}
PEOPLE = {("maori", "young"): 1000, ("maori", "aged"): 100, ("inuit", "young"): 400, ("inuit", "grown"): 700}
HEAT = [[1000, 0, 100], [400, 700, 0]]


@pytest.fixture
def census():
    """Both sexes in equal parts; of the bananas some were given up."""
    people = {(sex, *key): count // 2 for key, count in PEOPLE.items() for sex in ("male", "female")}
    made = {("fruit", "banana", "train"): 1200, ("fruit", "banana", "test"): 300, ("drink", "tea", "train"): 700}
    return Census(made=Counter(made), people=Counter(people), unfilled=Counter(banana=50))


def texts(axes):
    return {(round(text.get_position()[0], 1), round(text.get_position()[1], 1)): text for text in axes.texts}


def test_the_heat_map_is_as_dark_as_there_are_pictures(census):
    """Ethnicities are rows, age groups columns; white is none, the darkest the most."""
    (axes,) = charts._balance(RECIPE, census).axes
    (heat,) = axes.images
    assert heat.get_array().tolist() == HEAT
    assert (heat.norm.vmin, heat.norm.vmax) == (0, 1000)
    light = heat.to_rgba(heat.get_array())[..., :3].sum(axis=2)
    assert (
        np.argsort(light, axis=None, kind="stable").tolist()
        == np.argsort(-np.array(HEAT), axis=None, kind="stable").tolist()
    )
    assert light.max() > 2.9 and light.min() < 1
    assert [label.get_text() for label in axes.get_yticklabels()] == RECIPE["labels"]["ethnicity"]
    assert [label.get_text() for label in axes.get_xticklabels()] == RECIPE["labels"]["age_group"]


def test_the_numbers_of_the_heat_map_stand_in_their_fields_and_can_be_read(census):
    """They are white on what is dark, black elsewhere."""
    (axes,) = charts._balance(RECIPE, census).axes
    numbers = texts(axes)
    for y, row in enumerate(HEAT):
        for x, count in enumerate(row):
            assert numbers[x, y].get_text() == f"{count:,}"
            assert numbers[x, y].get_color() == ("white" if count >= 700 else "black")


def test_a_feature_has_a_bar_of_its_pictures_and_behind_it_one_of_those_given_up(census):
    """In the table's order, from top to bottom."""
    (axes,) = charts._counts(census.features(RECIPE)).axes
    made, unfilled = axes.containers
    assert [label.get_text() for label in axes.get_yticklabels()] == ["tea", "banana"] and axes.yaxis_inverted()
    assert [(bar.get_x(), bar.get_width()) for bar in made] == [(0, 700), (0, 1500)]
    assert [(bar.get_x(), bar.get_width()) for bar in unfilled] == [(700, 0), (1500, 50)]
    assert [text.get_text() for text in axes.texts] == ["700", "1,500"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["given up"]


def test_where_nothing_was_given_up_nothing_is_said_of_it(census):
    census.unfilled.clear()
    (axes,) = charts._counts(census.features(RECIPE)).axes
    assert len(axes.containers) == 1 and axes.get_legend() is None


def test_both_charts_are_files_that_hold_no_version(tmp_path, census):
    """The same counts are the same bytes, whatever drew them."""
    charts.write(tmp_path, RECIPE, census)
    assert {path.name for path in tmp_path.iterdir()} == {"counts.png", "balance.png"}
    for path in tmp_path.iterdir():
        with Image.open(path) as chart:
            assert chart.width > 200 and "Software" not in chart.info
