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

"""What openstack volume adoption says of disks, plans and backends.

Two backends on groups as another hypervisor leaves them, on a real Cinder.
"""

import json
import os

import pytest
import yaml

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.device_nodes import device_nodes
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup
from tests.unit.contents import recorded

HOSTS = 'lab@lvm#lvm', 'lab@old#old'
ON = ('--host', HOSTS[0])
ON_BOTH = (*ON, '--host', HOSTS[1])
NOBODY = '11111111-2222-4333-8444-555555555555'


class Lab:
    """A client of that Cinder, and the two groups."""

    def __init__(self, cinder, *groups):
        self.cinder = cinder
        self.groups = groups
        self.client = OpenStackClient(cinder.url)

    def run(self, command, *arguments, status=0):
        done = self.client.run('volume', 'adoption', command, *arguments)
        assert done.returncode == status, done.stderr
        assert 'Traceback' not in done.stderr
        return done

    def json(self, command, *arguments, status=0):
        return json.loads(self.run(command, *arguments, '-f', 'json',
                                   status=status).stdout)

    def names(self):
        return [group.names() for group in self.groups]


@pytest.fixture(scope='module')
def lab():
    with (ScratchVolumeGroup(f'disks{os.getpid()}') as group,
          ScratchVolumeGroup('old', beside=group) as old,
          device_nodes(group) as nodes):
        for lv_name, sample in (('vm-101-disk-0', recorded('gpt-efi')),
                                ('vm-101-disk-1', recorded('ext4')),
                                ('vm-102-disk-0', None)):
            group.create(lv_name, '64m')
            group.lvm('lvchange', '--addtag', f'pve-{lv_name[:6]}',
                      f'{group.name}/{lv_name}')
            if sample:
                nodes.create(lv_name).write_bytes(sample.head)
        group.lvm('lvchange', '--permission', 'r',
                  f'{group.name}/vm-102-disk-0')
        old.create('vm-101-disk-0', '1g')
        options = {'lvm_manage_without_device_mapper': 'true'}
        with CinderDeployment(Backend(group, options),
                              Backend(old, options, 'old')) as cinder:
            yield Lab(cinder, group, old)


def test_owner_and_contents_are_listed_shown_and_filtered(lab):
    rows = {row['Name']: row for row in lab.json('list', *ON)}
    assert {name: (row['Owner'], row['Contents'])
            for name, row in rows.items()} == {
        'vm-101-disk-0': ('Proxmox VE, guest 101', 'GPT partition table'),
        'vm-101-disk-1': ('Proxmox VE, guest 101', 'ext4 file system "data"'),
        'vm-102-disk-0': ('Proxmox VE, guest 102',
                          'not read: it has no device node')}
    for options, names in (
            (('--owner', 'proxmox*101'), {'vm-101-disk-0', 'vm-101-disk-1'}),
            (('--contents', '*EXT4*', '--tag', 'pve-*'), {'vm-101-disk-1'})):
        assert {row['Name'] for row in lab.json('list', *ON, *options)
                } == names
    shown = lab.json('show', *ON, 'vm-101-disk-0')
    assert shown['Owner'] == 'Proxmox VE, guest 101'
    assert shown['Contents'] == 'GPT partition table'


def test_a_table_explains_each_reason_once(lab):
    table = lab.run('list', *ON_BOTH).stdout
    assert table.count(HOSTS[1]) == 1
    assert table.endswith(
        '+\nread-only (1 LV): vm-102-disk-0 is read-only (run `lvchange '
        f'--permission rw {lab.groups[0].name}/vm-102-disk-0`)\n')


def test_a_backend_or_pool_that_does_not_exist_is_refused(lab):
    for host, words in (('lab@lvm#ssd', 'lab@lvm has no pool ssd. Known: lvm'),
                        ('lab@new#new', 'Known: lab@lvm, lab@old.')):
        for command in ('list', 'audit'):
            done = lab.run(command, '--host', host, status=1)
            assert done.stdout == ''
            assert words in done.stderr


