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

"""Who holds a device, on files as Linux 6.1 shows them in a guest kernel."""

import errno
import os
import pathlib
import subprocess

import pytest

from cinder_lvm_manage import block_device
from cinder_lvm_manage.block_device import OpenFiles
from cinder_lvm_manage.block_device import User

MOUNTINFO = """\
22 1 0:15 / / rw,relatime - rootfs rootfs rw
38 22 254:3 / /srv rw,relatime - ext4 /dev/mapper/vg-data rw
39 22 254:3 / /mnt/with\\040blank rw,relatime shared:1 - ext4 /dev/vg/data rw
40 22 254:31 / /other rw,relatime - ext4 /dev/mapper/vg-other rw
"""

SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/dm-4                               partition\t65532\t\t0\t\t-2
/swap\\040file                           file\t\t65532\t\t0\t\t-3
"""

IBLOCK = """\
Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 2560
        iBlock device: dm-3  UDEV PATH: /dev/mapper/vg-data  readonly: 0
        Major: 254 Minor: 3  CLAIMED: IBLOCK
"""

FILEIO = """\
Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384
        TCM FILEIO ID: 0        File: /dev/dm-3  Size: 67108864  Mode: O_DSYNC Async: 0
"""  # noqa: E501

UNUSED_IBLOCK = """\
Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 0  HwMaxSectors: 0
          readonly: 0
        Major: 0 Minor: 0
