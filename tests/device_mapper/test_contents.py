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

"""Contents of active LVs, as the driver lists and manages them."""

import json
import os
import pathlib
import re
import shlex
import subprocess

from cinder import exception
from oslo_utils import units
import pytest

from tests.device_mapper.test_samples import Devices
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup

STATE = ('lv_name', 'lv_uuid', 'lv_tags', 'lv_attr', 'lv_autoactivation')


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('disks', size=2 * units.Gi,
                            device_mapper=True) as vg:
        yield vg


@pytest.fixture(scope='module')
def cinder(group, tmp_path_factory):
    os.environ.update(group.environment)
    with CinderInProcess(tmp_path_factory.mktemp('cinder')) as in_process:
        yield in_process


@pytest.fixture(scope='module')
def driver(group, cinder):
    return cinder.driver(group, lvm_manage_without_device_mapper=False)


@pytest.fixture
def disk(tmp_path):
    """A raw disk of 16 MiB with data, as a file."""
    path = tmp_path / 'disk'
    path.write_bytes(os.urandom(units.Mi))
    os.truncate(path, 16 * units.Mi)
    return path


@pytest.fixture
def image(group, disk, tmp_path):
    """An LV that contains a qcow2 image of the disk."""
    group.create('image', '32m')
    convert(disk, tmp_path / 'qcow2', '-O', 'qcow2')
    node(group.name, 'image').write_bytes(
        (tmp_path / 'qcow2').read_bytes())
    yield 'image'
    group.lvm('lvremove', '--yes', f'{group.name}/image')


def convert(source, target, *options):
    subprocess.run(['qemu-img', 'convert', *options, source, target],
                   check=True)


def node(*names):
    return pathlib.Path('/dev', *names)


def listed(driver):
    return {entry['reference']['source-name']: entry
            for entry in driver.get_manageable_volumes(
                [], None, None, None, ['reference'], ['asc'])}


def manage(cinder, driver, name):
    volume = cinder.record_volume()
    driver.manage_existing(volume, {'source-name': name})
    return volume


def refusal(group, cinder, driver, name):
    """The message with which the LV is refused; nothing changes."""
    before = group.report(*STATE)
    with pytest.raises(exception.ManageExistingInvalidReference) as error:
        manage(cinder, driver, name)
    assert group.report(*STATE) == before
    return str(error.value)


def follow(remedy):
    """Run the commands of a remedy; the new LV is named converted."""
    for command in re.findall('`(.+?)`', remedy):
        subprocess.run(shlex.split(command.replace('NEWNAME', 'converted')),
                       check=True)


def assert_converted(group, cinder, driver, disk):
    entry = listed(driver)['converted']
    assert entry['safe_to_manage'], entry['reason_not_safe']
    volume = manage(cinder, driver, 'converted')
    with node(group.name, volume.name).open('rb') as device:
        assert device.read() == disk.read_bytes()
    group.lvm('lvremove', '--yes', f'{group.name}/{volume.name}')


def test_an_image_is_refused_and_the_remedy_converts_it(
        group, cinder, driver, image, disk):
    entry = listed(driver)[image]
    assert entry['extra_info']['image_format'] == 'qcow2'
    assert entry['reason_not_safe'] in refusal(group, cinder, driver, image)
    follow(entry['reason_not_safe'])
    assert_converted(group, cinder, driver, disk)


def test_an_inactive_image_is_refused_once_it_is_activated(
        group, cinder, driver, image, disk):
    group.lvm('lvchange', '--activate', 'n', '--setactivationskip', 'y',
              '--setautoactivation', 'n', f'{group.name}/{image}')
    entry = listed(driver)[image]
    assert entry['extra_info']['contents'] == 'not read: inactive'
    assert entry['safe_to_manage']
    message = refusal(group, cinder, driver, image)
    assert f'LV {image} contains a qcow2 image of 16 MiB' in message
    assert not node(group.name, image).exists()
    follow(message)
    assert_converted(group, cinder, driver, disk)


def test_an_inactive_disk_is_managed(group, cinder, driver, disk):
    group.create('raw', '16m')
    node(group.name, 'raw').write_bytes(disk.read_bytes())
    group.lvm('lvchange', '--activate', 'n', f'{group.name}/raw')
    volume = manage(cinder, driver, 'raw')
    with node(group.name, volume.name).open('rb') as device:
        assert device.read() == disk.read_bytes()
    driver.unmanage(volume)
    assert listed(driver)['raw']['extra_info']['contents'] == (
        'not read: inactive')


def test_devices_that_fail_or_hang_are_listed_with_a_note(group, driver):
    devices = Devices(group)
    sectors = 8 * units.Mi // 512
    devices.make('good')
    devices.make('failing', f'0 {sectors} error')
    devices.make('hanging', f'0 {sectors} delay DEVICE 20000')
    devices.make('suspended')
    devices.suspend('suspended')
    try:
        entries = listed(driver)
    finally:
        devices.resume('suspended')
        devices.wait_until_closed('hanging')
    assert {name: entries[name]['extra_info']['contents'] for name in
            ('good', 'failing', 'hanging', 'suspended')} == {
        'good': 'ext4 file system "good"',
        'failing': 'not read: Input/output error',
        'hanging': 'not read: no answer within 5 seconds',
        'suspended': 'not read: suspended'}
    for name in ('failing', 'hanging'):
        assert 'contents-unknown' in [reason['code'] for reason in json.loads(
            entries[name]['extra_info']['reasons'])]
