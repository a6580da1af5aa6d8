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

from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any
import uuid

import jsonschema
from oslo_utils import units
import yaml

from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Identity
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.manageable import Place
from osc_volume_adopt.snapshots import Snapshot
from osc_volume_adopt.volume_options import VolumeOptions

_HEAD = """\
# A plan for `openstack volume adoption apply`: each entry becomes one volume.
# Edit what is under `volume`, or remove entries. What is under `lv` describes
# the logical volume as it was when the plan was written: leave it as it is.
# `left_out` is for information only.
"""
_TEXT = {'type': 'string', 'minLength': 1}
_TEXT_OR_NONE = {'type': ['string', 'null'], 'minLength': 1}

# The keys are those of cinder/api/validation/parameter_types.py.
_PROPERTIES = {
    'type': 'object',
    'propertyNames': {'type': 'string',
                      'pattern': '^[a-zA-Z0-9_:. /-]{1,255}$'},
    'additionalProperties': {'type': 'string', 'maxLength': 255}}

# What an operator may edit. The limits of name and metadata are the API's:
# cinder/api/schemas/volume_manage.py and volume_image_metadata.py.
VOLUME_FIELDS: Mapping[str, Mapping[str, Any]] = {
    'name': {
        'type': ['string', 'null'], 'maxLength': 255,
        'description': 'its name'},
    'volume_type': _TEXT_OR_NONE | {
        'description': "name or ID of its type; null for Cinder's default"},
    'availability_zone': _TEXT_OR_NONE | {
        'description': "its availability zone; null for the backend's"},
    'bootable': {
        'type': 'boolean', 'description': 'whether it can be booted from'},
    'project': _TEXT_OR_NONE | {
        'description': 'name or ID of the project that gets it; null for '
                       'your own'},
    'image_properties': _PROPERTIES | {
        'description': 'properties that Nova reads when it boots from the '
                       'volume, such as hw_firmware_type: uefi'},
    'metadata': _PROPERTIES | {
        'description': 'its properties (openstack volume set --property)'},
}
SNAPSHOT_FIELDS: Mapping[str, Mapping[str, Any]] = {
    'name': VOLUME_FIELDS['name'],
}
# What describes the LV. Without it, the plan could not be checked.
LV_FIELDS: Mapping[str, Mapping[str, Any]] = {
    'host': _TEXT | {'description': 'its backend, host@backend#pool'},
    'cluster': _TEXT | {
        'description': 'its backend in a cluster, cluster@backend#pool'},
    'driver': {
        'type': 'string',
        'description': 'the driver of the backend, if it reports its name'},
    'key': _TEXT | {
        'description': 'its name in messages and in the journal, if several '
                       'backends have an LV of that name'},
    'reference': {
        'type': 'object', 'minProperties': 1, 'additionalProperties': _TEXT,
        'description': 'how Cinder refers to it'},
    'source_id': {'type': 'string', 'description': 'its UUID'},
    'size': {
        'type': ['integer', 'null'], 'minimum': 0,
        'description': 'its size in bytes'},
    'gib': {
        'type': 'integer', 'minimum': 0,
        'description': 'the size in GiB that Cinder is to record'},
    'contents': {'type': 'string', 'description': 'what it contains'},
    'owner': {
        'type': 'string',
        'description': 'the other system that created it'},
}
LEFT_OUT_FIELDS: Mapping[str, Mapping[str, Any]] = {
    **{name: LV_FIELDS[name] for name in ('host', 'cluster')},
    'lv': _TEXT | {'description': 'its name'},
    'why': {'type': 'string', 'description': 'why it cannot be adopted'},
    **{name: LV_FIELDS[name]
       for name in ('size', 'gib', 'contents', 'owner')}}
_SNAPSHOT = {
    'type': 'object',
    'properties': {
        'snapshot': {'type': 'object', 'properties': SNAPSHOT_FIELDS,
                     'additionalProperties': False},
        'lv': {'type': 'object', 'properties': {
                   name: LV_FIELDS[name] for name in ('reference',
                                                      'source_id')},
               'required': ['reference'], 'additionalProperties': False}},
    'required': ['lv'],
    'additionalProperties': False}
_ENTRY = {
    'type': 'object',
    'properties': {
        'volume': {'type': 'object', 'properties': VOLUME_FIELDS,
                   'additionalProperties': False},
        'lv': {'type': 'object', 'properties': LV_FIELDS,
               'required': ['reference', 'gib'],
               'oneOf': [{'required': ['host']}, {'required': ['cluster']}],
               'additionalProperties': False},
        'snapshots': {'type': 'array', 'items': _SNAPSHOT}},
    'required': ['lv'],
    'additionalProperties': False}
_SCHEMA = {
    'type': 'object',
    'properties': {
        'plan': _TEXT,
        'volumes': {'type': 'array', 'items': _ENTRY},
        'left_out': {'type': 'array', 'items': {
            'type': 'object', 'properties': LEFT_OUT_FIELDS,
            'required': ['lv', 'why'], 'additionalProperties': False}}},
    'required': ['plan', 'volumes'],
    'additionalProperties': False}

