# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Reasons why a transform is not available."""


class TransformException(Exception):
    """Any failure of tf2."""


class ConnectivityException(TransformException):
    """Both frames are known, but no chain of transforms connects them."""


class LookupException(TransformException):
    """A frame is unknown, or the tree has a loop."""


class ExtrapolationException(TransformException):
    """The transforms of the chain do not cover the requested time."""


class InvalidArgumentException(TransformException):
    """A frame name is empty or starts with a slash."""
