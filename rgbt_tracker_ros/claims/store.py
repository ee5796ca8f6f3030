"""Where the results of arms are kept, and how they are brought together."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
import hashlib
import json
from pathlib import Path

from rgbt_tracker_ros.claims.judge import Results
from rgbt_tracker_ros.claims.seeds import first_seed


@dataclass(frozen=True)
class Result:
    """The figures of an arm with a seed, and where they come from.

    `key` is of all that describes it, `weights` of what was trained for it, `parents` of what the
    arms had been trained to whose stages it took over. The same description trains to other
    weights on another processor: only arms with the same parents can be compared in pairs.
    """

    metrics: dict[str, float]
    key: str = ''
    weights: str = ''
    parents: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Mapping[str, object]) -> Result:
        """Return what `as_dict` made a JSON value of. :raises ValueError: it is none."""
        try:
            return cls({str(k): float(v) for k, v in value['metrics'].items()},  # type: ignore
                       str(value['key']), str(value['weights']),
                       {str(k): str(v) for k, v in value['parents'].items()})  # type: ignore
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'no result of an arm: {error!r}') from error

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON values, figures with 6 digits."""
        return {'key': self.key, 'weights': self.weights, 'parents': self.parents,
                'metrics': {k: float(f'{v:.6g}') for k, v in sorted(self.metrics.items())}}


Table = dict[str, dict[int, Result]]


def arm_folder(out: Path, arm: str, seed: int) -> Path:
    """Return the folder of an arm with a seed."""
    return out / arm / f'seed{seed}'


def digest(folder: Path) -> str:
    """Return a digest of the networks that a stage left in its folder; '' where there are none."""
    found = hashlib.sha256()
    files = sorted(folder.glob('*.safetensors'))
    for file in files:
        found.update(file.name.encode() + b'\0' + file.read_bytes())
    return found.hexdigest()[:16] if files else ''


def read_result(folder: Path, key: str = '') -> Result | None:
    """Return the figures of an arm that has come to its end, None where there are none, or not
    of this `key`.
    """
    try:
        result = Result.of(json.loads((folder / 'result.json').read_text()))
    except (OSError, ValueError, TypeError):  # torn, or foreign
        return None
    return result if key in ('', result.key) else None


def standing(out: Path, arm: str, seed: int, key: str) -> Result | None:
    """Return an arm's result if it is of this `key` and of its parents as they are now."""
    found = read_result(arm_folder(out, arm, seed), key)
    for parent, weights in found.parents.items() if found else ():
        now = read_result(arm_folder(out, parent, seed))
        if now is None or now.weights != weights:
            return None
    return found


def collect(out: Path, arms: Iterable[str]) -> Table:
    """Return all results that a folder holds."""
    table: Table = {}
    for arm in arms:
        for folder in sorted((out / arm).glob('seed*')):
            number = folder.name.removeprefix('seed')
            if number.isdecimal() and (found := read_result(folder)) is not None:
                table.setdefault(arm, {})[int(number)] = found
    return table


def counting(table: Table, key_of: Callable[[str, int], str]) -> tuple[Table, dict[str, str]]:
    """Return the results that count, and why others do not, by 'ARM SEED'.

    Seeds that were looked at while a recipe was made do not: see `seeds`.

    :param key_of: key of an arm with a seed as it would be trained now; '' for no such arm.
    """
    left: Table = {}
    out: dict[str, str] = {}
    for arm, seeds in table.items():
        for seed, one in seeds.items():
            parent = next((p for p, weights in one.parents.items() if weights != getattr(
                table.get(p, {}).get(seed), 'weights', None)), None)
            if seed < first_seed(arm):
                out[f'{arm} {seed}'] = 'of seeds from before its recipe was last changed'
            elif one.key != key_of(arm, seed):
                out[f'{arm} {seed}'] = 'of another recipe, or measured in another way'
            elif parent is not None:
                out[f'{arm} {seed}'] = f'trained from another {parent}'
            else:
                left.setdefault(arm, {})[seed] = one
    return left, out


def figures(table: Table) -> Results:
    """Return arm -> seed -> the figures alone, as claims are judged by them."""
    return {arm: {seed: one.metrics for seed, one in seeds.items()}
            for arm, seeds in table.items()}


def save_table(path: Path, table: Table) -> None:
    """Keep results as a small JSON file."""
    values = {arm: {str(seed): one.as_dict() for seed, one in sorted(seeds.items())}
              for arm, seeds in sorted(table.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(json.dumps(values, indent=1) + '\n')
    part.replace(path)


def load_table(path: Path) -> Table:
    """Read what `save_table` wrote; empty where there is no file.

    :raises ValueError: it is something else.
    """
    if not path.is_file():
        return {}
    try:
        return {str(arm): {int(seed): Result.of(one) for seed, one in seeds.items()}
                for arm, seeds in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} can't be read: {error}; delete it, and run rgbt claims "
                         'again') from error


def merged(kept: Table, found: Table, key_of: Callable[[str, int], str]) -> Table:
    """Return both tables as one: of two results the one that still holds, of two that do what
    was `found`; but of a parent that was trained twice, to other weights, the one that more
    results go back to, and of what goes back to both, what goes back to that one.

    :param key_of: see `counting`.
    """
    both: dict[tuple[str, int], list[Result]] = {}
    for table in (found, kept):
        for arm, seeds in table.items():
            for seed, one in seeds.items():
                both.setdefault((arm, seed), []).append(one)
    for (arm, seed), some in both.items():
        if current := [one for one in some if one.key == key_of(arm, seed)]:
            both[arm, seed] = current
    children: dict[tuple[str, int, str], set[str]] = {}
    for (arm, seed), some in both.items():
        for one in some:
            for parent, weights in one.parents.items():
                children.setdefault((parent, seed, weights), set()).add(arm)
    out: Table = {}
    # parents first: they name none
    for (arm, seed), some in sorted(both.items(), key=lambda e: any(o.parents for o in e[1])):
        def rank(one: Result, arm: str = arm, seed: int = seed) -> tuple[int, bool]:
            return len(children.get((arm, seed, one.weights), ())), all(
                p in out and seed in out[p] and out[p][seed].weights == weights
                for p, weights in one.parents.items())
        out.setdefault(arm, {})[seed] = max(some, key=rank)     # the first of equal ones
    return out
