# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of a run: trajectory, depth, map, figures and an HTML report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mem3r_ros.names import imported_at_use

if TYPE_CHECKING:
    from mem3r_ros.reports.page import write_report
    from mem3r_ros.reports.recorder import RunRecorder
    from mem3r_ros.reports.result import RunResult, StatusSpan, StripFrame

__all__ = ['RunRecorder', 'RunResult', 'StatusSpan', 'StripFrame', 'write_report']

__getattr__ = imported_at_use(
    __name__,
    {
        'RunRecorder': 'recorder',
        'RunResult': 'result',
        'StatusSpan': 'result',
        'StripFrame': 'result',
        'write_report': 'page',
    },
)
