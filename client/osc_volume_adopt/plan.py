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

"""A plan: which LVs are to become which volumes, as a file for people."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
import string
from typing import Any
import uuid

import jsonschema
from oslo_utils import units
import yaml

from osc_volume_adopt.api import Location
from osc_volume_adopt.api import Manageable

_HEAD = """\
# What `openstack volume adoption apply` is to do: one entry, one volume.
# Change entries or take them out; those under left_out are for reading only.
"""
_TEXT = {'type': 'string', 'minLength': 1}
_TEXT_OR_NONE = {'type': ['string', 'null'], 'minLength': 1}
_REFERENCE = {'type': 'object', 'minProperties': 1,
              'additionalProperties': _TEXT}
# As large as the API takes them: cinder/api/schemas/manageable_volumes.py.
_NAME = {'type': ['string', 'null'], 'maxLength': 255}
_ENTRY = {
    'type': 'object',
    'properties': {
        'reference': _REFERENCE,
        'source_id': {'type': 'string'},
        'size': {'type': ['integer', 'null'], 'minimum': 0},
        'gib': {'type': 'integer', 'minimum': 0},
        'name': _NAME,
        'volume_type': _TEXT_OR_NONE,
        'availability_zone': _TEXT_OR_NONE,
        'bootable': {'type': 'boolean'},
        'project': _TEXT_OR_NONE,
        'metadata': {'type': 'object', 'additionalProperties': {
            'type': 'string', 'maxLength': 255}}},
    'required': ['reference', 'gib'],
    'additionalProperties': False}
_SCHEMA = {
    'type': 'object',
    'properties': {
        'plan': _TEXT, 'host': _TEXT, 'cluster': _TEXT,
        'volumes': {'type': 'array', 'items': _ENTRY},
        'left_out': {'type': 'array'}},
    'required': ['plan', 'volumes'],
    'oneOf': [{'required': ['host']}, {'required': ['cluster']}],
    'additionalProperties': False}

# Of every volume adopted: its value, the plan's id and the LV, finds the one
# whose id was not heard.
KEY_IN_METADATA = 'adopted_by_plan'


class PlanError(Exception):
    """A plan, a CSV or a template is wrong; one line for each fault."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An LV and the volume that it is to be.

    :ivar size: bytes that the LV had when it was planned; None if the driver
        does not tell them
    :ivar gib: what Cinder is to record
    :ivar project: name or id, if not the caller's own
    """

    reference: Mapping[str, str]
    gib: int
    source_id: str = ''
    size: int | None = None
    name: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    project: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """What people call the LV, and the journal."""
        return str(self.reference.get('source-name')
                   or next(iter(self.reference.values())))

    @property
    def manage_by(self) -> Mapping[str, str]:
        """The reference for Cinder.

        Where the driver is LVMManageDriver, which alone tells both of these,
        it is the UUID: no other LV can come to have it while others are
        adopted.
        """
        if self.source_id and self.size is not None:
            return {'source-id': self.source_id}
        return self.reference


@dataclasses.dataclass(frozen=True)
class Plan:
    """Entries for one backend.

    :ivar id: by which volumes of this plan are found again
    :ivar left_out: LVs that were not planned, each with why
    """

    id: str
    location: Location
    volumes: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, location: Location, rows: Iterable[Manageable],
           name_template: str,
           chosen: Mapping[str, Mapping[str, Any]] = {},
           **fields: Any) -> Plan:
        """Plan those that are safe to manage.

        :param name_template: of the volumes' names, see names()
        :param chosen: fields of single entries, by their LVs' names
        :param fields: of all others, see Entry
        :raises PlanError: the template is wrong
        """
        safe = []
        left_out = []
        for row in rows:
            if row.safe:
                safe.append(row)
            else:
                left_out.append((row.name, row.reason))
        return cls(str(uuid.uuid4()), location, tuple(
            Entry(**{'reference': row.reference, 'gib': row.gib,
                     'source_id': row.source_id, 'size': row.size,
                     'name': name, **fields, **chosen.get(row.name, {})})
            for row, name in zip(safe, names(safe, name_template),
                                 strict=True)), tuple(left_out))

    @classmethod
    def load(cls, path: pathlib.Path) -> Plan:
        """Read a file that save has written and people have changed.

        :raises PlanError: it cannot be read, or is no plan
        """
        try:
            text = path.read_text()
            content = yaml.safe_load(text)
            # Which knows what safe_load forgets: lines, and names that stand
            # twice.
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
            raise PlanError(f'{path} cannot be read: {exc}') from exc
        lines = _lines(node)
        faults = list(_twice(node))
        faults += [
            f'{_place(fault, lines)}: {fault.message}' for fault in
            jsonschema.Draft202012Validator(_SCHEMA).iter_errors(content)]
        if not faults:
            faults += _duplicates(content['volumes'])
            faults += _reserved(content['volumes'])
        if faults:
            raise PlanError(f'{path} is no plan:\n' + '\n'.join(faults))
        return cls(
            content['plan'],
            Location(content.get('host'), content.get('cluster')),
            tuple(Entry(**entry) for entry in content['volumes']))

    def save(self, path: pathlib.Path) -> None:
        """Write it to a new file.

        :raises PlanError: there is a file, or none can be made
        """
        content = {
            'plan': self.id, **self.location.query,
            'volumes': [dataclasses.asdict(entry) for entry in self.volumes],
            'left_out': [{'lv': lv, 'why': why} for lv, why in self.left_out]}
        try:
            with path.open('x') as file:
                file.write(_HEAD)
                yaml.safe_dump(content, file, sort_keys=False,
                               allow_unicode=True, width=200)
        except OSError as exc:
            raise PlanError(f'the plan cannot be written: {exc}') from exc

    @property
    def bytes_added(self) -> int:
        """Bytes that Cinder would record and the LVs have not."""
        return sum(entry.gib * units.Gi - entry.size for entry in self.volumes
                   if entry.size is not None)


def names(rows: Iterable[Manageable], template: str) -> Iterator[str]:
    """The volumes' names by a template.

    :param template: with {name} and {id} of the LV, its {gib}, and the
        {number} of the entry, from 1
    :raises PlanError: it has other fields
    """
    for number, row in enumerate(rows, start=1):
        known = {'name': row.name, 'id': row.source_id, 'gib': row.gib,
                 'number': number}
        try:
            yield string.Formatter().vformat(template, (), known)
        except (KeyError, IndexError, ValueError, AttributeError) as exc:
            raise PlanError(
                f'name template {template!r} is wrong ({exc}); its fields are '
                + ', '.join(f'{{{name}}}' for name in known)) from exc


def _place(fault: jsonschema.ValidationError, lines: list[int]) -> str:
    path = list(fault.absolute_path)
    if path[:1] == ['volumes'] and len(path) > 1:
        number = int(path[1])
        return (f'entry {number + 1} (line {lines[number]}) '
                + '.'.join(map(str, path[2:])))
    return '.'.join(map(str, path)) or 'the file'


def _lines(node: yaml.Node | None) -> list[int]:
    """The lines in which the entries begin, from 1."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == 'volumes' and isinstance(value,
                                                      yaml.SequenceNode):
                return [entry.start_mark.line + 1 for entry in value.value]
    return []


def _twice(node: yaml.Node | None) -> Iterator[str]:
    """Names that a mapping has twice, of which YAML takes the last."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if name.value in seen:
                yield (f'line {line}: {name.value} stands in line '
                       f'{seen[name.value]} already')
            seen[str(name.value)] = line
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twice(value)


def _reserved(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for number, volume in enumerate(volumes, start=1):
        if KEY_IN_METADATA in volume.get('metadata', {}):
            yield (f'entry {number} metadata.{KEY_IN_METADATA}: is set when '
                   'the volume is adopted')


def _duplicates(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, volume in enumerate(volumes, start=1):
        for word in {*volume['reference'].values(),
                     volume.get('source_id')} - {'', None}:
            if word in seen:
                yield (f'entry {number}: {word} is the LV of entry '
                       f'{seen[word]} too')
            seen.setdefault(word, number)
