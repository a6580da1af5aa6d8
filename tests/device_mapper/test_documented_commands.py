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

"""The commands of the documentation on the device of an active LV."""

import os
import subprocess
from unittest import mock

from oslo_utils import units
import pytest

from tests.lab import documented
from tests.lab.scratch import ScratchVolumeGroup

# Command lines that sentences leave incomplete.
COMPLETED = {
    'dmsetup resume': 'dmsetup resume VG-LV',
    'fuser -v': 'fuser -v /dev/VG/LV',
    'lvcreate --snapshot': 'lvcreate --snapshot --name S --size 4m VG/LV',
    'qemu-img convert': 'qemu-img convert -f raw -O raw /dev/VG/LV copy',
}


@pytest.fixture(scope='module')
def group():
    """The group VG; its LV named LV has a qcow2 image, and is open."""
    with (ScratchVolumeGroup('VG', size=units.Gi, device_mapper=True) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        for name in ('LV', 'NEWNAME'):
            vg.create(name, '16m')
        subprocess.run(('qemu-img', 'create', '-q', '-f', 'qcow2',
                        '/dev/VG/LV', '8M'), check=True)
        with open('/dev/VG/LV', 'rb'):
            yield vg
        vg.lvm('lvremove', '--yes', 'VG')


@pytest.mark.parametrize('text', dict.fromkeys(
    line.text for line in documented.lines_of(documented.ON_DEVICES)))
def test_a_command_on_a_device_succeeds(group, tmp_path, text):
    done = subprocess.run(
        ['bash', '-c', COMPLETED.get(text, text).replace(
            'FORMAT', 'qcow2')], cwd=tmp_path, text=True,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
