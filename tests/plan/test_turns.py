"""Cells take turns, so that small builds of many cells show all people and have held-out pictures."""

import pytest

from builder.plan.cells import cells_of, choose
from builder.plan.factorial import held_out
from builder.spec import table

SPEC = table.load()
CELLS = cells_of(SPEC, choose(SPEC, (), 1.0, None))


@pytest.mark.parametrize("sizes", [(2, 2, 2), (5, 2, 1), (5, 4, 3), (5, 4, 26)], ids=str)
@pytest.mark.parametrize("turn", range(10))
def test_the_first_ten_hold_out_the_picture_whose_turn_it_is_and_the_fifth_after_it(sizes, turn):
    assert held_out(sizes, turn)[0].tolist() == [turn, (turn + 5) % 10]


def test_ten_cells_hold_out_ten_different_places_of_their_first_ten_pictures():
    """So a build of one picture a cell has as many in every split as a large one."""
    for start in range(len(CELLS) - 10):
        cells = CELLS[start : start + 10]
        for split in ("validation", "test"):
            places = {index for cell in cells for index in range(10) if cell.split(index) == split}
            assert places == set(range(10))


def test_the_first_pictures_of_neighbouring_cells_show_different_people():
    """As many ethnicities as there are cells side by side, where no remainder decides."""
    for start in range(0, len(CELLS), len(SPEC.ethnicities)):
        cells = CELLS[start : start + len(SPEC.ethnicities)]
        assert len({cell.draw(0)[0] for cell in cells}) > len(cells) / 2
