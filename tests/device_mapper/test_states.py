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


"""LVs in states that only a kernel has, each with its reason."""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import stat
import subprocess

from cinder import exception
from oslo_utils import units
import pytest
import tenacity

from tests.lab import polling
from tests.lab.scratch import ScratchVolumeGroup


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('states', physical_volumes=2, size=2 * units.Gi,
                            device_mapper=True, breakable=True) as vg:
        vg.lvm('lvcreate', '--yes', '--type', 'thin-pool', '--name',
               f'{vg.name}-pool', '--size', '16m', vg.name)
        vg.lvm('lvchange', '--errorwhenfull', 'y', f'{vg.name}/{vg.name}-pool')
        yield vg


class States:
    """The group, and what tests do with its LVs and with drivers for it."""

    def __init__(self, group, in_process):
        self.group = group
        self.in_process = in_process

    def driver(self, **options):
        return self.in_process.driver(self.group, **options)

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

    def wait_until_closed(self, name):
        # A server may close the LV after it has acknowledged the command.
        polling.wait_for(f'LV {name} to be closed',
                         lambda: self.attr(name)[5] != 'o',
                         pause=tenacity.wait_fixed(0.5))

    def assert_refused(self, name, why, **options):
        """The LV is listed as unsafe and not managed, with this reason."""
        driver = self.driver(**options)
        assert why in self.entry(name, driver)['reason_not_safe']
        before = self.group.changes()
        with pytest.raises(exception.ManageExistingInvalidReference,
                           match='LV ') as refused:
            driver.manage_existing(self.volume(), {'source-name': name})
        assert why in str(refused.value)
        assert self.group.changes() == before

    def manage(self, name, **options):
        """The LV is listed as safe; manage it, and return the volume."""
        driver = self.driver(**options)
        assert self.entry(name, driver)['reason_not_safe'] is None
        volume = self.volume()
        driver.manage_existing(volume, {'source-name': name})
        return volume


@pytest.fixture
def states(group, in_process):
    """A group that has only a thin pool of 16 MiB."""
    yield States(group, in_process)
    for name in group.names().keys() - {f'{group.name}-pool'}:
        with contextlib.suppress(RuntimeError):  # removed with another
            group.lvm('lvremove', '--yes', f'{group.name}/{name}')


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True)


def undo(*command):
    """Undo a use of an LV, unless that has been released already."""
    subprocess.run(command, check=False, capture_output=True)


# Each function uses an LV, and returns the pairs of user and remedy that the
# driver must report.

def process(path, folder, cleanup):
    with path.open('rb') as file:
        sleep = subprocess.Popen(('sleep', '1000'), stdin=file)
    cleanup.callback(sleep.wait)
    cleanup.callback(sleep.kill)
    return [(f'held by process {sleep.pid} (sleep)',
             f'stop process {sleep.pid} (sleep)')]


def mounted(path, folder, cleanup):
    run('mkfs.ext4', '-q', str(path))
    run('mount', str(path), str(folder))
    cleanup.callback(undo, 'umount', str(folder))
    return [(f'mounted on {folder}', f'`umount {folder}`')]


def mounted_elsewhere(path, folder, cleanup):
    run('mkfs.ext4', '-q', str(path))
    container = subprocess.Popen(
        ('unshare', '--mount', 'bash', '-c',
         f'mount {path} {folder} && exec sleep 1000'))
    cleanup.callback(container.wait)
    cleanup.callback(container.kill)
    name = pathlib.Path(f'/proc/{container.pid}/comm')
    polling.wait_for('the mount', lambda: name.read_text() == 'sleep\n')
    process = f'process {container.pid} (sleep)'
    umount = f'nsenter --target {container.pid} --mount umount {folder}'
    return [(f'mounted on {folder} in the mount namespace of {process}',
             f'stop the container of {process}, or `{umount}`')]


def swap(path, folder, cleanup):
    # A node of its own, because the LV's is renamed with the LV.
    node = pathlib.Path('/dev/swap-of-states')
    os.mknod(node, stat.S_IFBLK | 0o600, path.stat().st_rdev)
    cleanup.callback(node.unlink)
    run('mkswap', str(node))
    run('swapon', str(node))
    cleanup.callback(undo, 'swapoff', str(node))
    return [('used as swap', f'`swapoff {node}`')]


def loop(path, folder, cleanup):
    device = run('losetup', '--find', '--show', str(path)).stdout.strip()
    cleanup.callback(undo, 'losetup', '--detach', device)
    return [(f'held by loop device {device}', f'`losetup --detach {device}`')]


def mounted_loop(path, folder, cleanup):
    (held, detach), = loop(path, folder, cleanup)
    device = held.split()[-1]
    (mount, umount), = mounted(pathlib.Path(device), folder, cleanup)
    return [(f'{mount} via {device}', umount), (held, detach)]


def device_on_top(path, folder, cleanup, uuid='lab',
                  what='device-mapper device on-top',
                  release='`dmsetup remove on-top`'):
    run('dmsetup', 'create', 'on-top', '--uuid', uuid, '--table',
        f'0 2048 linear {path} 0')
    cleanup.callback(undo, 'dmsetup', 'remove', 'on-top')
    return [(f'held by {what}', release)]


