"""What the source says of itself: who names a recipe, and what is written twice."""
from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ROOMS = ('distillation', 'models', 'data')
RUN = 6
"""Lines in a row that count as written twice if they occur twice."""


def structure(package: Path = PACKAGE) -> dict[str, float]:
    """Look through the rooms that all recipes share.

    :returns: `naming`: modules with a recipe's name as a text; `duplicated`: share of the lines
        of code in runs of RUN or more that occur elsewhere, too, in percent.
    """
    recipes = {p.stem for p in (package / 'distillation' / 'recipes').glob('*.yaml')}
    naming, runs = 0, Counter[tuple[str, ...]]()
    modules: list[list[str]] = []
    for path in sorted(p for room in ROOMS for p in (package / room).rglob('*.py')):
        tree = ast.parse(path.read_text())
        # 'student' is a network and a part of many, too
        naming += any(isinstance(n, ast.Constant) and n.value in recipes - {'student'}
                      for n in ast.walk(tree))
        lines = ast.unparse(_bare(tree)).splitlines()
        modules.append([s for line in lines
                        if (s := line.strip()) and not s.startswith(('import ', 'from '))])
        runs.update({tuple(modules[-1][i:i + RUN])
                     for i in range(len(modules[-1]) - RUN + 1)})
    twice = 0
    for lines in modules:
        marked: set[int] = set()
        for i in range(len(lines) - RUN + 1):
            if runs[tuple(lines[i:i + RUN])] > 1:
                marked.update(range(i, i + RUN))
        twice += len(marked)
    return {'naming': float(naming), 'duplicated': 100 * twice / max(sum(map(len, modules)), 1)}


def _bare(tree: ast.Module) -> ast.Module:
    """Take the docstrings out, in place."""
    for node in ast.walk(tree):
        body = getattr(node, 'body', None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) \
                and isinstance(body[0].value, ast.Constant):
            body[0] = ast.Pass()
    return tree
