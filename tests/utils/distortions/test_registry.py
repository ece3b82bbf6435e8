from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from models.errors import UserError
from utils.distortions import DISTORTIONS, GROUPS, degrade, get_distortion, get_group, sample_composition

LEVEL_PROBABILITIES = np.exp(-(np.arange(5) ** 2) / (2 * 2.5**2))
LEVEL_PROBABILITIES /= LEVEL_PROBABILITIES.sum()
DRAWS = 20_000
UNLIKELY = 1e-4  # significance level; the draws are seeded, so the result is the same in every run


@pytest.fixture(scope="module")
def compositions() -> list[list[tuple[str, float]]]:
    generator = torch.Generator().manual_seed(0)
    return [sample_composition(generator) for _ in range(DRAWS)]


def test_numbers_types_and_levels_have_the_stated_probabilities(compositions: list) -> None:
    sizes = Counter(map(len, compositions))
    assert set(sizes) == {1, 2, 3, 4} and chisquare(list(sizes.values())).pvalue > UNLIKELY
    drawn = [pair for composition in compositions for pair in composition]
    types = Counter(name for name, _ in drawn)
    for group, size in zip(GROUPS, (3, 4, 2, 4, 3, 5, 3), strict=True):
        of_group = [types[d.name] for d in get_group(group)]
        assert len(of_group) == size and chisquare(of_group).pvalue > UNLIKELY
    levels = np.bincount([DISTORTIONS[name].levels.index(level) for name, level in drawn])
    assert chisquare(levels, len(drawn) * LEVEL_PROBABILITIES).pvalue > UNLIKELY


def test_groups_are_distinct_uniform_and_in_any_order(compositions: list) -> None:
    groups = [[DISTORTIONS[name].group for name, _ in composition] for composition in compositions]
    assert all(len(set(g)) == len(g) for g in groups)
    for position in range(4):
        counts = Counter(g[position] for g in groups if len(g) > position)
        assert chisquare([counts[group] for group in GROUPS]).pvalue > UNLIKELY
    pairs = Counter(tuple(g[:2]) for g in groups if len(g) > 1)
    assert len(pairs) == 42
    assert chisquare(list(pairs.values())).pvalue > UNLIKELY


def test_max_distortions_and_num_levels_bound_the_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_composition(generator, max_distortions=7, num_levels=2) for _ in range(300)]
    assert {len(composition) for composition in drawn} == set(range(1, 8))
    assert all(DISTORTIONS[name].levels.index(level) < 2 for composition in drawn for name, level in composition)


def test_a_composition_is_applied_in_its_order_and_clipped_after_each() -> None:
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(1))
    composition = [("meanshift", 0.15), ("nonlincontrchange", 0.1), ("meanshift", -0.15)]
    expected = ((image + 0.15).clamp(0, 1) - 0.5) * 0.2 + 0.5
    expected = (expected - 0.15).clamp(0, 1)
    torch.testing.assert_close(degrade(image, composition, torch.Generator()), expected)


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (lambda: get_distortion("gaussblur"), "gaublur"),
        (lambda: DISTORTIONS["jpeg"](torch.zeros(3, 32, 32), 50, torch.Generator()), "43, 36, 24, 7, 4"),
        (lambda: sample_composition(torch.Generator(), max_distortions=8), "1 to 7"),
        (lambda: sample_composition(torch.Generator(), num_levels=0), "1 to 5"),
        (lambda: DISTORTIONS["gaublur"](torch.zeros(32, 32, 3), 1, torch.Generator()), "expected"),
        (lambda: DISTORTIONS["gaublur"](torch.zeros(3, 32, 32).byte(), 1, torch.Generator()), "expected"),
    ],
)
def test_an_unknown_name_or_value_lists_the_allowed_ones(call: Callable, allowed: str) -> None:
    with pytest.raises((UserError, ValueError), match=allowed):
        call()
