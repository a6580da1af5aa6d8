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

"""Rows of a listing, and a Cinder in memory with CinderApi's signatures."""

import dataclasses
import functools
import io
import json
import pathlib
import tempfile
from typing import Any
import unittest
from unittest import mock

from openstack import exceptions
import requests

from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.api import Service
from osc_volume_adopt.api import VolumeType
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.snapshots import Snapshot

HOST = Location(host='lab@lvm#lvm')

# As cinder_lvm_manage lists them.
SAFE: dict[str, Any] = {
    'reference': {'source-name': 'data1'}, 'size': 1, 'safe_to_manage': True,
    'reason_not_safe': None, 'cinder_id': None,
    'extra_info': {'driver': 'cinder_lvm_manage', 'reasons': '[]',
                   'source_id': 'id-1', 'size_bytes': '4194304',
                   'layout': 'linear', 'attr': '-wi-------', 'tags': 'a,b',
                   'owner': 'Proxmox VE, guest 101',
                   'contents': 'ext4 file system'}}
THIN_POOL = {'code': 'thin-pool', 'kind': 'unsafe', 'why': 'is a thin pool',
             'remedy': 'manage the thin volumes in it'}
IN_USE = {'code': 'in-use', 'kind': 'unsafe',
          'why': 'is open, mounted on /mnt/a(b; c',
          'remedy': 'run `umount "/mnt/a(b; c"`; or set lvm_manage_in_use'}
UNSAFE: dict[str, Any] = SAFE | {
    'reference': {'source-name': 'pool'}, 'safe_to_manage': False,
    'reason_not_safe': 'is a thin pool (manage the thin volumes in it)',
    'extra_info': {'driver': 'cinder_lvm_manage', 'source_id': 'id-2',
                   'reasons': json.dumps([THIN_POOL]), 'layout': 'thin,pool',
                   'size_bytes': '1073741824'}}
# A driver that reports no more than Cinder requires.
BARE: dict[str, Any] = SAFE | {
    'reference': {'source-id': 'abc', 'type': 'lun'}, 'extra_info': None}


def lv(row: dict[str, Any] = SAFE, **info: str) -> Manageable:
    """The LV of a row with other extra_info."""
    return Manageable.from_api(
        row | {'extra_info': row['extra_info'] | info} if info else row,
        HOST)


def named(name: str, row: dict[str, Any] = SAFE, **info: str) -> Manageable:
    return lv(row | {'reference': {'source-name': name}},
              source_id=f'id-{name}', **info)


def snapshot(name: str, origin: str, kind: str = 'thick',
             codes: tuple[str, ...] = ('foreign-snapshot',),
             cinder_id: str | None = None) -> Snapshot:
    """A snapshot that can be managed, unless there are codes of reasons."""
    reasons = [THIN_POOL | {'code': code} for code in codes]
    return Snapshot.from_api(SAFE | {
        'reference': {'source-name': name}, 'safe_to_manage': not codes,
        'reason_not_safe': 'why' if codes else None, 'cinder_id': cinder_id,
        'source_reference': {'source-name': origin},
        'extra_info': SAFE['extra_info'] | {
            'source_id': f'id-{name}', 'reasons': json.dumps(reasons),
            **({'kind': kind} if kind else {})}}, HOST)


def answer(status: int, text: str = '{"forbidden": {"message": "no"}}',
           path: str = '/volumes') -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = text.encode()
    response.headers['Content-Type'] = 'application/json'
    response.url = f'http://cinder/v3/p{path}'
    response.request = requests.Request('GET', response.url).prepare()
    return response


def refusal(status: int, path: str = '/volumes') -> exceptions.HttpException:
    """What the SDK raises for such an answer."""
    try:
        exceptions.raise_from_response(answer(status, path=path))
    except exceptions.HttpException as exc:
        return exc
    raise AssertionError(status)


class Terminal(io.StringIO):
    """A terminal, for what is read from it or written to it."""

    def isatty(self):
        return True


