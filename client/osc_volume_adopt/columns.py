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
from collections.abc import Collection
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


# Older releases of cliff have no generic class.
class OptionalColumn(cliff_columns.FormattableColumn):  # type: ignore[type-arg]
    """A text, or None: null for programs, and nothing for people."""

    def human_readable(self) -> str:
        """Return the text."""
        return self._value or ''


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the list.

    :ivar cell: what it shows of an LV
    :ivar description: what that is, in a sentence without its subject
    :ivar sort_by: what it is sorted by, if not the cell
    :ivar in_table: whether a table for people has it by default
    """

    title: str
    cell: Callable[[Manageable], Any]
    description: str
    sort_by: Callable[[Manageable], Any] | None = None
    in_table: bool = True

    @property
    def sort_key(self) -> str:
        """The name of the column in --sort."""
        return self.title.lower().replace(' ', '-')


COLUMNS = (
    Column('Name', lambda lv: lv.name, 'the name of the LV'),
    Column('Size', lambda lv: SizeColumn(lv.size),
           'the size of the LV; in bytes in the formats for programs',
           sort_by=lambda lv: lv.size or 0),
    Column('GiB', lambda lv: lv.gib, 'the size that Cinder would record'),
    Column('Safe', lambda lv: lv.safe, 'whether the LV can be managed'),
    Column('Codes', lambda lv: format_columns.ListColumn(lv.codes),
           'the codes of the reasons why it cannot be managed'),
    Column('Reasons', lambda lv: lv.reason, 'these reasons as text',
           in_table=False),
    Column('Owner', lambda lv: lv.owner,
           'the other system that created the LV, if it is known'),
    Column('Contents', lambda lv: lv.contents, 'what the LV contains'),
    Column('Snapshots', lambda lv: format_columns.ListColumn(
               list(lv.snapshots)),
           'the snapshots of the LV that Cinder does not manage; a table has '
           'the column if there are any',
           sort_by=lambda lv: len(lv.snapshots), in_table=False),
    Column('Layout', lambda lv: lv.layout, 'lv_layout of lvs(8)',
           in_table=False),
    Column('Tags', lambda lv: lv.tags, 'the tags of the LV', in_table=False),
    Column('Source ID', lambda lv: lv.source_id, 'the UUID of the LV',
           in_table=False),
    Column('Cinder ID', lambda lv: OptionalColumn(lv.cinder_id),
           'the ID of the volume that has the LV, if Cinder manages it',
           sort_by=lambda lv: lv.cinder_id or '', in_table=False),
    Column('Backend', lambda lv: lv.location.name,
           'the host or the cluster that lists the LV', in_table=False),
)

_BY_SORT_KEY: Mapping[str, Column] = {
    column.sort_key: column for column in COLUMNS}
SORT_KEYS = tuple(_BY_SORT_KEY)


def of_table(lvs: Collection[Manageable], backends: int
             ) -> tuple[Column, ...]:
    """Return the columns of a table for people.

    :param backends: how many are listed
    """
    wanted = {column.title for column in COLUMNS if column.in_table}
    if backends > 1:
        wanted.add('Backend')
    if any(lv.snapshots for lv in lvs):
        wanted.add('Snapshots')
    # Not every driver has codes.
    if any(not reason.code for lv in lvs for reason in lv.reasons):
        wanted.add('Reasons')
    return tuple(column for column in COLUMNS if column.title in wanted)


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
