"""The regions that are read again cover what has changed, and divide no line."""

import numpy as np

from longview.core.timeline import Box
from longview.model.screen_text.regions import changed_regions, touches

ROWS, COLUMNS = 45, 80


def changes(*places: tuple[int, int]) -> np.ndarray:
    blocks = np.zeros((ROWS, COLUMNS), bool)
    for row, column in places:
        blocks[row, column] = True
    return blocks


def test_clock_is_read_without_the_rest() -> None:
    title, clock = Box(0.1, 0.1, 0.9, 0.2), Box(0.85, 0.9, 0.95, 0.95)
    regions = changed_regions(changes((41, 72)), [title, clock])
    assert regions is not None and len(regions) == 1
    (region,) = regions
    assert region.left <= clock.left and region.right >= clock.right and region.top <= clock.top and region.bottom >= clock.bottom
    assert not touches(title, regions) and touches(clock, regions)
    assert (region.right - region.left) * (region.bottom - region.top) < 0.1


def test_far_changes_are_regions_of_their_own_and_near_ones_are_joined() -> None:
    regions = changed_regions(changes((3, 3), (40, 75)), [])
    assert regions is not None and len(regions) == 2
    # A line that both touch joins them.
    assert len(changed_regions(changes((20, 3), (20, 75)), [Box(0.0, 0.42, 1.0, 0.5)]) or ()) == 1


def test_change_of_most_of_the_frame_is_read_as_a_whole() -> None:
    assert changed_regions(np.ones((ROWS, COLUMNS), bool), []) is None
    assert changed_regions(changes(*[(5 * row, 9 * column) for row in range(8) for column in range(8)]), []) is None
