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


"""LVs in states that only a kernel gives them, each with its reason."""

import contextlib
import os
import pathlib
import stat
import subprocess
import time

from cinder import exception
from oslo_utils import units
import pytest

from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('states', physical_volumes=2, size=2 * units.Gi,
                            device_mapper=True, breakable=True) as vg:
        vg.lvm('lvcreate', '--yes', '--type', 'thin-pool', '--name',
               f'{vg.name}-pool', '--size', '16m', vg.name)
        vg.lvm('lvchange', '--errorwhenfull', 'y', f'{vg.name}/{vg.name}-pool')
        yield vg


@pytest.fixture(scope='module')
def in_process(group, tmp_path_factory):
    os.environ.update(group.environment)
    with CinderInProcess(tmp_path_factory.mktemp('cinder')) as cinder:
        yield cinder


class States:
    """The group, and drivers for it."""

    def __init__(self, group, in_process):
        self.group = group
        self.in_process = in_process

    def driver(self, **options):
        return self.in_process.driver(
            self.group, lvm_manage_without_device_mapper=False, **options)

    def volume(self):
        return self.in_process.record_volume()

    def path(self, name):
        return pathlib.Path('/dev', self.group.name, name)

    def change(self, name, *options):
        self.group.lvm('lvchange', *options, f'{self.group.name}/{name}')

    def entry(self, name, driver):
        entry, = (entry for entry in driver.get_manageable_volumes(
                      [], None, None, None, ['reference'], ['asc'])
                  if entry['reference']['source-name'] == name)
        return entry

    def attr(self, name):
        attr, = (row['lv_attr']
                 for row in self.group.report('lv_name', 'lv_attr')
                 if row['lv_name'] == name)
        return attr

    def assert_refused(self, name, why, **options):
        """Listed as unsafe, and not managed, for this reason."""
        driver = self.driver(**options)
        assert why in self.entry(name, driver)['reason_not_safe']
        before = self.group.changes()
        with pytest.raises(exception.ManageExistingInvalidReference,
                           match='LV ') as refused:
            driver.manage_existing(self.volume(), {'source-name': name})
        assert why in str(refused.value)
        assert self.group.changes() == before

    def manage(self, name, **options):
        """Listed as safe, and managed; the volume."""
        driver = self.driver(**options)
        assert self.entry(name, driver)['reason_not_safe'] is None
        volume = self.volume()
        driver.manage_existing(volume, {'source-name': name})
        return volume


@pytest.fixture
def states(group, in_process):
    """An empty group, but for its thin pool of 16 MiB."""
    yield States(group, in_process)
    for name in group.names().keys() - {f'{group.name}-pool'}:
        with contextlib.suppress(RuntimeError):  # gone with another, or LVM's
            group.lvm('lvremove', '--yes', f'{group.name}/{name}')


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def reader(path, folder):
    with path.open('rb'):
        yield


@contextlib.contextmanager
def mounted_again(path, folder):
    run('mount', str(path), str(folder))
    try:
        yield
    finally:
        run('umount', str(folder))


@contextlib.contextmanager
def mounted(path, folder):
    run('mkfs.ext4', '-q', str(path))
    with mounted_again(path, folder):
        yield


@contextlib.contextmanager
def swap(path, folder):
    # Its own node, for the LV's is renamed with it.
    node = folder / 'swap'
    os.mknod(node, stat.S_IFBLK | 0o600, path.stat().st_rdev)
    run('mkswap', str(node))
    run('swapon', str(node))
    try:
        yield
    finally:
        run('swapoff', str(node))


@contextlib.contextmanager
def device_on_top(path, folder):
    run('dmsetup', 'create', 'on-top', '--table', f'0 2048 linear {path} 0')
    try:
        yield
    finally:
        run('dmsetup', 'remove', 'on-top')


@contextlib.contextmanager
def export(path, folder):
    tgtadm = ('tgtadm', '--lld', 'iscsi', '--tid', '7')
    run(*tgtadm, '--op', 'new', '--mode', 'target', '-T', 'iqn.2026-01.x:x')
    run(*tgtadm, '--op', 'new', '--mode', 'logicalunit', '--lun', '1',
        '--backing-store', str(path))
    try:
        yield
    finally:
        run(*tgtadm, '--op', 'delete', '--mode', 'target')


@pytest.mark.parametrize(('use', 'who'), [
    (reader, ''), (mounted, ', mounted on {folder}'), (swap, ', used as swap'),
    (device_on_top, ', held by on-top'), (export, '')])
def test_an_lv_in_use_is_refused_and_taken_where_the_operator_says_so(
        states, tmp_path, use, who):
    states.group.create('data', '16m')
    who = who.format(folder=tmp_path)
    with use(states.path('data'), tmp_path):
        states.assert_refused('data', f'is open{who} (stop what uses')
        users = states.entry('data', states.driver())['extra_info'].get(
            'users', '')
        assert users == who.removeprefix(', ')
        volume = states.manage('data', lvm_manage_in_use=True)
        assert states.attr(volume.name)[5] == 'o'


def test_a_mounted_file_system_lives_through_being_managed(states, tmp_path):
    states.group.create('data', '16m')
    with mounted(states.path('data'), tmp_path):
        tmp_path.joinpath('before').write_text('a')
        volume = states.manage('data', lvm_manage_in_use=True)
        tmp_path.joinpath('after').write_text('b')
        os.sync()
    with mounted_again(states.path(volume.name), tmp_path):
        assert {file.name for file in tmp_path.iterdir()} >= {'before',
                                                              'after'}


