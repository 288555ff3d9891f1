# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can cause and fix."""


class UserError(ValueError):
    """
    Something outside the program is wrong: a file, a value, a name.

    The message is one sentence: what is wrong, with what value, what to do. The command line
    prints it as it is and exits with code 2.
    """


class BadFrame(UserError):
    """One frame of a stream cannot be used; the stream itself continues."""
