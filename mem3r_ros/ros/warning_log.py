# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Log warnings without repetition."""

from __future__ import annotations

import time
from typing import Any

_REPEAT_S = 10.0
_MAX_MESSAGES = 200


class WarningLog:
    """Logs each warning at most every ten seconds."""

    def __init__(self, logger: Any) -> None:
        """
        Start with no warning logged.

        :param logger: logger of the node.
        """
        self._logger = logger
        self._logged_s: dict[str, float] = {}

    def warn(self, message: str, details: str = '') -> None:
        """
        Log a warning unless the same one was logged within the last ten seconds.

        :param message: one sentence; messages that differ only in digits count as the same.
        :param details: a traceback, logged below the message.
        """
        now = time.monotonic()
        key = ''.join(letter for letter in message if not letter.isdigit())
        if now - self._logged_s.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        if len(self._logged_s) >= _MAX_MESSAGES:
            self._logged_s.clear()
        self._logged_s[key] = now
        self._logger.warning(f'{message}\n{details}' if details else message)
