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

"""A plan: which LVs are to become which volumes, in a file for people."""

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

from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable

_HEAD = """\
# A plan for `openstack volume adoption apply`: each entry becomes one volume.
# Edit or remove entries as needed. left_out is for information only.
"""
_TEXT = {'type': 'string', 'minLength': 1}
_TEXT_OR_NONE = {'type': ['string', 'null'], 'minLength': 1}
_REFERENCE = {'type': 'object', 'minProperties': 1,
              'additionalProperties': _TEXT}
# The API's limits: cinder/api/schemas/volume_manage.py.
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
        'driver': {'type': 'string'},
        'volumes': {'type': 'array', 'items': _ENTRY},
        'left_out': {'type': 'array'}},
    'required': ['plan', 'volumes'],
    'oneOf': [{'required': ['host']}, {'required': ['cluster']}],
    'additionalProperties': False}

# Every adopted volume has this metadata. Its value, PLAN/LV, finds the volume
# if Cinder's answer with the volume's ID was lost.
METADATA_KEY = 'adopted_by_plan'


@dataclasses.dataclass(frozen=True)
class VolumeOptions:
    """What the volumes of a plan have in common.

    :ivar project: name or ID; None for the caller's own
    """

    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    project: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An LV and the volume that it is to become.

    :ivar gib: the size that Cinder is to record
    :ivar size: the LV's bytes when it was planned; None if the driver does
        not report them
    :ivar project: name or ID; None for the caller's own
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
        """The LV's name, by which messages and the journal refer to it."""
        return str(self.reference.get('source-name')
                   or next(iter(self.reference.values())))


@dataclasses.dataclass(frozen=True)
class Plan:
    """Entries for one backend.

    :ivar id: part of each volume's metadata, by which it is found again
    :ivar driver: LVM_MANAGE for cinder_lvm_manage, empty for most others
    :ivar left_out: LVs that cannot be adopted, each with the reason
    """

    id: str
    location: Location
    volumes: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    driver: str = ''

    @classmethod
    def of(cls, location: Location, lvs: Iterable[Manageable],
           name_template: str, options: VolumeOptions,
           overrides: Mapping[str, Mapping[str, Any]] = {}) -> Plan:
        """Plan the LVs that are safe to manage.

        :param name_template: the volumes' names, see names()
        :param options: what holds for all volumes
        :param overrides: other fields of single entries, by their LVs' names
        :raises InputError: the template is invalid
        """
        lvs = list(lvs)
        safe = [lv for lv in lvs if lv.safe]
        entries = [Entry(
            reference=lv.reference, gib=lv.gib, source_id=lv.source_id,
            size=lv.size, name=name, volume_type=options.volume_type,
            availability_zone=options.availability_zone,
            bootable=options.bootable, project=options.project,
            metadata=options.metadata)
            for lv, name in zip(safe, names(safe, name_template),
                                strict=True)]
        return cls(
            id=str(uuid.uuid4()), location=location,
            volumes=tuple(dataclasses.replace(
                entry, **overrides.get(entry.source, {}))
                for entry in entries),
            left_out=tuple((lv.name, lv.reason) for lv in lvs if not lv.safe),
            driver=lvs[0].driver if lvs else '')

    @classmethod
    def load(cls, path: pathlib.Path) -> Plan:
        """Read a file that save() has written and people have edited.

        :raises InputError: it cannot be read, or is not a plan
        """
        try:
            text = path.read_text(encoding='utf-8')
            content = yaml.safe_load(text)
            # The nodes have what safe_load drops: line numbers, and keys that
            # occur twice.
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
            raise InputError(f'Cannot read {path}: {exc}') from exc
        lines = _lines(node)
        faults = list(_duplicate_keys(node))
        faults += [
            f'{_place(fault, lines)}: {fault.message}' for fault in
            jsonschema.Draft202012Validator(_SCHEMA).iter_errors(content)]
        if not faults:
            faults += _duplicate_lvs(content['volumes'])
            faults += _reserved_metadata(content['volumes'])
        if faults:
            raise InputError('\n'.join([f'{path} is not a valid plan:',
                                        *faults]))
        return cls(
            content['plan'],
            Location(content.get('host'), content.get('cluster')),
            tuple(Entry(**entry) for entry in content['volumes']),
            driver=content.get('driver', ''))

    def save(self, path: pathlib.Path) -> None:
        """Write the plan to a new file.

        :raises InputError: the file exists, or cannot be created
        """
        content = {
            'plan': self.id, **self.location.query, 'driver': self.driver,
            'volumes': [dataclasses.asdict(entry) for entry in self.volumes],
            'left_out': [{'lv': lv, 'why': why} for lv, why in self.left_out]}
        try:
            with path.open('x', encoding='utf-8') as file:
                file.write(_HEAD)
                yaml.safe_dump(content, file, sort_keys=False,
                               allow_unicode=True, width=200)
        except FileExistsError as exc:
            raise InputError(f'{path} already exists. Remove it, or write the '
                             'plan to another file.') from exc
        except OSError as exc:
            raise InputError(f'Cannot write {path}: {exc}') from exc

    def reference_of(self, entry: Entry) -> Mapping[str, str]:
        """Return the reference by which Cinder is to manage the LV.

        With cinder_lvm_manage it is the UUID, which no other LV can get while
        the plan is applied. Other drivers may report an ID that they do not
        accept.
        """
        if self.driver == LVM_MANAGE and entry.source_id:
            return {'source-id': entry.source_id}
        return entry.reference

    @property
    def bytes_added(self) -> int:
        """Bytes that Cinder will record in addition to what the LVs have."""
        return sum(entry.gib * units.Gi - entry.size for entry in self.volumes
                   if entry.size is not None)


