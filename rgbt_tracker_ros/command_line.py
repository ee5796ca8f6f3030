"""What the subcommands of `rgbt` have in common: how they take arguments and complain."""
from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any, NoReturn


class CommandError(ValueError):
    """What the user can put right; shown as one line."""


class Parser(ArgumentParser):
    """Complains in one line, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on.

        :raises SystemExit: always.
        """
        self.exit(2, f'{self.prog}: {message}; see {self.prog} --help\n')


def key_values(texts: Iterable[str], flag: str = '--option') -> dict[str, Any]:
    """Return `KEY=VALUE` texts as a mapping; values are YAML.

    :raises CommandError: if a text is not of that form.
    """
    import yaml
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals or not key.isidentifier():
            raise CommandError(f'{flag} {text}: must be KEY=VALUE')
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise CommandError(f'{flag} {text}: the value is not YAML') from error
    return values