# Every adopted volume has this metadata. Its value, PLAN/LV, finds the volume
# if Cinder's answer with the volume's ID was lost.
METADATA_KEY = 'adopted_by_plan'
_LONGEST = 255


def _name_of(reference: Mapping[str, str]) -> str:
    return str(reference.get('source-name') or next(iter(reference.values())))


def _managed_by(reference: Mapping[str, str], source_id: str,
                driver: str) -> Mapping[str, str]:
    """Return the reference by which Cinder is to manage an LV.

    With cinder_lvm_manage it is the UUID, which no other LV can get while the
    plan is applied. Other drivers may report an ID that they do not accept.
    """
    if driver == LVM_MANAGE and source_id:
        return {'source-id': source_id}
    return reference


@dataclasses.dataclass(frozen=True)
class SnapshotEntry:
    """A snapshot of an entry's LV, and what it is to become.

    :ivar driver: as of the entry
    :ivar name: of the volume's snapshot
    """

    reference: Mapping[str, str]
    driver: str = ''
    source_id: str = ''
    name: str | None = None

    @property
    def lv_name(self) -> str:
        """The name of the snapshot's LV."""
        return _name_of(self.reference)

    @property
    def managed_by(self) -> Mapping[str, str]:
        """The reference by which Cinder is to manage the snapshot's LV."""
        return _managed_by(self.reference, self.source_id, self.driver)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An LV and the volume that it is to become.

    :ivar location: the LV's backend
    :ivar gib: the size that Cinder is to record
    :ivar size: the LV's bytes when it was planned; None if the driver does
        not report them
    :ivar driver: LVM_MANAGE for cinder_lvm_manage, empty for most others
    :ivar key: see source; empty if the LV's name is enough
    :ivar contents, owner: of the LV when it was planned, for people
    :ivar project: name or ID; None for the caller's own
    """

    location: Location
    reference: Mapping[str, str]
    gib: int
    driver: str = ''
    key: str = ''
    source_id: str = ''
    size: int | None = None
    contents: str = ''
    owner: str = ''
    name: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    bootable: bool = False
    project: str | None = None
    image_properties: Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    snapshots: tuple[SnapshotEntry, ...] = ()

    @property
    def source(self) -> str:
        """The LV's name, by which messages and the journal refer to it.

        No other entry of the plan has the same.
        """
        return self.key or self.lv_name

    @property
    def lv_name(self) -> str:
        """The LV's name on its backend."""
        return _name_of(self.reference)

    def changed(self, fields: Mapping[str, Any]) -> Entry:
        """Return the entry with other fields; image properties are added."""
        return dataclasses.replace(self, **{
            **fields, 'image_properties': {
                **self.image_properties,
                **fields.get('image_properties', {})}})

    @property
    def managed_by(self) -> Mapping[str, str]:
        """The reference by which Cinder is to manage the LV."""
        return _managed_by(self.reference, self.source_id, self.driver)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An LV that could not be adopted when the plan was written.

    :ivar why: all reasons, for people
    :ivar size: in bytes; None if the driver does not report it
    """

    location: Location
    lv: str
    why: str
    gib: int = 0
    size: int | None = None
    contents: str = ''
    owner: str = ''


@dataclasses.dataclass(frozen=True)
class Plan:
    """Entries for one backend or several.

    :ivar id: part of each volume's metadata, by which it is found again
    """

    id: str
    volumes: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(cls, lvs: Iterable[Manageable], options: VolumeOptions,
           overrides: Mapping[Identity, Mapping[str, Any]] = {},
           snapshots: Mapping[Place, Iterable[Snapshot]] = {}) -> Plan:
        """Plan the LVs that are safe to manage.

        :param options: what holds for all volumes, or for those of some LVs
        :param overrides: other fields of single entries
        :param snapshots: to adopt with their origins; each is left out if it
            or its origin cannot be managed
        :raises InputError: the name template is invalid
        """
        lvs = list(lvs)
        safe = [lv for lv in lvs if lv.safe]
        named = Counter(lv.name for lv in safe)
        unsafe = [lv for lv in lvs if not lv.safe] + [
            snapshot.lv for lv in safe
            for snapshot in snapshots.get(lv.place, ())
            if not snapshot.can_follow]
        return cls(
            id=str(uuid.uuid4()),
            volumes=tuple(Entry(
                location=lv.location, reference=lv.reference, gib=lv.gib,
                driver=lv.driver, source_id=lv.source_id, size=lv.size,
                key=(f'{lv.location.name}/{lv.name}' if named[lv.name] > 1
                     else ''),
                contents=lv.contents, owner=lv.owner,
                snapshots=tuple(
                    SnapshotEntry(snapshot.lv.reference, lv.driver,
                                  snapshot.lv.source_id, snapshot.lv.name)
                    for snapshot in snapshots.get(lv.place, ())
                    if snapshot.can_follow),
                **options.fields_of(lv, number),
                ).changed(overrides.get(lv.identity, {}))
                for number, lv in enumerate(safe, start=1)),
            left_out=tuple(LeftOut(
                lv.location, lv.name, lv.reason, lv.gib, lv.size, lv.contents,
                lv.owner) for lv in unsafe))

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
        if faults:
            raise _invalid(path, faults)
        plan = cls(content['plan'],
                   tuple(map(_entry, content['volumes'])),
                   tuple(map(_left_out, content.get('left_out', ()))))
        faults += [*_duplicate_lvs(plan.volumes),
                   *_unusable_metadata(plan.id, plan.volumes)]
        if faults:
            raise _invalid(path, faults)
        return plan

    def save(self, path: pathlib.Path) -> None:
        """Write the plan to a new file.

        :raises InputError: the file exists, or cannot be created
        """
        content = {
            'plan': self.id,
            'volumes': [{'volume': _fields(entry, VOLUME_FIELDS),
                         'lv': _facts(entry, LV_FIELDS),
                         **_snapshots(entry)}
                        for entry in self.volumes],
            'left_out': [_facts(lv, LEFT_OUT_FIELDS) for lv in self.left_out]}
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

    @property
    def locations(self) -> tuple[Location, ...]:
        """The backends of its entries, in the order of the file."""
        return tuple(dict.fromkeys(entry.location for entry in self.volumes))

    @property
    def bytes_added(self) -> int:
        """Bytes that Cinder will record in addition to what the LVs have."""
        return sum(entry.gib * units.Gi - entry.size for entry in self.volumes
                   if entry.size is not None)


def _invalid(path: pathlib.Path, faults: Iterable[str]) -> InputError:
    return InputError('\n'.join([f'{path} is not a valid plan:', *faults]))


def _entry(content: Mapping[str, Any]) -> Entry:
    lv = content['lv']
    return Entry(
        **_with_location(lv), **content.get('volume', {}),
        snapshots=tuple(
            SnapshotEntry(driver=lv.get('driver', ''), **each['lv'],
                          **each.get('snapshot', {}))
            for each in content.get('snapshots', ())))


def _snapshots(entry: Entry) -> dict[str, Any]:
    """Return the part of an entry about snapshots, if it has any."""
    return {'snapshots': [
        {'snapshot': {'name': each.name},
         'lv': {'reference': dict(each.reference),
                **({'source_id': each.source_id} if each.source_id else {})}}
        for each in entry.snapshots]} if entry.snapshots else {}


def _left_out(content: Mapping[str, Any]) -> LeftOut:
    return LeftOut(**_with_location(content))


def _with_location(content: Mapping[str, Any]) -> dict[str, Any]:
    return {'location': Location(content.get('host'), content.get('cluster')),
            **{name: value for name, value in content.items()
               if name not in ('host', 'cluster')}}


def _fields(of: Entry | LeftOut, names: Iterable[str]) -> dict[str, Any]:
    values = dataclasses.asdict(of) | of.location.query
    return {name: values[name] for name in names if name in values}


def _facts(of: Entry | LeftOut, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields that are known."""
    return {name: value for name, value in _fields(of, names).items()
            if value not in ('', None)}


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