def names(lvs: Iterable[Manageable], template: str) -> Iterator[str]:
    """Yield the volumes' names.

    :param template: with {name} and {id} of the LV, its {gib}, and the
        {number} of the entry, from 1
    :raises InputError: it has other fields
    """
    for number, lv in enumerate(lvs, start=1):
        known = {'name': lv.name, 'id': lv.source_id, 'gib': lv.gib,
                 'number': number}
        try:
            yield string.Formatter().vformat(template, (), known)
        except (KeyError, IndexError, ValueError, AttributeError) as exc:
            raise InputError(
                f'Invalid name template {template!r} ({exc}). Its fields are '
                + ', '.join(f'{{{name}}}' for name in known) + '.') from exc


def _place(fault: jsonschema.ValidationError, lines: list[int]) -> str:
    path = list(fault.absolute_path)
    if path[:1] == ['volumes'] and len(path) > 1:
        number = int(path[1])
        return (f'entry {number + 1} (line {lines[number]}) '
                + '.'.join(map(str, path[2:]))).rstrip()
    return '.'.join(map(str, path)) or 'the file'


def _lines(node: yaml.Node | None) -> list[int]:
    """Return the line numbers at which the entries start, from 1."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == 'volumes' and isinstance(value,
                                                      yaml.SequenceNode):
                return [entry.start_mark.line + 1 for entry in value.value]
    return []


def _duplicate_keys(node: yaml.Node | None) -> Iterator[str]:
    """Yield the keys that a mapping has twice; YAML uses the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if name.value in seen:
                yield (f'line {line}: {name.value} is already set in line '
                       f'{seen[name.value]}')
            seen[str(name.value)] = line
            yield from _duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicate_keys(value)


def _reserved_metadata(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for number, volume in enumerate(volumes, start=1):
        if METADATA_KEY in volume.get('metadata', {}):
            yield (f'entry {number} metadata.{METADATA_KEY}: this key is '
                   'reserved and set by apply')


def _duplicate_lvs(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, volume in enumerate(volumes, start=1):
        for word in {*volume['reference'].values(),
                     volume.get('source_id')} - {'', None}:
            if word in seen:
                yield (f'entry {number}: {word} is already in entry '
                       f'{seen[word]}')
            seen.setdefault(word, number)