"""


class Host:
    """A host whose /proc, /sys and configfs a test writes."""

    def __init__(self, root):
        self.root = root
        self.opened = OpenFiles([], True)
        self.asked = []
        self.write('proc/self/mountinfo', MOUNTINFO)
        self.write('proc/swaps', SWAPS)

    def write(self, path, content=''):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, errors='surrogateescape')

    def device(self, number, name, **files):
        """A block device as /sys/block and /sys/dev/block show it."""
        self.write(f'block/{name}/dev', f'{number}\n')
        for path, content in files.items():
            self.write(f'block/{name}/{path.replace("_", "/", 1)}',
                       f'{content}\n')
        link = self.root / 'devices' / number
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(self.root / 'block' / name)

    def stack(self, lower, upper):
        holders = self.root / 'block' / lower / 'holders'
        holders.mkdir(exist_ok=True)
        holders.joinpath(upper).symlink_to(self.root / 'block' / upper)

    def processes(self, *lines, **names):
        self.opened = OpenFiles(lines, True)
        for pid, name in names.items():
            self.write(f'proc/{pid.removeprefix("p")}/comm', f'{name}\n')

    def open_files(self, devices):
        self.asked.append(devices)
        return self.opened

    def users(self, *devices):
        return block_device.users(devices, self.open_files)

    def of(self, device):
        """As pairs of what and release."""
        return [(user.what, user.release)
                for user in self.users(device)[device]]


def number(path):
    """As if the nodes of device-mapper, and no other ones, were there."""
    _, is_node, minor = path.partition('/dev/dm-')
    return f'254:{minor}' if is_node else ''


@pytest.fixture
def host(tmp_path, monkeypatch):
    for name, path in {'_PROC': 'proc', '_DEVICES': 'devices',
                       '_BLOCK': 'block', '_CONFIGFS': 'config'}.items():
        monkeypatch.setattr(block_device, name, tmp_path / path)
    monkeypatch.setattr(block_device, 'number', number)
    return Host(tmp_path)


def test_the_last_mount_is_released_first(host):
    assert host.of('254:3') == [
        ('mounted on /mnt/with blank', "`umount '/mnt/with blank'`"),
        ('mounted on /srv', '`umount /srv`')]


def test_a_swap(host):
    assert host.of('254:4') == [('used as swap', '`swapoff /dev/dm-4`')]


def test_a_loop_device(host):
    host.device('7:1', 'loop1', loop_backing_file='/dev/dm-5')
    host.device('7:2', 'loop2', loop_backing_file='/srv/image')
    host.device('7:3', 'loop3')
    assert host.of('254:5') == [('held by loop device /dev/loop1',
                                 '`losetup --detach /dev/loop1`')]


def test_a_mounted_partition_of_a_loop_device_is_released_first(host):
    host.device('7:1', 'loop1', loop_backing_file='/dev/dm-5')
    host.write('block/loop1/loop1p1/partition', '1\n')
    host.write('block/loop1/loop1p1/dev', '259:0\n')
    host.root.joinpath('devices', '259:0').symlink_to(
        host.root / 'block' / 'loop1' / 'loop1p1')
    host.write('proc/self/mountinfo', '41 22 259:0 / /mnt rw - ext4 x rw\n')
    assert host.of('254:5') == [
        ('mounted on /mnt via /dev/loop1p1', '`umount /mnt`'),
        ('held by loop device /dev/loop1', '`losetup --detach /dev/loop1`')]


@pytest.mark.parametrize(('plugin', 'kind', 'info'), [
    ('iblock', 'block', IBLOCK), ('fileio', 'fileio', FILEIO)])
def test_a_backstore_of_lio(host, plugin, kind, info):
    store = f'config/target/core/{plugin}_0/web01'
    host.write(f'{store}/info', info)
    host.write('config/target/core/iblock_1/unused/info', UNUSED_IBLOCK)
    host.write('proc/self/mountinfo')
    release = f'`targetcli /backstores/{kind} delete web01`'
    assert host.of('254:3') == [(f'held by LIO backstore {kind}/web01',
                                 release)]
    lun = host.root / 'config/target/iscsi/iqn.2026-01.x:y/tpgt_1/lun/lun_7'
    lun.mkdir(parents=True)
    lun.joinpath('3a').symlink_to(host.root / store)
    lun.joinpath('statistics').mkdir()
    (what, _), = host.of('254:3')
    assert what == (f'held by LIO backstore {kind}/web01, exported as LUN 7 '
                    'of iqn.2026-01.x:y')


def test_an_enabled_namespace_of_nvmet(host):
    path = 'config/nvmet/subsystems/nqn.2026-01.x:y/namespaces/1'
    host.write(f'{path}/device_path', '/dev/dm-5\n')
    host.write(f'{path}/enable', '0\n')
    assert host.of('254:5') == []
    host.write(f'{path}/enable', '1\n')
    assert host.of('254:5') == [
        ('exported by nvmet as namespace 1 of nqn.2026-01.x:y',
         f'`echo 0 > {host.root}/{path}/enable`')]


@pytest.mark.parametrize(('name', 'uuid', 'what', 'release'), [
    ('mpatha', 'mpath-36000', 'multipath device mpatha',
     '`multipath -f mpatha`'),
    ('vg-data1', 'part1-LVM-abc', 'partition vg-data1',
     '`kpartx -d /dev/mapper/vg-data`'),
    ('secret', 'CRYPT-LUKS2-abc-secret', 'dm-crypt device secret',
     '`cryptsetup close secret`'),
    ('vg--2-a--b', 'LVM-abc', 'volume group vg-2 as its physical volume',
     '`vgchange --activate n vg-2`'),
    ('vg---a', 'LVM-abc', 'volume group vg- as its physical volume',
     '`vgchange --activate n vg-`'),
    ('renamed', 'LVM-abc', 'volume group renamed as its physical volume',
     '`vgchange --activate n renamed`'),
    ('vg-thin', 'LVM-abc', 'LV vg/thin', '`lvchange --activate n vg/thin`'),
    ('vg-pool-tpool', 'LVM-abc-tpool', 'LV vg/pool',
     '`lvchange --activate n vg/pool`'),
    ('on-top', '', 'device-mapper device on-top', '`dmsetup remove on-top`'),
    ('odd', 'stratis-1-abc', 'device-mapper device odd',
     '`dmsetup remove odd`')])
def test_a_device_mapper_device_is_told_by_its_uuid(host, name, uuid, what,
                                                    release):
    host.device('254:5', 'dm-5', dm_name='vg-data', dm_uuid='LVM-xyz')
    host.device('254:6', 'dm-6', dm_name=name, dm_uuid=uuid)
    host.stack('dm-5', 'dm-6')
    assert host.of('254:5') == [(f'held by {what}', release)]


@pytest.mark.parametrize(('name', 'what', 'release'), [
    ('md0', 'RAID device /dev/md0', '`mdadm --stop /dev/md0`'),
    ('md_d7', 'RAID device /dev/md_d7', '`mdadm --stop /dev/md_d7`'),
    ('drbd12', 'DRBD device /dev/drbd12', '`drbdadm down minor-12`'),
    ('bcache0', 'bcache device /dev/bcache0',
     '`echo 1 > /sys/block/bcache0/bcache/stop`'),
    ('odd0', '/dev/odd0', 'stop the service that created /dev/odd0')])
def test_a_device_of_another_driver_is_told_by_its_name(host, name, what,
                                                        release):
    host.device('254:5', 'dm-5', dm_name='vg-data')
    host.device('9:0', name)
    host.stack('dm-5', name)
    assert host.of('254:5') == [(f'held by {what}', release)]


def test_a_stack_is_released_from_its_top(host):
    host.device('254:5', 'dm-5', dm_name='vg-data')
    host.device('254:6', 'dm-6', dm_name='secret', dm_uuid='CRYPT-LUKS2-a')
    host.device('254:3', 'dm-3', dm_name='inner', dm_uuid='CRYPT-PLAIN-a')
    host.stack('dm-5', 'dm-6')
    host.stack('dm-6', 'dm-3')
    host.write('proc/self/mountinfo', '38 22 254:3 / /srv rw - ext4 x rw\n')
    assert host.of('254:5') == [
        ('mounted on /srv via /dev/mapper/inner', '`umount /srv`'),
        ('held by dm-crypt device inner via /dev/mapper/secret',
         '`cryptsetup close inner`'),
        ('held by dm-crypt device secret', '`cryptsetup close secret`')]


def test_a_group_on_top_is_deactivated_once(host):
    host.device('254:5', 'dm-5', dm_name='vg-data')
    for minor, name in ((6, 'other-a'), (7, 'other-b')):
        host.device(f'254:{minor}', f'dm-{minor}', dm_name=name,
                    dm_uuid='LVM-abc')
        host.stack('dm-5', f'dm-{minor}')
    assert host.of('254:5') == [
        ('held by volume group other as its physical volume',
         '`vgchange --activate n other`')]


def test_processes(host):
    host.processes('/proc/12/fd/5 fe:5', '/proc/12/fd/6 fe:5',
                   '/proc/13/fd/0 fe:5', '/proc/14/fd/0 fe:6',
                   p12='qemu-system-x86', p13='tgtd')
    qemu, (tgtd, release) = host.of('254:5')
    assert qemu == ('held by process 12 (qemu-system-x86)',
                    'stop process 12 (qemu-system-x86)')
    assert tgtd == 'held by process 13 (tgtd)'
    assert release == ('find its target with `tgt-admin --show`, then '
                       '`tgt-admin --delete TARGET`')
    assert host.of('254:6') == [('held by process 14', 'stop process 14')]


def test_a_process_that_makes_an_nbd_of_it(host):
    host.device('43:0', 'nbd0', pid='940')
    host.device('43:32', 'nbd1')
    host.write('proc/938/task/940/comm', 'qemu-nbd\n')
    host.write('proc/939/task/939/comm', 'dd\n')
    host.processes('/proc/938/fd/5 fe:5', '/proc/939/fd/0 fe:6',
                   '/proc/938/fd/11 2b:0',
                   p938='qemu-nbd', p939='dd')
    assert host.of('254:6') == [('held by process 939 (dd)',
                                 'stop process 939 (dd)')]
    host.write('proc/self/mountinfo', '38 22 43:0 / /srv rw - ext4 x rw\n')
    assert host.of('254:5') == [
        ('mounted on /srv via /dev/nbd0', '`umount /srv`'),
        ('held by process 938 (qemu-nbd)',
         '`qemu-nbd --disconnect /dev/nbd0`')]


def test_a_mount_that_only_other_processes_see(host):
    mount = '90 80 254:5 / /var/lib/x rw,relatime - ext4 /dev/dm-5 rw'
    host.processes(f'/proc/12/mountinfo:{mount}',
                   f'/proc/13/mountinfo:{mount}', p12='systemd', p13='mysqld')
    (what, release), = host.of('254:5')
    assert what == ('mounted on /var/lib/x in the mount namespace of process '
                    '12 (systemd)')
    assert release == (
        'stop the container of process 12 (systemd), or `nsenter --target 12 '
        '--mount umount /var/lib/x`')


def test_processes_are_asked_for_once_and_only_where_nothing_else_is_known(
        host):
    assert host.users() == {}
    host.users('254:3', '254:4')
    assert host.asked == []
    assert host.users('254:3', '254:5', '254:6', '254:5')['254:6'] == ()
    assert host.asked == [['254:5', '254:6']]


def test_what_could_not_be_determined_is_told(host):
    host.opened = OpenFiles(['/proc/12/fd/5 fe:5'], False)
    found = host.users('254:3', '254:5', '254:6')
    assert found['254:6'] == (User(
        'held by something that could not be determined',
        'run `fuser -v` as root on its device and stop the processes '
        'that it shows'),)
    assert found['254:5'] == (User('held by process 12', 'stop process 12'),)
    assert len(found['254:3']) == 2


ODD = "a\x1b[2J\u202e\udcff\x0c'b"


def test_no_control_character_is_handed_on(host):
    host.device('254:5', 'dm-5', dm_name='vg-data')
    host.device('254:6', 'dm-6', dm_name=ODD)
    host.stack('dm-5', 'dm-6')
    host.write('proc/self/mountinfo',
               f'38 22 254:3 / /{ODD} rw - ext4 x rw\n'
               '39 22 254:3 / /new\\012line rw - ext4 x rw\n')
    host.processes('/proc/12/fd/5 fe:8', p12=ODD)
    shown = r"a\033[2J\342\200\256\377\014'b"
    assert host.of('254:3') == [
        (r'mounted on /new\012line', r"`umount $'/new\012line'`"),
        (f'mounted on /{shown}',
         r"`umount $'/a\033[2J\342\200\256\377\014\'b'`")]
    for device in ('254:5', '254:8'):
        (what, release), = host.of(device)
        assert shown in what
        assert (what + release).isprintable()


@pytest.mark.parametrize('word', [ODD, '/a b', "it's", '\\n\n', 'ü', '$(id)'])
def test_a_command_is_for_a_shell(word):
    command = block_device._command('printf', '%s', word)
    printed = subprocess.check_output(['bash', '-c', command.strip('`')])
    assert printed == os.fsencode(word)


@pytest.mark.parametrize(('error', 'logged'), [
    (errno.ENODEV, False), (errno.ENOENT, False), (errno.EACCES, True)])
def test_a_file_that_cannot_be_read_breaks_nothing(host, monkeypatch, caplog,
                                                   error, logged):
    host.device('7:1', 'loop1', loop_backing_file='/dev/dm-5')
    read = pathlib.Path.read_text

    def failing(path, **options):
        if path.name == 'backing_file':
            raise OSError(error, os.strerror(error), str(path))
        return read(path, **options)

    monkeypatch.setattr(pathlib.Path, 'read_text', failing)
    assert host.of('254:5') == []
    assert ('Cannot determine all users of LVs' in caplog.text) is logged


def test_each_file_is_read_once_however_many_devices_there_are(host,
                                                               monkeypatch):
    host.write('config/target/core/iblock_0/web01/info', IBLOCK)
    host.device('7:1', 'loop1', loop_backing_file='/dev/dm-5')
    read = pathlib.Path.read_text
    files = []

    def counting(path, **options):
        files.append(path.name)
        return read(path, **options)

    monkeypatch.setattr(pathlib.Path, 'read_text', counting)
    host.users(*(f'254:{minor}' for minor in range(100)))
    for name in ('mountinfo', 'swaps', 'info', 'backing_file'):
        assert files.count(name) == 1


@pytest.mark.parametrize('path', ['/dev/null', '/dev/not-there', '/', ''])
def test_a_path_that_is_no_block_device(path):
    assert block_device.number(path) == ''