multipath = functools.partial(
    device_on_top, uuid='mpath-lab', what='multipath device on-top',
    release='`multipath -f on-top`')
partition = functools.partial(
    device_on_top, uuid='part1-lab', what='partition on-top',
    release='`kpartx -d /dev/mapper/states-data`')
dm_crypt = functools.partial(
    device_on_top, uuid='CRYPT-PLAIN-on-top', what='dm-crypt device on-top',
    release='`cryptsetup close on-top`')
volume_group = functools.partial(
    device_on_top, uuid='LVM-lab',
    what='volume group on as its physical volume',
    release='`vgchange --activate n on`')


def tgt(path, folder, cleanup):
    tgtadm = ('tgtadm', '--lld', 'iscsi', '--tid', '7')
    run(*tgtadm, '--op', 'new', '--mode', 'target', '-T', 'iqn.2026-01.x:x')
    cleanup.callback(undo, *tgtadm, '--op', 'delete', '--mode', 'target')
    run(*tgtadm, '--op', 'new', '--mode', 'logicalunit', '--lun', '1',
        '--backing-store', str(path))
    # The smallest pid is the parent's; its child has no LV open.
    pid = min(map(int, run('pidof', 'tgtd').stdout.split()))
    release = ('find its target with `tgt-admin --show`, then '
               '`tgt-admin --delete TARGET`')
    return [(f'held by process {pid} (tgtd)', release)]


def lio(path, folder, cleanup):
    target = pathlib.Path('/sys/kernel/config/target')
    store = target / 'core' / 'iblock_0' / 'web01'
    lun = target / 'iscsi' / 'iqn.2026-01.x:y' / 'tpgt_1' / 'lun' / 'lun_0'
    for made in (store.parent, store, lun.parents[2], lun.parents[1], lun):
        made.mkdir(parents=True)
        cleanup.callback(made.rmdir)
    store.joinpath('control').write_text(f'udev_path={path}')
    store.joinpath('enable').write_text('1')
    export = lun / 'export'
    export.symlink_to(store)
    cleanup.callback(export.unlink)
    held_by = ('held by LIO backstore block/web01, exported as LUN 0 of '
               'iqn.2026-01.x:y')
    return [(held_by, '`targetcli /backstores/block delete web01`')]


def nvmet(path, folder, cleanup):
    if not pathlib.Path('/sys/module/nvmet').exists():
        pytest.skip('this kernel has no nvmet')
    subsystem = pathlib.Path('/sys/kernel/config/nvmet/subsystems/nqn.lab')
    namespace = subsystem / 'namespaces' / '7'
    for made in (subsystem, namespace):
        made.mkdir()
        cleanup.callback(made.rmdir)
    namespace.joinpath('device_path').write_text(str(path))
    enable = namespace / 'enable'
    enable.write_text('1')
    return [('exported by nvmet as namespace 7 of nqn.lab',
             f'`echo 0 > {enable}`')]


def nbd(path, folder, cleanup):
    run('qemu-nbd', '--fork', '--connect=/dev/nbd0', '--format=raw', str(path))
    cleanup.callback(undo, 'qemu-nbd', '--disconnect', '/dev/nbd0')
    pid = run('pidof', 'qemu-nbd').stdout.strip()
    return [(f'held by process {pid} (qemu-nbd)',
             '`qemu-nbd --disconnect /dev/nbd0`')]


# These commands are in packages that no test needs. They were run by hand.
_NOT_RUN = {'cryptsetup', 'kpartx', 'multipath', 'targetcli', 'vgchange'}


def do(release):
    """Follow the remedy as an operator does."""
    for command in re.findall('`(.+?)`', release):
        run('bash', '-c', command.replace('TARGET', 'iqn.2026-01.x:x'))
    if stop := re.match(r'stop process (\d+)', release):
        os.kill(int(stop[1]), signal.SIGKILL)
        os.waitpid(int(stop[1]), 0)


@pytest.mark.parametrize('use', [
    process, mounted, mounted_elsewhere, swap, loop, mounted_loop,
    device_on_top, multipath, partition, dm_crypt, volume_group, tgt, lio,
    nvmet, nbd])
def test_an_lv_in_use_is_refused_until_it_is_released(states, tmp_path, use):
    states.group.create('data', '16m')
    with contextlib.ExitStack() as cleanup:
        uses = use(states.path('data'), tmp_path, cleanup)
        users, remedies = zip(*uses, strict=True)
        held_by, release = ', '.join(users), ', then '.join(remedies)
        states.assert_refused('data', f'is open, {held_by} ({release}; or set '
                                      'lvm_manage_in_use)')
        entry = states.entry('data', states.driver())
        assert entry['extra_info']['users'] == held_by
        volume = states.manage('data', lvm_manage_in_use=True)
        assert states.attr(volume.name)[5] == 'o'
        states.driver().unmanage(volume)
        if not _NOT_RUN & set(re.findall('[a-z]+', release)):
            do(release)
            states.wait_until_closed('data')
            states.manage('data')


