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

"""The columns of a list, and its order.

To add a column, add it to COLUMNS: the list, its sort keys, the commands' help
and the CSV files that `plan --csv` reads follow.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

from cliff import columns as cliff_columns
from osc_lib.cli import format_columns

from osc_volume_adopt import text
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Manageable


# Older releases of cliff have no generic class.
class SizeColumn(cliff_columns.FormattableColumn):  # type: ignore[type-arg]
    """Bytes, or None if the driver does not report them."""

    def human_readable(self) -> str:
        """Return the size in a unit."""
        return '' if self._value is None else text.size(self._value)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the list.

    :ivar cell: what it shows of an LV
    :ivar sort_by: by what it is sorted, if not by the cell
    """

    title: str
    cell: Callable[[Manageable], Any]
    sort_by: Callable[[Manageable], Any] | None = None

    @property
    def sort_key(self) -> str:
        """The name of the column in --sort."""
        return self.title.lower().replace(' ', '-')


COLUMNS = (
    Column('Name', lambda lv: lv.name),
    Column('Size', lambda lv: SizeColumn(lv.size),
           lambda lv: lv.size or 0),
    Column('GiB', lambda lv: lv.gib),
    Column('Safe', lambda lv: lv.safe),
    Column('Codes', lambda lv: format_columns.ListColumn(lv.codes)),
    Column('Reasons', lambda lv: lv.reason),
    Column('Owner', lambda lv: lv.owner),
    Column('Contents', lambda lv: lv.contents),
    Column('Layout', lambda lv: lv.layout),
    Column('Tags', lambda lv: lv.tags),
    Column('Source ID', lambda lv: lv.source_id),
)

_BY_SORT_KEY: Mapping[str, Column] = {
    column.sort_key: column for column in COLUMNS}
SORT_KEYS = tuple(_BY_SORT_KEY)


def in_order(lvs: Iterable[Manageable], sort: str) -> list[Manageable]:
    """Return the LVs sorted as 'size:desc,name' says; equal ones by name.

    :raises InputError: a key or direction is unknown
    """
    ordered = sorted(lvs, key=lambda lv: lv.name)
    for word in reversed(sort.split(',')):
        key, _, direction = word.partition(':')
        if key not in _BY_SORT_KEY or direction not in ('', 'asc', 'desc'):
            raise InputError(
                f'Cannot sort by {word!r}. The keys are '
                f"{', '.join(SORT_KEYS)}, each optionally followed by :asc "
                'or :desc.')
        column = _BY_SORT_KEY[key]
        ordered.sort(key=column.sort_by or column.cell,
                     reverse=direction == 'desc')
    return ordered