def test_a_plan_over_two_backends(lab, tmp_path):
    before = lab.names()
    path = tmp_path / 'plan.yaml'
    made = lab.run('plan', *ON_BOTH, '--image-property', 'hw_disk_bus=scsi',
                   '--image-property', '*-1:os_type=linux', '--output', path)
    # The two LVs of one name would have volumes of one name.
    assert "volume name 'vm-101-disk-0' is used more than once" in made.stderr
    content = yaml.safe_load(path.read_text())
    assert [entry['volume']['bootable'] for entry in content['volumes']] == [
        True, False, False]
    content['volumes'][2]['volume']['name'] = 'old'
    path.write_text(yaml.safe_dump(content))
    assert lab.json('status', path)['Left'] == 3
    applied = lab.run('apply', path)
    assert 'adopted: 3; failed: 0' in applied.stdout
    volumes = {volume['name']: volume for volume in lab.cinder.api.request(
        'GET', 'volumes/detail').body['volumes']}
    assert {name: (volume['os-vol-host-attr:host'], volume['bootable'],
                   volume['volume_image_metadata'])
            for name, volume in volumes.items()} == {
        'vm-101-disk-0': (HOSTS[0], 'true', {'hw_firmware_type': 'uefi',
                                             'hw_disk_bus': 'scsi'}),
        'vm-101-disk-1': (HOSTS[0], 'false', {'hw_disk_bus': 'scsi',
                                              'os_type': 'linux'}),
        'old': (HOSTS[1], 'false', {'hw_disk_bus': 'scsi'})}
    shown = lab.json('status', path)
    assert (shown['Done'], shown['Failed'], shown['Left']) == (3, 0, 0)
    assert {each['volume'] for each in shown['Details']} == {
        volume['id'] for volume in volumes.values()}
    lab.run('report', path, '--html', tmp_path / 'report.html', '--markdown',
            tmp_path / 'report.md')
    ticket = (tmp_path / 'report.md').read_text()
    assert '| done | 3 | 3 | 1,207,959,552 |' in ticket
    assert 'Proxmox VE, guest 101' in ticket
    page = (tmp_path / 'report.html').read_text()
    assert all(volume['id'] in page for volume in volumes.values())
    for host in HOSTS:
        assert lab.json('audit', '--host', host) == []
    # Managed LVs are in no plan, and their names are taken.
    again = lab.run('plan', *ON_BOTH, '--output', tmp_path / 'new.yaml')
    assert 'already manages them: 3 LVs' in again.stderr
    lab.run('undo', f'{path}.journal')
    assert lab.json('status', path)['Undone'] == 3
    assert lab.names() == before


def managed(lab, lv_name):
    volume = lab.cinder.api.manage({'source-name': lv_name}
                                   ).body['volume']['id']
    lab.cinder.api.wait(volume, 'available')
    return volume


def test_an_audit_finds_what_does_not_fit(lab):
    group = lab.groups[0]
    before = lab.names()
    lost, renamed, longer = (
        managed(lab, name) for name in (
            'vm-101-disk-0', 'vm-101-disk-1', spare(group, 'longer')))
    assert lab.json('audit', *ON) == []
    moved = f'{group.name}/volume-{lost}'
    group.lvm('lvchange', '--deltag', f'cinder_lvm_manage:id={lost}', moved)
    group.lvm('lvrename', group.name, f'volume-{lost}', 'lost')
    group.lvm('lvrename', group.name, f'volume-{renamed}', 'renamed')
    group.lvm('lvextend', '--size', '1028m', f'{group.name}/volume-{longer}')
    group.create(f'volume-{NOBODY}', '4m')
    group.lvm('lvchange', '--addtag', f'cinder_lvm_manage:id={NOBODY}',
              '--addtag', 'cinder_lvm_manage:name=x',
              f'{group.name}/{spare(group, "tagged")}')
    found = {row['Code']: row for row in lab.json('audit', *ON, status=3)}
    assert {code: (row['LV'], row['Volume'])
            for code, row in found.items()} == {
        'lv-missing': ('', lost), 'lv-renamed': ('renamed', renamed),
        'size-differs': (f'volume-{longer}', longer),
        'volume-missing': (f'volume-{NOBODY}', NOBODY),
        'tags-without-volume': ('tagged', NOBODY)}
    assert all(row['Problem'] and row['Remedy'] for row in found.values())
    # As the remedies say.
    group.lvm('lvrename', group.name, 'renamed', f'volume-{renamed}')
    group.lvm('lvrename', group.name, 'lost', f'volume-{lost}')
    group.lvm('lvchange', '--addtag', f'cinder_lvm_manage:id={lost}', moved)
    for lv_name in (f'volume-{NOBODY}', 'tagged'):
        group.lvm('lvremove', '--yes', f'{group.name}/{lv_name}')
    assert lab.cinder.api.request('POST', f'volumes/{longer}/action', {
        'os-extend': {'new_size': 2}}).status == 202
    lab.cinder.api.wait(longer, 'available')
    assert lab.json('audit', *ON) == []
    for volume in (lost, renamed, longer):
        lab.cinder.api.unmanage(volume)
        lab.cinder.api.wait_until_gone(volume)
    group.lvm('lvremove', '--yes', f'{group.name}/longer')
    assert lab.names() == before


def spare(group, lv_name):
    group.create(lv_name, '1g')
    return lv_name


def test_an_audit_finds_what_failed(lab):
    group = lab.groups[0]
    before = lab.names()
    volume = lab.cinder.api.manage({'source-name': 'vm-102-disk-0'}
                                   ).body['volume']['id']
    lab.cinder.api.wait(volume, 'error')
    row, = lab.json('audit', *ON, status=3)
    assert (row['Code'], row['Volume']) == ('never-available', volume)
    assert lab.cinder.api.delete(volume).status == 202
    lab.cinder.api.wait_until_gone(volume)
    assert lab.json('audit', *ON) == []
    assert lab.names() == before
    assert group.tags('vm-102-disk-0') == {'pve-vm-102'}
