# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How buffers transform messages: functions that other packages register for their types."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import Header


class TypeException(Exception):
    """No function is registered for a type."""

    def __init__(self, errstr: str) -> None:
        """
        Keep the reason where users of the real package look for it.

        :param errstr: which type.
        """
        super().__init__(errstr)
        self.errstr = errstr


class NotImplementedException(Exception):
    """A buffer class lacks a method that it must bring."""

    def __init__(self) -> None:
        """Say what is missing."""
        self.errstr = 'CanTransform or LookupTransform not implemented'
        super().__init__(self.errstr)


def Stamped(obj: Any, stamp: Any, frame_id: str) -> Any:
    """
    Give an object a header.

    :param obj: any object that takes attributes.
    :param stamp: time message.
    :param frame_id: frame of the object.
    :return: the same object.
    """
    obj.header = Header(frame_id=frame_id, stamp=stamp)
    return obj


class TransformRegistration:
    """The table of functions that transform messages, one for each type."""

    _functions: ClassVar[dict[Any, Callable[[Any, TransformStamped], Any]]] = {}

    def add(self, key: Any, callback: Callable[[Any, TransformStamped], Any]) -> None:
        """
        Register a function.

        :param key: type that it transforms.
        :param callback: takes the object and the transform, returns the transformed object.
        """
        self._functions[key] = callback

    def get(self, key: Any) -> Callable[[Any, TransformStamped], Any]:
        """
        Return the function for a type.

        :param key: type to transform.
        :return: its function.
        :raises TypeException: none is registered.
        """
        return _registered(self._functions, key)

    def print_me(self) -> None:
        """Print the table."""
        print(self._functions)


class ConvertRegistration:
    """The tables of functions that convert between types."""

    _to_msg: ClassVar[dict[Any, Callable[[Any], Any]]] = {}
    _from_msg: ClassVar[dict[Any, Callable[[Any], Any]]] = {}
    _convert: ClassVar[dict[Any, Callable[[Any], Any]]] = {}

    def add_to_msg(self, key: Any, callback: Callable[[Any], Any]) -> None:
        """
        Register how a type becomes a message.

        :param key: the type.
        :param callback: function of the object.
        """
        self._to_msg[key] = callback

    def add_from_msg(self, key: Any, callback: Callable[[Any], Any]) -> None:
        """
        Register how a message becomes a type.

        :param key: the type.
        :param callback: function of the message.
        """
        self._from_msg[key] = callback

    def add_convert(self, key: tuple[Any, Any], callback: Callable[[Any], Any]) -> None:
        """
        Register how one type becomes another without a message between.

        :param key: type from, type to.
        :param callback: function of the object.
        """
        self._convert[key] = callback

    def get_to_msg(self, key: Any) -> Callable[[Any], Any]:
        """
        Return how a type becomes a message.

        :param key: the type.
        :return: its function.
        :raises TypeException: none is registered.
        """
        return _registered(self._to_msg, key)

    def get_from_msg(self, key: Any) -> Callable[[Any], Any]:
        """
        Return how a message becomes a type.

        :param key: the type.
        :return: its function.
        :raises TypeException: none is registered.
        """
        return _registered(self._from_msg, key)

    def get_convert(self, key: tuple[Any, Any]) -> Callable[[Any], Any]:
        """
        Return how one type becomes another.

        :param key: type from, type to.
        :return: the function.
        :raises TypeException: none is registered.
        """
        return _registered(self._convert, key)


def convert(a: Any, b_type: Any) -> Any:
    """
    Convert an object to another type, directly or through a message.

    :param a: the object.
    :param b_type: type wanted.
    :return: the converted object, a copy when it is of that type already.
    :raises TypeException: no way is registered.
    """
    registration = ConvertRegistration()
    try:
        direct = registration.get_convert((type(a), b_type))
    except TypeException:
        if type(a) is b_type:
            return deepcopy(a)
        return registration.get_from_msg(b_type)(registration.get_to_msg(type(a))(a))
    return direct(a)


class BufferInterface:
    """What every buffer offers; subclasses bring the lookups."""

    def __init__(self) -> None:
        """Join the common table of functions."""
        self.registration = TransformRegistration()

    def transform(
        self,
        object_stamped: Any,
        target_frame: str,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
        new_type: Any = None,
    ) -> Any:
        """
        Transform an object with a header to another frame.

        :param object_stamped: of a registered type.
        :param target_frame: frame to transform to.
        :param timeout: how long to wait for the transform.
        :param new_type: type to convert the result to, None to keep it.
        :return: the transformed object.
        """
        function = self.registration.get(type(object_stamped))
        header = object_stamped.header
        found = self.lookup_transform(target_frame, header.frame_id, header.stamp, timeout)
        result = function(object_stamped, found)
        return result if new_type is None else convert(result, new_type)

    def transform_full(
        self,
        object_stamped: Any,
        target_frame: str,
        target_time: Time,
        fixed_frame: str,
        timeout: Duration = Duration(),  # noqa: B008 - never changed
        new_type: Any = None,
    ) -> Any:
        """
        Transform an object with a header to another frame at another time.

        :param object_stamped: of a registered type.
        :param target_frame: frame to transform to.
        :param target_time: when the target frame is looked at.
        :param fixed_frame: frame that stands still between the two times.
        :param timeout: how long to wait for the transform.
        :param new_type: type to convert the result to, None to keep it.
        :return: the transformed object.
        """
        function = self.registration.get(type(object_stamped))
        header = object_stamped.header
        found = self.lookup_transform_full(
            target_frame, target_time, header.frame_id, header.stamp, fixed_frame, timeout
        )
        result = function(object_stamped, found)
        return result if new_type is None else convert(result, new_type)

    def lookup_transform(self, *_: Any, **__: Any) -> TransformStamped:
        """Return a transform; a subclass does."""
        raise NotImplementedException()

    def lookup_transform_full(self, *_: Any, **__: Any) -> TransformStamped:
        """Return a transform across time; a subclass does."""
        raise NotImplementedException()

    def can_transform(self, *_: Any, **__: Any) -> Any:
        """Tell whether a transform is known; a subclass does."""
        raise NotImplementedException()

    def can_transform_full(self, *_: Any, **__: Any) -> Any:
        """Tell whether a transform across time is known; a subclass does."""
        raise NotImplementedException()


def _registered(table: dict[Any, Callable[..., Any]], key: Any) -> Callable[..., Any]:
    if key not in table:
        raise TypeException(f'Type {key} is not loaded or supported')
    return table[key]
