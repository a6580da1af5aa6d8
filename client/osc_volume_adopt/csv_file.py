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
passes it to `plan --csv`. The cells are separated by commas, semicolons, as
spreadsheets write in many countries, or tabs.
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
from osc_volume_adopt.manageable import Identity
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.volume_options import DISK_BUS
from osc_volume_adopt.volume_options import FIRMWARE
from osc_volume_adopt.volume_options import OS_TYPE

_SEPARATORS = ',;\t'
_BOOLEANS = {'true': True, 'yes': True, '1': True,
             'false': False, 'no': False, '0': False}


@dataclasses.dataclass(frozen=True)
class VolumeColumn:
    """A column about the volume.

    :ivar field: of plan.Entry
    :ivar read: returns the field's value for a cell; raises ValueError
    :ivar description: what the cells are, in a sentence without its subject
    """

    field: str
    read: Callable[[str], Any]
    description: str


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError('yes or no')
    return _BOOLEANS[text.lower()]


def _image_property(key: str) -> Callable[[str], dict[str, str]]:
    return lambda text: {key: text.lower()}


def _image_properties(text: str) -> dict[str, str]:
    found = {}
    for each in filter(None, map(str.strip, text.split(','))):
        key, separator, value = (word.strip() for word in each.partition('='))
        if not (separator and key and value):
            raise ValueError('key=value, with a comma between several')
        found[key] = value
    return found


VOLUME_COLUMNS: Mapping[str, VolumeColumn] = {
    'Volume Name': VolumeColumn('name', str, 'the name of the volume'),
    'Type': VolumeColumn('volume_type', str, 'its volume type'),
    'Project': VolumeColumn('project', str, 'the project that gets it'),
    'Availability Zone': VolumeColumn('availability_zone', str,
                                      'its availability zone'),
    'Bootable': VolumeColumn('bootable', _boolean,
                             'whether it can be booted from: yes or no'),
    'Firmware': VolumeColumn(
        'image_properties', _image_property(FIRMWARE),
        f'its image property {FIRMWARE}: bios or uefi'),
    'Disk Bus': VolumeColumn(
        'image_properties', _image_property(DISK_BUS),
        f'its image property {DISK_BUS}, such as scsi, virtio or ide'),
    'OS Type': VolumeColumn(
        'image_properties', _image_property(OS_TYPE),
        f'its image property {OS_TYPE}: linux or windows'),
    'Image Properties': VolumeColumn(
        'image_properties', _image_properties,
        'other image properties, as key=value with a comma between several'),
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
            first = file.readline()
            file.seek(0)
            lines = csv.reader(file, strict=True, delimiter=max(
                _SEPARATORS, key=first.count))
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
            column = VOLUME_COLUMNS[title]
            try:
                value = column.read(text)
            except ValueError as exc:
                faults.append(f'line {line}: {title} is {text!r}, but must be '
                              f'{exc}')
                continue
            known = fields.get(column.field, {})
            fields[column.field] = (known | value if isinstance(value, dict)
                                    else value)
        else:
            listed[title] = text
    return Row(line, listed, fields)


def matched(rows: Iterable[Row], lvs: Iterable[Manageable]
            ) -> list[tuple[Row, Manageable]]:
    """Return each row with its LV: by Source ID if it has one, else by Name.

    :raises InputError: an LV is not listed, is in two rows, or has another
        size than in the file
    """
    by_word: dict[tuple[str, str], list[Manageable]] = {}
    for lv in lvs:
        for title, word in (('Source ID', lv.source_id), ('Name', lv.name)):
            by_word.setdefault((title, word), []).append(lv)
    first: dict[Identity, Row] = {}
    found = []
    faults = []
    for row in rows:
        title = 'Source ID' if row.listed.get('Source ID') else 'Name'
        word = row.listed.get(title, '')
        candidates = [lv for lv in by_word.get((title, word), ()) if word
                      and row.listed.get('Backend') in (None,
                                                        lv.location.name)]
        if len(candidates) != 1:
            faults.append(f'line {row.line}: ' + (
                'neither Name nor Source ID is set' if not word
                else f'{word} not found on the backend' if not candidates
                else f'{word} is on several backends; the column Backend is '
                     'required'))
            continue
        lv, = candidates
        if first.setdefault(lv.identity, row) is not row:
            faults.append(f'line {row.line}: {lv.name} is already in line '
                          f'{first[lv.identity].line}')
        for title, now in (('GiB', lv.gib), ('Size', lv.size)):
            then = row.listed.get(title)
            if then is not None and then != str(now):
                faults.append(f'line {row.line}: {title} of {lv.name} is '
                              f'{then} in the file, but {now} on the backend')
        found.append((row, lv))
    if faults:
        raise InputError('\n'.join(faults))
    return found
