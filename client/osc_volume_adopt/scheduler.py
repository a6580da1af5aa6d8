#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Whether Cinder's scheduler accepts a pool for a volume type.

Cinder sends every manage request through its scheduler, which refuses it if
the pool lacks a capability that the type's extra specs require. The result is
a volume in status error_managing, so this is checked before.

The rules are those of cinder/scheduler/filters: capabilities_filter.py and
extra_specs_ops.py. Cinder could answer the question itself, by
`GET /scheduler-stats/get_pools?volume_type=NAME`, but with its default filters
it answers that with status 400: CapacityFilter compares the pool's free
capacity with a size that the request does not have (seen on Cinder 29.0.0).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import operator
from typing import Any

from oslo_utils import strutils

# The scheduler knows every name of a protocol; the API shows the first one.
_INCOMPLETE_IN_API = 'storage_protocol'


def unmet(extra_specs: Mapping[str, str], capabilities: Mapping[str, Any]
          ) -> Iterator[str]:
    """Yield the extra specs that a pool with these capabilities fails.

    A key without a scope, or in the scope `capabilities`, names a capability;
    keys in other scopes concern drivers, and the scheduler ignores them.
    """
    for key, requirement in extra_specs.items():
        scope, *names = key.split(':')
        if names and scope != 'capabilities':
            continue
        path = names if scope == 'capabilities' else [scope]
        if path == [_INCOMPLETE_IN_API]:
            continue
        try:
            value: Any = capabilities
            for name in path:
                value = value[name]
        except (KeyError, TypeError):
            yield key
            continue
        values = value if isinstance(value, list) else [value]
        if not any(satisfies(each, requirement) for each in values):
            yield key


def satisfies(value: Any, requirement: str) -> bool:
    """Return whether a capability has a value that an extra spec requires.

    ==================== ==========================================
    the requirement      is satisfied by a value that
    ==================== ==========================================
    `<is> True`          means the same boolean: True, 'yes', 'on', 1
    `<in> text`          contains the text
    `<or> a <or> b`      is one of these strings
    `= 5`, `>= 5`        is a number, and 5 or more
    `<=`, `==`, `!=` 5   is a number that compares so
    `s== a`, `s!=`, `s<`, `s<=`, `s>`, `s>=`
                         is a string that compares so
    any other text       is that text exactly
    ==================== ==========================================

    Only the first word after the operator counts. Where the scheduler would
    stop with an error, because value and operator do not fit together, the
    requirement is not satisfied.
    """
    name, *words = requirement.split() or ['']
    if name == '<or>':
        return value in words[::2]
    compare = _OPERATORS.get(name)
    if compare is None:
        return bool(value == requirement)
    if value is None or not words:
        return False
    try:
        return bool(compare(value, words[0]))
    except (TypeError, ValueError):
        return False


def _numbers(compare: Callable[[float, float], bool]
             ) -> Callable[[Any, str], bool]:
    return lambda value, word: compare(float(value), float(word))


_OPERATORS: Mapping[str, Callable[[Any, str], bool]] = {
    '<is>': lambda value, word: (strutils.bool_from_string(value)
                                 is strutils.bool_from_string(word)),
    '<in>': lambda value, word: word in value,
    '=': _numbers(operator.ge),
    '>=': _numbers(operator.ge),
    '<=': _numbers(operator.le),
    '==': _numbers(operator.eq),
    '!=': _numbers(operator.ne),
    's==': operator.eq,
    's!=': operator.ne,
    's<': operator.lt,
    's<=': operator.le,
    's>': operator.gt,
    's>=': operator.ge,
}
