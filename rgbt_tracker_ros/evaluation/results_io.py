"""Read result files that somebody else made: one text file per sequence, one box per row.

Numbers may be separated by commas, tabs or blanks and written in any way; four columns are a box,
eight its corners. Beside NAME.txt may stand NAME_time.txt (seconds per frame, as the trackers of
the OSTrack family write them), NAME_confidence.txt and NAME_state.txt (ours: see `results_out`).
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from rgbt_tracker_ros.evaluation.conventions import Convention, ResultError, convention
from rgbt_tracker_ros.evaluation.metrics import Floats
from rgbt_tracker_ros.evaluation.score_types import SequenceResult

Form = Literal['auto', 'ltwh', 'ltrb', 'center', 'corners']
"""What the numbers of a row are; `auto`: four are ltwh, eight are corners.

`ltwh`: left, top, width, height. `ltrb`: left, top, right, bottom. `center`: centre, then width,
height. `corners`: x and y of four corners, in any order.
"""

COMPANIONS = {'seconds': '_time', 'confidences': '_confidence', 'states': '_state'}
"""Field of SequenceResult -> how the name of the file beside the boxes ends."""

_NOT_BOXES = (*COMPANIONS.values(), '_all_boxes', '_all_scores')
_DEPTH = 3
_COLUMNS = {'auto': (4, 8), 'corners': (8,)}


def read_table(path: Path | str, columns: Sequence[int]) -> Floats:
    """Read a file of numbers as (N, C), where C is one of `columns`.

    :raises ResultError: if the file is empty, or a row is not C numbers; names file and row.
    :raises OSError: if it can't be read.
    """
    try:
        lines = Path(path).read_text('utf-8-sig').rstrip().splitlines()
    except UnicodeDecodeError as e:
        raise ResultError(str(path), f'not a text file: {e}') from e
    if not lines:
        raise ResultError(str(path), 'the file is empty; it must have one row per frame')
    rows = ([line.strip().rstrip(',').split(',') for line in lines] if ',' in lines[0]
            else [line.split() for line in lines])
    width = len(rows[0])
    try:
        if width in columns and all(len(row) == width for row in rows):
            return np.array(list(map(float, chain.from_iterable(rows)))).reshape(-1, width)
    except ValueError:
        pass  # some row is not numbers; which one is said below
    row = next(k for k, fields in enumerate(rows)
               if len(fields) not in columns or len(fields) != width or not _numbers(fields))
    raise ResultError(str(path), _complaint(lines[row], rows[row], width if row else 0, columns),
                      row + 1)


def read_boxes(path: Path | str, form: Form = 'auto', inclusive: bool = False,
               rounded: bool = False) -> Floats:
    """Read boxes as (N, 4) x, y, w, h, rows of NaN and all.

    `inclusive`: right and bottom are the last pixels, so that w = x2 - x1 + 1. `rounded`: boxes of
    eight columns are rounded to whole pixels, halves away from zero.

    :raises ResultError: as `read_table`.
    :raises OSError: if the file can't be read.
    """
    table = read_table(path, _COLUMNS.get(form, (4,)))
    corners = table.shape[1] == 8
    if corners:
        x, y = table[:, ::2], table[:, 1::2]
        table = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
    if corners or form == 'ltrb':
        table[:, 2:] += float(inclusive) - table[:, :2]
    elif form == 'center':
        table[:, :2] -= table[:, 2:] / 2
    if rounded and corners:
        table = np.copysign(np.floor(np.abs(table) + 0.5), table)
    return table


def find_results(folder: Path | str, names: Sequence[str], tracker: str = '',
                 ) -> dict[str, Path]:
    """Return the result file of each sequence, from a folder or up to three folders below.

    All must lie in one folder and be called PREFIX + sequence + .txt with one PREFIX, which may be
    empty: `boy.txt`, `MyTracker_boy.txt`. A slash in a sequence's name is an underscore there.

    :param tracker: whose files are meant where several trackers' lie in one folder: the prefix
        without the _ or - at its end.
    :raises ResultError: if there is no such folder, sequences have no file, or several folders,
        or several trackers in one, have as many of them.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ResultError(str(root), 'no such folder')
    ranked = sorted(((-len(found), len(prefix), str(place), prefix)
                     for place in _folders(root, _DEPTH)
                     for prefix, found in _prefixes(place, names).items()))
    if not ranked:
        raise ResultError(str(root), 'no result file of these sequences; looked for SEQUENCE.txt '
                          'and TRACKER_SEQUENCE.txt')
    best, _, place, _ = ranked[0]
    rivals = sorted({p for count, _, p, _ in ranked if count == best})
    if len(rivals) > 1:
        raise ResultError(str(root), f'{len(rivals)} folders have results of {-best} of these '
                          f'sequences; name one of them: {", ".join(rivals[:5])}')
    prefix = _one_tracker(place, [p for count, _, _, p in ranked if count == best], tracker)
    files = {name: Path(place, f'{prefix}{file_name(name)}.txt') for name in names}
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        raise ResultError(place, f'no result for {len(missing)} of {len(names)} sequences: '
                          f'{", ".join(missing[:5])}{" ..." if len(missing) > 5 else ""}; looked '
                          f'for {prefix}SEQUENCE.txt; name the others to score them alone')
    return files