def _unusable_metadata(plan_id: str,
                       volumes: Iterable[Entry]) -> Iterator[str]:
    for number, entry in enumerate(volumes, start=1):
        if METADATA_KEY in entry.metadata:
            yield (f'entry {number} volume.metadata.{METADATA_KEY}: this key '
                   'is reserved and set by apply')
        if len(marker_of(plan_id, entry.source)[METADATA_KEY]) > _LONGEST:
            yield (f'entry {number}: the name {entry.source} is too long for '
                   f"the volume's property {METADATA_KEY}, which has at most "
                   f'{_LONGEST} characters')


def _duplicate_lvs(volumes: Iterable[Entry]) -> Iterator[str]:
    seen: dict[tuple[Location | None, str], int] = {}
    for number, entry in enumerate(volumes, start=1):
        # Two backends can have LVs of one name, but no two entries.
        words: list[tuple[Location | None, str]] = [
            *((entry.location, word) for word in (
                *entry.reference.values(), entry.source_id,
                *(word for each in entry.snapshots
                  for word in (*each.reference.values(), each.source_id)))
              if word),
            (None, entry.source)]
        for place, word in words:
            if (place, word) in seen:
                yield (f'entry {number}: {word} is already in entry '
                       f'{seen[place, word]}')
                break
        seen = dict.fromkeys(words, number) | seen


def marker_of(plan_id: str, source: str) -> dict[str, str]:
    """Return the metadata that identifies the volume of an LV."""
    return {METADATA_KEY: f'{plan_id}/{source}'}