def test_an_inactive_lv_is_active_until_it_is_unmanaged(states):
    states.group.create('data', '16m')
    states.change('data', '--activate', 'n')
    volume = states.manage('data')
    assert states.attr(volume.name)[4] == 'a'
    states.driver().unmanage(volume)
    assert states.attr('data')[4] == '-'


def test_an_lv_that_activation_skips_is_there_after_a_reboot(states):
    states.group.create('data', '16m')
    states.change('data', '--setactivationskip', 'y',
                  '--setautoactivation', 'n')
    states.change('data', '--activate', 'n')
    volume = states.manage('data')
    for how in ('n', 'ay'):
        states.group.lvm('vgchange', '--activate', how, states.group.name)
    assert states.path(volume.name).exists()
    states.driver().unmanage(volume)
    for how in ('n', 'ay'):
        states.group.lvm('vgchange', '--activate', how, states.group.name)
    assert states.attr('data')[4::5] == '-k'


def test_an_open_lv_that_was_inactive_stays_active_when_it_is_unmanaged(
        states):
    states.group.create('data', '16m')
    states.change('data', '--activate', 'n')
    volume = states.manage('data')
    with states.path(volume.name).open('rb'):
        states.driver().unmanage(volume)
    assert states.attr('data')[4] == 'a'


def test_a_suspended_lv_is_refused(states):
    states.group.create('data', '16m')
    device = f'{states.group.name}-data'
    run('dmsetup', 'suspend', device)
    try:
        states.assert_refused('data', 'is suspended (dmsetup resume it)')
    finally:
        run('dmsetup', 'resume', device)


def test_a_thin_lv_in_a_full_pool_is_refused(states):
    pool = f'{states.group.name}-pool'
    states.group.lvm('lvcreate', '--yes', '--name', 'data', '--virtualsize',
                     '64m', '--thinpool', pool, states.group.name)
    with pytest.raises(subprocess.CalledProcessError):
        run('dd', 'if=/dev/urandom', f"of={states.path('data')}", 'bs=1M',
            'count=64', 'oflag=direct')
    states.assert_refused(
        'data', f'lies in thin pool {pool}, which is out of data space',
        lvm_type='thin')


def test_a_snapshot_that_has_overflowed_is_refused_as_one(states):
    states.group.create('data', '16m')
    volume = states.manage('data')
    states.group.lvm('lvcreate', '--yes', '--snapshot', '--name', 'monday',
                     '--size', '4m', f'{states.group.name}/{volume.name}')
    states.path(volume.name).write_bytes(os.urandom(16 * units.Mi))
    os.sync()
    snapshot = states.in_process.record_snapshot(volume)
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match='is an invalid snapshot'):
        states.driver().manage_existing_snapshot(
            snapshot, {'source-name': 'monday'})


def test_a_raid_with_a_failed_leg_and_lvs_of_a_lost_disk_are_refused(states):
    group = states.group
    group.lvm('lvcreate', '--yes', '--type', 'raid1', '--mirrors', '1',
              '--size', '32m', '--name', 'mirrored', group.name)
    group.lvm('lvcreate', '--yes', '--size', '16m', '--name', 'lost',
              group.name, f'/dev/mapper/{group.name}-pv1')
    group.lvm('lvcreate', '--yes', '--size', '16m', '--name', 'elsewhere',
              group.name, f'/dev/mapper/{group.name}-pv0')
    with group.broken_physical_volume():
        states.path('mirrored').write_bytes(os.urandom(units.Mi))
        os.sync()
        time.sleep(1)
        for name in ('mirrored', 'lost'):
            states.assert_refused(name, 'lies on a missing physical volume')
        states.assert_refused(
            'elsewhere', 'of which a physical volume is missing: LVM refuses')
    states.assert_refused('mirrored',
                          'has a RAID image that needs refresh or repair')
    states.change('mirrored', '--refresh')
    states.manage('elsewhere')


def test_a_raid_and_a_cached_lv_are_managed(states):
    group = states.group
    group.lvm('lvcreate', '--yes', '--type', 'raid1', '--mirrors', '1',
              '--size', '16m', '--name', 'mirrored', group.name)
    group.create('cached', '16m')
    group.lvm('lvcreate', '--yes', '--type', 'cache-pool', '--size', '16m',
              '--name', 'fast', group.name)
    group.lvm('lvconvert', '--yes', '--type', 'cache', '--cachepool',
              f'{group.name}/fast', f'{group.name}/cached')
    for name in ('mirrored', 'cached'):
        digest = states.path(name).read_bytes()
        volume = states.manage(name)
        assert states.path(volume.name).read_bytes() == digest
        states.driver().unmanage(volume)
        assert states.path(name).read_bytes() == digest


def test_an_lv_that_is_being_moved_is_refused(states):
    group = states.group
    group.lvm('lvcreate', '--yes', '--size', '16m', '--name', 'data',
              group.name, f'/dev/mapper/{group.name}-pv0')
    # It looks for the end of the copying after that many seconds only.
    group.lvm('pvmove', '--background', '--interval', '+600', '--name', 'data',
              f'/dev/mapper/{group.name}-pv0')
    try:
        states.assert_refused('data', 'is locked by a pvmove')
    finally:
        group.lvm('pvmove', '--abort')
    states.manage('data')


def test_an_lv_that_is_activated_read_only_is_refused(states):
    states.group.create('data', '16m')
    states.change('data', '--activate', 'n')
    states.change('data', '--activate', 'y', '--config',
                  'activation { read_only_volume_list = [ '
                  f'"{states.group.name}/data" ] }}')
    states.assert_refused('data', 'is activated read-only')