def read_results(folder: Path | str, names: Sequence[str], rules: str | Convention = 'plain',
                 form: Form = 'auto') -> Iterator[SequenceResult]:
    """Yield the results of all these sequences: `find_results`, then `read_result`."""
    for name, path in find_results(folder, names).items():
        yield read_result(path, name, rules, form)


def read_result(path: Path | str, name: str, rules: str | Convention = 'plain',
                form: Form = 'auto') -> SequenceResult:
    """Read one sequence's boxes and what stands beside them.

    `rules`: the convention, which may round corners.

    :raises ResultError: as `read_table`, or if a file beside has another number of rows.
    :raises OSError: if a file can't be read.
    """
    path = Path(path)
    boxes = read_boxes(path, form, rounded=convention(rules).round_corners)
    beside = {}
    for field, ending in COMPANIONS.items():
        other = path.with_name(f'{path.stem}{ending}.txt')
        if other.is_file():
            values = read_table(other, (1,))[:, 0]
            if len(values) != len(boxes):
                raise ResultError(str(other), f'{len(values)} rows, but {path.name} has '
                                  f'{len(boxes)}', min(len(values), len(boxes)))
            beside[field] = values
    return SequenceResult(name, boxes, source=str(path), **beside)


def file_name(sequence: str) -> str:
    """Return a sequence's name as files have it."""
    return sequence.replace('/', '_')


def _folders(root: Path, depth: int) -> Iterator[Path]:
    yield root
    if depth:
        for child in sorted(root.iterdir()):
            if child.is_dir():
                yield from _folders(child, depth - 1)


def _prefixes(folder: Path, names: Sequence[str]) -> dict[str, set[str]]:
    """Return the sequences that each prefix would find in a folder."""
    stems = [p.stem for p in folder.glob('*.txt')]
    stems = [s for s in stems if not s.endswith(_NOT_BOXES)]
    found = defaultdict(set)
    for name in map(file_name, names):
        for stem in stems:
            if stem.endswith(name):
                found[stem[:len(stem) - len(name)]].add(name)
    return found


def _one_tracker(folder: str, prefixes: Sequence[str], tracker: str) -> str:
    """Return the prefix that is meant, of those that have files of as many sequences."""
    called = [p for p in prefixes if tracker and p.rstrip('_-') == tracker]
    # without a name it may belong to the sequence's: T_ of T_redcar.txt, not T_red
    likely = called or [p for p in prefixes if not p] or [p for p in prefixes if p[-1] in '_-']
    found = likely or list(prefixes)
    if len(found) > 1:
        raise ResultError(folder, f'results of {len(found)} trackers; say which is meant, '
                          f'{found[0].rstrip("_-")}={folder} for one: '
                          + ', '.join(p.rstrip('_-') for p in found[:5]))
    return found[0]


def _numbers(fields: Sequence[str]) -> bool:
    try:
        return all(isinstance(float(f), float) for f in fields)
    except ValueError:
        return False


def _complaint(line: str, fields: Sequence[str], width: int, columns: Sequence[int]) -> str:
    wanted = str(width) if width in columns else ' or '.join(map(str, columns))
    what = f'{line[:60]!r} is not {wanted} numbers separated by commas, tabs or blanks'
    if ';' in line:
        return f'{what}; it seems to be separated by semicolons'
    if any(',' in f or len(f.split()) > 1 for f in fields):
        return f'{what}; separators differ from row to row, or numbers have decimal commas'
    return f'{what}: it has {len(fields)}' if _numbers(fields) else what
