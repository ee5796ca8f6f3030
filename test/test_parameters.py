"""The parameter table: checks, and the files that are made from it."""
from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from rgbt_tracker_ros.nodes.parameters import (
    TABLE,
    ParameterError,
    Parameters,
    check,
    render_markdown,
    render_yaml,
)
from rgbt_tracker_ros.tracking.config import TrackerConfig

CONFIG = Path(__file__).parents[1] / 'config' / 'tracker.yaml'


def test_config_file_is_the_table() -> None:
    assert CONFIG.read_text() == render_yaml(), (
        'run: python -m rgbt_tracker_ros.nodes.parameters yaml > config/tracker.yaml')


def test_config_file_holds_every_parameter_at_its_default() -> None:
    values = yaml.safe_load(CONFIG.read_text())['/**']['rgbt_tracker']['ros__parameters']
    assert values.keys() == TABLE.keys()
    assert Parameters.build(values) == Parameters()


def test_every_line_of_the_config_file_is_explained() -> None:
    lines = CONFIG.read_text().splitlines()
    for before, line in pairwise(lines):
        if line.strip().split(':')[0] in TABLE and not line.strip().startswith('#'):
            assert before.strip().startswith('#')


def test_markdown_has_a_row_for_each() -> None:
    rows = render_markdown().splitlines()[2:]
    assert [row.split('`')[1] for row in rows] == list(TABLE)
    assert all(row.count('|') == 6 for row in rows)


def test_the_trackers_own_settings_are_all_there_with_its_defaults() -> None:
    assert Parameters().tracker_config() == TrackerConfig()
    for f in fields(TrackerConfig):
        assert f.name in TABLE, f'add {f.name} to Parameters'
        assert TABLE[f.name].default == f.default


@pytest.mark.parametrize('name', TABLE)
def test_defaults_are_allowed_and_described(name: str) -> None:
    spec = TABLE[name]
    assert check(name, spec.default) == spec.default
    assert spec.text and '|' not in spec.text
    number = isinstance(spec.default, (int, float)) and not isinstance(spec.default, bool)
    assert number == (spec.low is not None)


@pytest.mark.parametrize(('name', 'given', 'made'), [
    ('pair_slop', 0, 0.0), ('pair_slop', 1, 1.0), ('initial_box', None, ()),
    ('initial_box', 'null', ()), ('rgb_transport', '', ''),
    ('initial_box', [1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)), ('homography', (), ()),
    ('threads', 2, 2), ('autostart', False, False), ('device', 'cuda:1', 'cuda:1'),
])
def test_accepted(name: str, given: object, made: object) -> None:
    assert check(name, given) == made
    assert type(check(name, given)) is type(made)


@pytest.mark.parametrize(('name', 'given', 'reason'), [
    ('pair_slop', -0.1, 'pair_slop is -0.1; it must be within 0 to 1'),
    ('pair_slop', math.nan, 'pair_slop is nan; it must be finite'),
    ('pair_slop', '1', "pair_slop is '1'; it must be a number"),
    ('pair_slop', True, 'pair_slop is True; it must be a number'),
    ('threads', 1.5, 'threads is 1.5; it must be a whole number'),
    ('threads', 1000, 'threads is 1000; it must be within 0 to 256'),
    ('autostart', 1, 'autostart is 1; it must be true or false'),
    ('model', 3, 'model is 3; it must be a string'),
    ('image_qos', 'best', "image_qos is 'best'; it must be one of auto, reliable, sensor_data"),
    ('rgb_transport', 'theora', "'theora'; it must be one of raw, compressed, or empty"),
    ('initial_box', [1.0, 2.0], 'initial_box has 2 numbers; it must have 4 numbers, or empty'),
    ('initial_box', [1.0, 2.0, math.inf, 4.0], 'it must be finite'),
    ('initial_box', 7, 'initial_box is 7; it must be a list of numbers'),
    ('initial_box', ['a', 'b'], 'it must be a list of numbers'),
])
def test_refused(name: str, given: object, reason: str) -> None:
    with pytest.raises(ParameterError) as error:
        check(name, given)
    assert reason in str(error.value)


@pytest.mark.parametrize(('values', 'reason'), [
    ({'use_rgb': False, 'use_thermal': False}, 'both false'),
    ({'lost_threshold': 0.9}, 'lost_threshold is 0.9'),
    ({'thermal_range': 'fixed'}, 'thermal_max'),
    ({'pairing': 'approximate', 'pair_slop': 0.0}, 'never matches at 0'),
])
def test_values_that_exclude_each_other(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        Parameters.build(values)
