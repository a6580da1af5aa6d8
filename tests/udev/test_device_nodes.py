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

"""The device nodes that udev makes for an LV that Cinder manages."""

from concurrent import futures
import contextlib
import os
import pathlib
import subprocess

from oslo_utils import units
import pytest

from tests.lab import polling
from tests.lab.scratch import ScratchVolumeGroup

DEV = pathlib.Path('/dev')


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('linked', size=units.Gi,
                            device_mapper=True) as vg:
        yield vg


@pytest.fixture(scope='module')
def driver(group, in_process):
    return in_process.driver(group)


@pytest.fixture
def lv(group):
    """The name of an active LV."""
    group.create('data', '16m')
    yield 'data'
    for name in group.names():
        group.lvm('lvremove', '--yes', f'{group.name}/{name}')


def run(*command):
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout


def device(group, name):
    return DEV / group.name / name


def by_uuid(group, name):
    vg_uuid = group.lvm('vgs', '--noheadings', '--options', 'vg_uuid',
                        group.name).strip()
    uuid = (vg_uuid + group.names()[name]).replace('-', '')
    return DEV / 'disk' / 'by-id' / f'dm-uuid-LVM-{uuid}'


def by_name(group, name):
    mapped = f"{group.name}-{name.replace('-', '--')}"
    return {device(group, name), DEV / 'mapper' / mapped,
            DEV / 'disk' / 'by-id' / f'dm-name-{mapped}'}


def links_of_udev(path):
    """Return the links that udev's database has for the device."""
    return {DEV / link for link in run('udevadm', 'info', '--query', 'symlink',
                                       '--name', str(path)).split()}


def assert_linked(group, name):
    links = by_name(group, name) | {by_uuid(group, name)}
    assert links_of_udev(device(group, name)) == links
    node, = {link.resolve() for link in links}
    assert node.is_block_device()
    assert node.name.startswith('dm-')


def lvm_waits_for_udev():
    return '0x' in run('dmsetup', 'udevcookies')


@contextlib.contextmanager
def udev_stopped():
    """Let udevd queue events until the end."""
    run('udevadm', 'control', '--stop-exec-queue')
    try:
        yield
    finally:
        run('udevadm', 'control', '--start-exec-queue')


def test_udev_makes_the_links_of_an_active_lv(group, lv):
    assert_linked(group, lv)
    group.lvm('lvchange', '--activate', 'n', f'{group.name}/{lv}')
    assert not any(map(os.path.lexists, by_name(group, lv)))


@pytest.mark.parametrize('active', ['y', 'n'])
def test_udevs_links_follow_a_manage_and_an_unmanage(
        group, in_process, driver, lv, active):
    group.lvm('lvchange', '--activate', active, f'{group.name}/{lv}')
    by_id = by_uuid(group, lv)
    volume = in_process.record_volume()
    driver.manage_existing(volume, {'source-name': lv})
    assert_linked(group, volume.name)
    assert by_uuid(group, volume.name) == by_id
    assert not any(map(os.path.lexists, by_name(group, lv)))
    driver.unmanage(volume)
    assert not any(map(os.path.lexists, by_name(group, volume.name)))
    if active == 'y':
        assert_linked(group, lv)
    else:
        assert not os.path.lexists(by_id)


def test_a_manage_of_an_inactive_lv_ends_when_udev_has_made_its_node(
        group, in_process, driver, lv):
    group.lvm('lvchange', '--activate', 'n', f'{group.name}/{lv}')
    volume = in_process.record_volume()

    def manage():
        driver.manage_existing(volume, {'source-name': lv})
        return device(group, volume.name).is_block_device()

    with futures.ThreadPoolExecutor() as pool, udev_stopped():
        managing = pool.submit(manage)
        polling.wait_for('LVM to wait for udev', lambda: (
            managing.done() or lvm_waits_for_udev()))
        # Longer than any LVM command.
        assert not futures.wait([managing], timeout=5).done
        assert not device(group, volume.name).exists()
    assert managing.result()
    assert_linked(group, volume.name)
    assert not lvm_waits_for_udev()
