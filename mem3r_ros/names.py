# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names that a user may misspell, and names of a package that are imported at their first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import difflib
from importlib import import_module
from typing import Any


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean NAME?' for a name that is nearly a known one, else ''."""
    names = list(known)
    found = difflib.get_close_matches(name, names, 1, 0.6)
    if not found:  # a setting of a group, named without the group
        last = name.rpartition('.')[2]
        found = [entry for entry in names if entry.rpartition('.')[2] == last][:1]
    return f'; did you mean {found[0]!r}?' if found else ''


def imported_at_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """
    Return the ``__getattr__`` of a package (PEP 562) that imports a name at its first use.

    A command that reads only settings then imports no torch.

    :param package: name of the package.
    :param homes: the module inside the package that defines each name.
    """

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(import_module(f'{package}.{homes[name]}'), name)

    return attribute
