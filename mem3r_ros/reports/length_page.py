# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The page of a protocol: each metric over the number of views, beside the published figures.

The plots have the form of figure 6 of the Mem3R paper (arXiv 2604.07279).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mem3r_ros.evaluation.protocol_table import metric_tables, sources
from mem3r_ros.evaluation.protocols import protocol
from mem3r_ros.reports.overview import Table, write_overview
from mem3r_ros.reports.plots import length_svg


def write_length_page(path: Path, name: str, model: str, rows: list[dict[str, Any]]) -> None:
    """
    Write the page.

    :param path: file to write; the results are beside it, with the suffix ``.json``.
    :param name: of the protocol.
    :param model: name of our network.
    :param rows: of all sequences and rules.
    """
    tables = [
        Table(
            table.title,
            table.columns,
            table.rows,
            picture=length_svg(table.metric.label, table.ours, table.others),
        )
        for table in metric_tables(name, model, rows)
    ]
    sequences = {row['sequence'] for row in rows}
    write_overview(
        path,
        f'{protocol(name).title}: error over the number of views',
        '; '.join(sources(name)),
        tables,
        files=path.with_suffix('.json').name,
        figures=[
            (str(len(sequences)), 'sequences'),
            (str(len({row['rule'] for row in rows})), 'update rules'),
            (str(max((row['num_views'] for row in rows), default=0)), 'images in the longest run'),
        ],
    )
