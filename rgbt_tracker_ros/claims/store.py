"""Where the results of arms are kept, and how they are brought together."""
from __future__ import annotations

from collections.abc import Iterable
import json
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.claims.judge import Results

Table = dict[str, dict[int, dict[str, float]]]


def arm_folder(out: Path, arm: str, seed: int) -> Path:
    """Return the folder of an arm with a seed."""
    return out / arm / f'seed{seed}'


def read_result(folder: Path, key: str = '') -> dict[str, float] | None:
    """Return the figures of an arm that has come to its end, None where there are none, or not
    of this `key`.
    """
    try:
        result: dict[str, Any] = json.loads((folder / 'result.json').read_text())
        found = {str(k): float(v) for k, v in result['metrics'].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # torn, or foreign
        return None
    return found if key in ('', result.get('key')) else None


def collect(out: Path, arms: Iterable[str]) -> Table:
    """Return all results that a folder holds."""
    table: Table = {}
    for arm in arms:
        for folder in sorted((out / arm).glob('seed*')):
            number = folder.name.removeprefix('seed')
            if number.isdecimal() and (found := read_result(folder)) is not None:
                table.setdefault(arm, {})[int(number)] = found
    return table


def save_table(path: Path, results: Results) -> None:
    """Keep results as a small JSON file: 6 digits."""
    rounded = {arm: {str(seed): {k: float(f'{v:.6g}') for k, v in sorted(metrics.items())}
                     for seed, metrics in sorted(seeds.items())}
               for arm, seeds in sorted(results.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(json.dumps(rounded, indent=1) + '\n')
    part.replace(path)


def load_table(path: Path) -> Table:
    """Read what `save_table` wrote; empty where there is no file.

    :raises ValueError: it is something else.
    """
    if not path.is_file():
        return {}
    try:
        return {str(arm): {int(seed): {str(k): float(v) for k, v in metrics.items()}
                           for seed, metrics in seeds.items()}
                for arm, seeds in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} can't be read: {error}; delete it, and run rgbt claims "
                         'again') from error


def merged(*tables: Table) -> Table:
    """Return several tables as one; later ones count."""
    out: Table = {}
    for table in tables:
        for arm, seeds in table.items():
            out.setdefault(arm, {}).update(seeds)
    return out