class FakeCinder:
    """Cinder's volumes in a dict.

    :ivar errors: by LV, what its manage raises, or the status it ends with
    :ivar requested: the LVs for which a manage was requested, in order
    :ivar kept: IDs of volumes that cannot be unmanaged
    :ivar held: by LV, the ID of the volume or snapshot that has it
    :ivar admin_of: projects in which the caller may manage volumes
    """

    def __init__(self, errors=()):
        self.errors = dict(errors)
        self.volumes: dict[str, Any] = {}
        self.requested: list[str] = []
        self.transferred: list[tuple[str, Any]] = []
        self.kept: set[str] = set()
        self.held: dict[str, str] = {}
        self.admin_of: set[str] = set()
        self.projects = {'theirs': 'their-id'}
        self.managed_snapshots: dict[str, Any] = {}
        self.lvs = [named(name) for name in ('data1', 'data2', 'data3')]
        self.snapshot_lvs: list[Snapshot] = []
        self.types = {'__DEFAULT__': VolumeType('type-0', '__DEFAULT__', {},
                                                True)}
        self.encrypted: set[str] = set()
        self.access: dict[str, set[str]] = {}
        self.capabilities: dict[str, dict[str, Any]] = {HOST.name: {
            'volume_backend_name': 'lvm', 'thin_provisioning_support': False,
            'thick_provisioning_support': True}}
        self.service = Service('lab@lvm', None, 'nova', True, True,
                               '2026-01-01T00:00:00.000000')
        self.quotas: dict[str, dict[str, dict[str, int]]] = {}

    @property
    def api(self) -> Any:
        """A CinderApi; a call that the real one would refuse fails."""
        return self.api_of('mine')

    def api_of(self, project: str) -> Any:
        """The API with a token for a project."""
        api = mock.create_autospec(CinderApi, instance=True)
        for name in dir(CinderApi):
            if callable(getattr(self, name, None)) and name[0] != '_':
                getattr(api, name).side_effect = getattr(self, name)
        for name in ('manage', 'manage_snapshot', 'may_manage'):
            getattr(api, name).side_effect = functools.partial(
                getattr(self, name), project)
        return api

    def project_id(self, name_or_id):
        return self.projects.get(name_or_id)

    def for_project(self, project_id):
        return self.api_of(project_id)

    def may_manage(self, project, location):
        return project in self.admin_of

    def manageable(self, location):
        for lv in self.lvs:
            yield dataclasses.replace(
                lv, location=location,
                cinder_id=self.held.get(lv.name, lv.cinder_id))

    def manageable_snapshots(self, location):
        for each in self.snapshot_lvs:
            yield dataclasses.replace(each, lv=dataclasses.replace(
                each.lv, cinder_id=self.held.get(each.lv.name,
                                                 each.lv.cinder_id)))

    def _name_of(self, reference, lvs):
        return reference.get('source-name') or next(
            lv.name for lv in lvs if lv.source_id == reference['source-id'])

    def manage(self, project, location, reference, fields):
        source = self._name_of(reference, self.lvs)
        self.requested.append(source)
        volume = {'id': f'id-{source}', 'status': 'available', 'size': 1,
                  'os-vol-tenant-attr:tenant_id': project,
                  'os-vol-host-attr:host': HOST.name, 'attachments': [],
                  **fields}
        error = self.errors.pop(source, None)
        if isinstance(error, exceptions.HttpException):
            raise error
        self.volumes[volume['id']] = volume
        if isinstance(error, str):
            volume |= {'status': error, 'size': 0}
            return volume['id']
        self.held[source] = volume['id']
        if error:
            # The answer is lost, but not the request.
            raise error
        return volume['id']

    def set_image_properties(self, volume_id, properties):
        self.volumes[volume_id]['volume_image_metadata'] = dict(properties)

    def _released(self, found_id):
        self.held = {name: holder for name, holder in self.held.items()
                     if holder != found_id}

    def unmanage(self, volume_id):
        if volume_id in self.kept or self.snapshots(volume_id):
            raise refusal(400)
        del self.volumes[volume_id]
        self._released(volume_id)

    def manage_snapshot(self, project, volume_id, reference, fields):
        source = self._name_of(reference,
                               [each.lv for each in self.snapshot_lvs])
        self.requested.append(source)
        snapshot = {
            'id': f'id-{source}', 'volume_id': volume_id, 'size': 1,
            'status': 'available',
            'os-extended-snapshot-attributes:project_id': project, **fields}
        error = self.errors.pop(source, None)
        if isinstance(error, exceptions.HttpException):
            raise error
        self.managed_snapshots[snapshot['id']] = snapshot
        if isinstance(error, str):
            snapshot['status'] = error
            return snapshot['id']
        self.held[source] = snapshot['id']
        if error:
            raise error
        return snapshot['id']

    def snapshot(self, snapshot_id):
        return self.managed_snapshots.get(snapshot_id)

    def unmanage_snapshot(self, snapshot_id):
        del self.managed_snapshots[snapshot_id]
        self._released(snapshot_id)

    def volume(self, volume_id):
        return self.volumes.get(volume_id)

    def volumes_with(self, metadata):
        return [volume for volume in self.volumes.values()
                if metadata.items() <= volume['metadata'].items()]

    def project_name(self, project_id):
        return f'name of {project_id}'

    def all_volumes(self):
        return list(self.volumes.values())

    def volumes_in(self, project_id):
        return [volume for volume in self.volumes.values()
                if volume['os-vol-tenant-attr:tenant_id'] == project_id]

    def snapshots(self, volume_id):
        return [each for each in self.managed_snapshots.values()
                if each['volume_id'] == volume_id]

    def services(self):
        return [self.service]

    def pools(self):
        return self.capabilities

    def volume_types(self):
        return self.types

    def default_volume_type(self):
        return self.types.get('__DEFAULT__')

    def is_encrypted(self, type_id):
        return type_id in self.encrypted

    def type_projects(self, type_id):
        return self.access.get(type_id, set())

    def own_project(self):
        return 'mine'

    def quota(self, project_id):
        return self.quotas.get(project_id, {})

    def transfer(self, volume_id, receiver):
        if receiver == 'full':
            raise refusal(413)
        self.transferred.append((volume_id, receiver))

    def cancel_transfer(self, volume_id):
        self.volumes[volume_id]['status'] = 'available'


class InAFolder(unittest.TestCase):
    """With self.path in an empty folder."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, 'file')
