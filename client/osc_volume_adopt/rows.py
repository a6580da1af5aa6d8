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

"""Rows, listed and read back: which LVs to plan, and what each is to be.

A CSV's columns are those that `adopt list -f csv` prints, and some of those of
a plan's entries: a listing is saved, filled in with a spreadsheet, and read.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import pathlib
from typing import Any

from osc_volume_adopt.api import Manageable
from osc_volume_adopt.plan import PlanError

# Of a listing, in its order.
LISTED = ('Name', 'GiB', 'Bytes', 'Safe', 'Reasons', 'Kind', 'Tags',
          'Source ID')
_TRUTH = {'true': True, 'yes': True, '1': True,
          'false': False, 'no': False, '0': False}


_ORDERS: Mapping[str, Callable[[Manageable], Any]] = {
    'reference': lambda each: each.name,
    'size': lambda each: (each.gib, each.size or 0),
    'safe': lambda each: each.safe,
    'kind': lambda each: each.layout,
}
SORT_KEYS = tuple(_ORDERS)


def in_order(there: Iterable[Manageable], sort: str) -> list[Manageable]:
    """Sorted as 'size:desc,reference' says; equal ones by their names.

    :raises PlanError: it does not say so
    """
    ordered = sorted(there, key=_ORDERS['reference'])
    for word in reversed(sort.split(',')):
        key, _, direction = word.partition(':')
        if key not in _ORDERS or direction not in ('', 'asc', 'desc'):
            raise PlanError(
                f'cannot sort by {word!r}: the keys are '
                f"{', '.join(SORT_KEYS)}, each with :asc or :desc")
        ordered.sort(key=_ORDERS[key], reverse=direction == 'desc')
    return ordered


def _truth(text: str) -> bool:
    return _TRUTH[text.lower()]


# Each column that tells what a volume is to be: the field of its entry, and
# what makes that of the text.
_CHOSEN: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    'Volume Name': ('name', str),
    'Type': ('volume_type', str),
    'Project': ('project', str),
    'Availability Zone': ('availability_zone', str),
    'Bootable': ('bootable', _truth),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the file.

    :ivar line: its number, from 1
    :ivar listed: what a listing told of the LV, by its columns
    :ivar chosen: fields of its entry
    """

    line: int
    listed: Mapping[str, str]
    chosen: Mapping[str, Any]


def read(path: pathlib.Path) -> list[Row]:
    """All rows; an empty cell says nothing.

    :raises PlanError: the file cannot be read, or has a column or a value
        that is not known; all of that is told
    """
    faults: list[str] = []
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            lines = csv.reader(file, strict=True)
            names = _columns(next(lines, []), faults)
            rows = [_row(lines.line_num, names, cells, faults)
                    for cells in lines if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise PlanError(f'{path} cannot be read: {exc}') from exc
    if not rows and not faults:
        faults.append('it has no row')
    if faults:
        raise PlanError(f'{path} cannot be used:\n' + '\n'.join(faults))
    return rows


def _columns(header: Sequence[str], faults: list[str]) -> list[str]:
    known = {name.lower(): name for name in (*LISTED, *_CHOSEN)}
    names = [known.get(cell.strip().lower().replace('_', ' '), cell)
             for cell in header]
    for name in dict.fromkeys(names):
        if name not in known.values():
            faults.append(f'line 1: {name!r} is no column; there are '
                          + ', '.join(known.values()))
        elif names.count(name) > 1:
            faults.append(f'line 1: the column {name} is there twice')
    if not {'Name', 'Source ID'} & set(names):
        faults.append('line 1: there is neither a column Name nor a column '
                      'Source ID')
    return names


def _row(line: int, names: Sequence[str], cells: Sequence[str],
         faults: list[str]) -> Row:
    if len(cells) != len(names):
        faults.append(f'line {line}: {len(cells)} cells, and {len(names)} '
                      'columns')
    listed: dict[str, str] = {}
    chosen: dict[str, Any] = {}
    for name, text in zip(names, map(str.strip, cells), strict=False):
        if not text:
            continue
        if name in _CHOSEN:
            field, convert = _CHOSEN[name]
            try:
                chosen[field] = convert(text)
            except KeyError:
                faults.append(f'line {line}: {name} is {text!r}, and neither '
                              'true nor false')
        else:
            listed[name] = text
    return Row(line, listed, chosen)


def matched(rows: Iterable[Row], there: Iterable[Manageable]
            ) -> list[tuple[Row, Manageable]]:
    """Each row with its LV: by Source ID if the row has it, else by Name.

    :raises PlanError: LVs are not there, named twice, or of another size now
    """
    there = list(there)
    by_id = {each.source_id: each for each in there if each.source_id}
    by_name = {each.name: each for each in there}
    first: dict[str, Row] = {}
    found = []
    faults = []
    for row in rows:
        source_id, name = (row.listed.get(column)
                           for column in ('Source ID', 'Name'))
        each = by_id.get(source_id) if source_id else by_name.get(name or '')
        if each is None:
            faults.append(f'line {row.line}: there is no '
                          f'{source_id or name!r} to be managed')
            continue
        if first.setdefault(each.name, row) is not row:
            faults.append(f'line {row.line}: {each.name} is in line '
                          f'{first[each.name].line} already')
        for column, now in (('GiB', each.gib), ('Bytes', each.size)):
            then = row.listed.get(column)
            if then is not None and then != str(now):
                faults.append(f'line {row.line}: {each.name} has {now} '
                              f'{column} now, and {then} in the file')
        found.append((row, each))
    if faults:
        raise PlanError('\n'.join(faults))
    return found
