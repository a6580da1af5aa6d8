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


"""Contents of LVs whose devices fail, hang or are slow, in a real kernel."""

import pathlib
import subprocess
import time

from oslo_utils import units
import pytest

from cinder_lvm_manage.samples import Samples
from tests.lab.scratch import ScratchVolumeGroup

SIZE = 8 * units.Mi
SECTORS = SIZE // 512


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('samples', size=2 * units.Gi,
                            device_mapper=True) as vg:
        yield vg


class Devices:
    """LVs with a file system, whose devices are made to behave badly."""

    def __init__(self, group):
        self._group = group

    def make(self, name, table=None):
        self._group.lvm('lvcreate', '--yes', '--name', name, '--size',
                        f'{SIZE}b', self._group.name)
        path = pathlib.Path('/dev', self._group.name, name)
        subprocess.run(['mkfs.ext4', '-q', '-L', name, path], check=True)
        if table:
            self._dmsetup(name, 'suspend')
            device = self._dmsetup(name, 'table').split()[3:]
            self._dmsetup(name, 'load',
                          table=table.replace('DEVICE', ' '.join(device)))
            self._dmsetup(name, 'resume')
        return str(path)

    def wait_until_closed(self, name):
        # The process that reads it cannot end before the device answers.
        for _ in range(60):
            if 'Open count:        0\n' in self._dmsetup(name, 'info'):
                return
            time.sleep(0.5)

    def suspend(self, name):
        self._dmsetup(name, 'suspend')

    def resume(self, name):
        self._dmsetup(name, 'resume')

    def _dmsetup(self, name, command, table=''):
        return subprocess.run(
            ['dmsetup', command, f'{self._group.name}-{name}'], input=table,
            check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture
def devices(group):
    return Devices(group)


def contents(*paths):
    start = time.monotonic()
    with Samples(dict.fromkeys(paths, SIZE)) as samples:
        report = subprocess.run(samples.READER, input=samples.request,
                                check=True, text=True, timeout=60,
                                stdout=subprocess.PIPE).stdout
        read = time.monotonic() - start
        found = {pathlib.Path(path).name: str(what) for path, what
                 in samples.contents(report).items()}
    print(f'{len(paths)} LVs: read in {read:.1f} s, identified in '
          f'{time.monotonic() - start - read:.1f} s')
    # The reader waits for no device, not even for one that it cannot leave.
    assert read < 15
    return found


def test_devices_that_fail_hang_or_are_slow(devices):
    paths = [
        devices.make('good'),
        devices.make('failing', f'0 {SECTORS} error'),
        devices.make('failing_end', f'0 {SECTORS - 8} linear DEVICE\n'
                                    f'{SECTORS - 8} 8 error'),
        devices.make('slow', f'0 {SECTORS} delay DEVICE 1000'),
        devices.make('hanging', f'0 {SECTORS} delay DEVICE 20000'),
        devices.make('suspended'),
        devices.make('last')]
    # As long as nothing of them is cached.
    devices.suspend('suspended')
    try:
        assert contents(*paths) == {
            'good': 'ext4 file system "good"',
            'failing': 'not read: Input/output error',
            'failing_end': 'ext4 file system "failing_end"; not read: '
                           'Input/output error',
            'slow': 'ext4 file system "slow"',
            'hanging': 'not read: no answer within 5 seconds',
            'suspended': 'not read: no answer within 5 seconds',
            'last': 'ext4 file system "last"'}
    finally:
        devices.resume('suspended')
        devices.wait_until_closed('hanging')


def test_a_thousand(devices, tmp_path):
    # One device stands in for all.
    path = devices.make('one')
    links = [tmp_path / f'lv{number:04}' for number in range(1000)]
    for link in links:
        link.symlink_to(path)
    found = contents(*map(str, links))
    assert set(found.values()) == {'ext4 file system "one"'}