def test_a_mounted_file_system_survives_a_manage(states, tmp_path):
    states.group.create('data', '16m')
    with contextlib.ExitStack() as cleanup:
        mounted(states.path('data'), tmp_path, cleanup)
        tmp_path.joinpath('before').write_text('a')
        volume = states.manage('data', lvm_manage_in_use=True)
        tmp_path.joinpath('after').write_text('b')
        os.sync()
    run('mount', str(states.path(volume.name)), str(tmp_path))
    try:
        assert {file.name for file in tmp_path.iterdir()} >= {'before',
                                                              'after'}
    finally:
        run('umount', str(tmp_path))


def test_an_inactive_lv_is_active_until_it_is_unmanaged(states):
    states.group.create('data', '16m')
    states.change('data', '--activate', 'n')
    volume = states.manage('data')
    assert states.attr(volume.name)[4] == 'a'
    states.driver().unmanage(volume)
    assert states.attr('data')[4] == '-'


@pytest.mark.parametrize(('setting', 'why'), [
    ('activation/volume_list = ["another-group"]', 'is not active as volume-'),
    ('activation/volume_list = ["{vg}/data"]', 'is not active as volume-'),
    ('activation/read_only_volume_list = ["{vg}"]',
     'is read-only while it is active')])
def test_an_lv_that_lvm_conf_does_not_let_cinder_use_is_restored(
        states, setting, why):
    group = states.group
    group.create('data', '16m')
    states.change('data', '--activate', 'n')
    fields = ('lv_name', 'lv_uuid', 'lv_tags', 'lv_attr')
    before = group.report(*fields)
    driver = states.driver()
    with (group.configured(setting.format(vg=group.name)),
          pytest.raises(exception.VolumeBackendAPIException, match=why)):
        driver.manage_existing(states.volume(), {'source-name': 'data'})
    assert group.report(*fields) == before


@pytest.mark.parametrize(('setting', 'code'), [
    ('activation/volume_list = ["{vg}/data"]', 'not-in-volume-list'),
    ('activation/read_only_volume_list = ["@{tag}"]',
     'in-read-only-volume-list')])
def test_an_active_lv_that_lvm_conf_will_not_activate_is_refused(
        states, setting, code):
    group = states.group
    group.create('data', '16m')
    group.lvm('vgchange', '--addtag', 'rack1', group.name)
    driver = states.driver()
    with group.configured(setting.format(vg=group.name, tag='rack1')):
        driver.check_for_setup_error()
        row, = driver.get_manageable_volumes([], None, 1, 0, [], [])
        assert [reason['code'] for reason in json.loads(
            row['extra_info']['reasons'])] == [code]
        with pytest.raises(exception.ManageExistingInvalidReference):
            driver.manage_existing(states.volume(), {'source-name': 'data'})
    driver.check_for_setup_error()
    driver.manage_existing(states.volume(), {'source-name': 'data'})


def test_an_inactive_origin_is_extended_before_it_is_activated(states):
    states.group.create('data', '16m')
    states.group.lvm('lvcreate', '--yes', '--snapshot', '--name', 'monday',
                     '--size', '4m', f'{states.group.name}/data')
    states.change('data', '--activate', 'n')
    volume = states.manage('data', lvm_manage_extend_to_gib=True)
    row, = (row for row in states.group.report('lv_name', 'lv_size',
                                               'lv_active')
            if row['lv_name'] == volume.name)
    assert (row['lv_size'], row['lv_active']) == (str(units.Gi), 'active')


def test_an_lv_that_activation_skips_is_active_after_a_reboot(states):
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


def test_an_origin_with_an_open_snapshot_stays_active_when_it_is_unmanaged(
        states):
    states.group.create('data', '16m')
    states.group.lvm('lvcreate', '--yes', '--snapshot', '--name', 'monday',
                     '--size', '16m', f'{states.group.name}/data')
    states.change('data', '--activate', 'n')
    volume = states.manage('data')
    with states.path('monday').open('rb'):
        states.driver().unmanage(volume)
    assert states.attr('data')[4] == 'a'
    assert states.group.tags('data') == set()


def test_a_suspended_lv_is_refused(states):
    states.group.create('data', '16m')
    device = f'{states.group.name}-data'
    run('dmsetup', 'suspend', device)
    try:
        states.assert_refused('data', 'is suspended (run `dmsetup resume`')
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
        'data', f'is in thin pool {pool}, which is out of data space',
        lvm_type='thin')


def test_a_snapshot_that_has_overflowed_is_refused(states):
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
        # The kernel may mark the image as failed some time after the write.
        polling.wait_for('a failed RAID image', lambda: 'D' in run(
            'dmsetup', 'status', f'{group.name}-mirrored').stdout)
        for name in ('mirrored', 'lost'):
            states.assert_refused(name, 'is on a missing physical volume')
        states.assert_refused(
            'elsewhere',
            'does not change because a physical volume is missing')
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
    # With this interval, pvmove does not notice the end of the copy.
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
