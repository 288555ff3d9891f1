# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pages of tables: the overview of an evaluation, and the figures of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mem3r_ros.reports.page import card, write_page


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ''
    links: Sequence[str] = ()  # page of each row, relative to this one
    picture: str = ''  # SVG above the table


def write_overview(
    path: Path,
    title: str,
    subtitle: str,
    tables: Sequence[Table],
    *,
    files: str,
    figures: Sequence[tuple[str, str]] = (),
    picture: tuple[str, str] = ('', ''),
) -> None:
    """
    Write a page of tables.

    :param path: file to write.
    :param title: heading.
    :param subtitle: line below it.
    :param tables: in their order.
    :param files: files beside the page, as text.
    :param figures: value and label of each figure at the top.
    :param picture: heading and SVG of a plot at the end.
    """
    shown = [
        {
            'title': table.title,
            'note': table.note,
            'picture_svg': table.picture,
            'columns': table.columns,
            'rows': [
                {'cells': row, 'link': link}
                for row, link in zip(
                    table.rows, table.links or [''] * len(table.rows), strict=True
                )
            ],
        }
        for table in tables
    ]
    write_page(
        path,
        'overview.html',
        title=title,
        subtitle=subtitle,
        files=files,
        cards=[card(value, label) for value, label in figures],
        config={},
        tables=shown,
        picture_title=picture[0],
        picture_svg=picture[1],
    )
