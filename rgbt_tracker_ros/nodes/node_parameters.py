"""Declare a parameter table on a node, and hold a node to it."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.parameter import Parameter

from rgbt_tracker_ros.nodes.notices import Notices
from rgbt_tracker_ros.nodes.parameters import (
    INACTIVE,
    NOW,
    START,
    TABLE,
    UNCONFIGURED,
    ParameterError,
    Parameters,
    Spec,
    check,
)

P = TypeVar('P')


class TableParameters(Generic[P]):
    """A node's parameters, checked at every change.

    :param table: name -> what is known. :param build: makes one object of values by name, and
        raises ParameterError where they exclude each other. :param remedy: given when a parameter
        may change, says what to do first; '' where it may change now. :param changed: called after
        a change, with the new parameters.
    """

    def __init__(self, node: Node, notices: Notices, table: Mapping[str, Spec],
                 build: Callable[[Mapping[str, object]], P], remedy: Callable[[str], str],
                 changed: Callable[[P], None]) -> None:
        self.problems: dict[str, str] = {}      # start values that were refused, by name
        self._node = node
        self._notices = notices
        self._table = table
        self._build = build
        self._remedy = remedy
        self._changed = changed
        for name, spec in table.items():
            self._declare(name, spec)
        node.add_pre_set_parameters_callback(self._before)
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._after)

    def get(self) -> P:
        """Return the parameters as they are.

        :raises ParameterError: if a start value was refused, or if values exclude each other.
        """
        for name, reason in self.problems.items():
            remedy = ('start the node again with a right one' if self._table[name].changes == START
                      else 'set it, and try again')
            raise ParameterError(f'{reason}; {remedy}')
        return self._build(self._values({}))

    def _declare(self, name: str, spec: Spec) -> None:
        # without its range at first: rclpy's own refusal would end the process
        loose = ParameterDescriptor(dynamic_typing=True)
        value = self._node.declare_parameter(name, _ros(spec.default), loose).value
        try:
            made = check(name, value, self._table)
        except ParameterError as e:
            # the node stays alive to be told better: it refuses to configure until then
            self.problems[name], made = str(e), spec.default
        if made != value:
            self._node.set_parameters([_typed(name, made)])
        self._node.set_descriptor(name, descriptor(spec))

    def _values(self, new: dict[str, object]) -> dict[str, object]:
        return {n: new[n] if n in new else self._node.get_parameter(n).value
                for n in self._table}

    def _verdict(self, parameters: list[Parameter]) -> str:
        """Return why these can't be set, or an empty string."""
        ours = [p for p in parameters if p.name in self._table]
        for p in ours:
            if p.type_ == Parameter.Type.NOT_SET:
                default = _ros(self._table[p.name].default)
                return f'{p.name} can not be deleted; its default is {default!r}: set it to that'
        new = {p.name: p.value for p in ours}
        try:
            for name, value in new.items():
                made, when = check(name, value, self._table), self._table[name].changes
                if made != self._quietly(name, self._node.get_parameter(name).value) and (
                        how := self._remedy(when)):
                    return f'{name} can only change {when}; {how}'
            if new and not self.problems.keys() - new.keys():
                self._build(self._values(new))
        except ParameterError as e:
            return str(e)
        return ''

    def _before(self, parameters: list[Parameter]) -> list[Parameter]:
        # rclpy itself refuses what is outside a descriptor's range, without a word to the log
        if reason := self._verdict(parameters):
            self._notices.warn('parameter', f'parameter refused: {reason}')
            return parameters
        return [_typed(p.name, check(p.name, p.value, self._table)) if p.name in self._table
                else p for p in parameters]

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        reason = self._verdict(parameters)
        return SetParametersResult(successful=not reason, reason=reason)

    def _after(self, parameters: list[Parameter]) -> None:
        names = {p.name for p in parameters} & self._table.keys()
        for name in names:
            self.problems.pop(name, None)
        if names and not self.problems:
            self._changed(self.get())

    def _quietly(self, name: str, value: object) -> object:
        """Return `value` in the parameter's own type, or as it is where that fails."""
        try:
            return check(name, value, self._table)
        except ParameterError:
            return value


class NodeParameters(TableParameters[Parameters]):
    """Those of the tracker node.

    :param state: gives the lifecycle state's label.
    """

    def __init__(self, node: LifecycleNode, notices: Notices, state: Callable[[], str],
                 changed: Callable[[Parameters], None]) -> None:
        self._state = state
        super().__init__(node, notices, TABLE, Parameters.build, self._first, changed)

    def _first(self, when: str) -> str:
        state = self._state()
        if when == START:
            return 'give it when the node starts'
        if when == UNCONFIGURED and state != 'unconfigured':
            return 'deactivate and clean up the node first'
        return 'deactivate the node first' if when == INACTIVE and state == 'active' else ''


def descriptor(spec: Spec) -> ParameterDescriptor:
    """Return the descriptor; typing is dynamic so that `0` will do for `0.0`."""
    made = ParameterDescriptor(description=spec.text, read_only=spec.changes == START,
                               dynamic_typing=True)
    if spec.choices or spec.length:
        made.additional_constraints = spec.allowed
    if spec.changes != NOW:
        made.additional_constraints += f'{"; " if spec.choices else ""}changes {spec.changes}'
    if spec.low is not None and spec.high is not None:
        if isinstance(spec.default, float):
            made.floating_point_range = [FloatingPointRange(
                from_value=float(spec.low), to_value=float(spec.high))]
        else:
            made.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high))]
    return made


def _ros(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _typed(name: str, value: object) -> Parameter:
    """Return the parameter with a value from `check`.

    Left to itself rclpy takes an empty list for bytes, and `ros2 param dump` that for null.
    """
    if isinstance(value, tuple):
        return Parameter(name, Parameter.Type.DOUBLE_ARRAY, list(value))
    return Parameter(name, value=value)
