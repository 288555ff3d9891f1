# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands of ``mem3r``, one module each; see ``mem3r_ros.cli.main``."""
