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

"""A CSV file that says which LVs to adopt, and what each volume is to be.

It has columns of `openstack volume adoption list -f csv`, and those of
VOLUME_COLUMNS: an operator saves a list, completes it in a spreadsheet, and
passes it to `plan --csv`.
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

from osc_volume_adopt import columns
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Manageable

_BOOLEANS = {'true': True, 'yes': True, '1': True,
             'false': False, 'no': False, '0': False}


def _boolean(text: str) -> bool:
    return _BOOLEANS[text.lower()]


# Columns about the volume: the field of plan.Entry, and how to read a cell.
VOLUME_COLUMNS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    'Volume Name': ('name', str),
    'Type': ('volume_type', str),
    'Project': ('project', str),
    'Availability Zone': ('availability_zone', str),
    'Bootable': ('bootable', _boolean),
}
_LIST_COLUMNS = [column.title for column in columns.COLUMNS]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the file.

    :ivar line: its number, from 1
    :ivar listed: cells of the list's columns, by their titles
    :ivar fields: fields of the LV's plan.Entry
    """

    line: int
    listed: Mapping[str, str]
    fields: Mapping[str, Any]


def read(path: pathlib.Path) -> list[Row]:
    """Return all rows; an empty cell leaves its field unset.

    :raises InputError: the file cannot be read, or has unknown columns or
        invalid cells, all of which are reported
    """
    faults: list[str] = []
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            lines = csv.reader(file, strict=True)
            titles = _titles(next(lines, []), faults)
            rows = [_row(lines.line_num, titles, cells, faults)
                    for cells in lines if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f'Cannot read {path}: {exc}') from exc
    if not rows and not faults:
        faults.append('it has no rows')
    if faults:
        raise InputError('\n'.join([f'Cannot use {path}:', *faults]))
    return rows


def _titles(header: Sequence[str], faults: list[str]) -> list[str]:
    known = {title.lower(): title
             for title in (*_LIST_COLUMNS, *VOLUME_COLUMNS)}
    titles = [known.get(cell.strip().lower().replace('_', ' '), cell)
              for cell in header]
    for title in dict.fromkeys(titles):
        if title not in known.values():
            faults.append(f'line 1: unknown column {title!r}; the columns are '
                          + ', '.join(known.values()))
        elif titles.count(title) > 1:
            faults.append(f'line 1: duplicate column {title}')
    if not {'Name', 'Source ID'} & set(titles):
        faults.append('line 1: a column Name or Source ID is required')
    return titles


def _row(line: int, titles: Sequence[str], cells: Sequence[str],
         faults: list[str]) -> Row:
    if len(cells) != len(titles):
        faults.append(f'line {line}: {len(cells)} cells in a table of '
                      f'{len(titles)} columns')
    listed: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for title, text in zip(titles, map(str.strip, cells), strict=False):
        if not text:
            continue
        if title in VOLUME_COLUMNS:
            field, convert = VOLUME_COLUMNS[title]
            try:
                fields[field] = convert(text)
            except KeyError:
                faults.append(f'line {line}: {title} is {text!r}, but must be '
                              'yes or no')
        else:
            listed[title] = text
    return Row(line, listed, fields)


def matched(rows: Iterable[Row], lvs: Iterable[Manageable]
            ) -> list[tuple[Row, Manageable]]:
    """Return each row with its LV: by Source ID if it has one, else by Name.

    :raises InputError: an LV is not listed, is in two rows, or has another
        size than in the file
    """
    lvs = list(lvs)
    by_id = {lv.source_id: lv for lv in lvs if lv.source_id}
    by_name = {lv.name: lv for lv in lvs}
    first: dict[str, Row] = {}
    found = []
    faults = []
    for row in rows:
        source_id, name = (row.listed.get(title)
                           for title in ('Source ID', 'Name'))
        lv = by_id.get(source_id) if source_id else by_name.get(name or '')
        if lv is None:
            word = source_id or name
            faults.append(f'line {row.line}: ' + (
                f'{word} not found on the backend' if word
                else 'neither Name nor Source ID is set'))
            continue
        if first.setdefault(lv.name, row) is not row:
            faults.append(f'line {row.line}: {lv.name} is already in line '
                          f'{first[lv.name].line}')
        for title, now in (('GiB', lv.gib), ('Size', lv.size)):
            then = row.listed.get(title)
            if then is not None and then != str(now):
                faults.append(f'line {row.line}: {title} of {lv.name} is '
                              f'{then} in the file, but {now} on the backend')
        found.append((row, lv))
    if faults:
        raise InputError('\n'.join(faults))
    return found
