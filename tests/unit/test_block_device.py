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


"""On files as Linux 6.1 shows them, read in a guest kernel."""

import os
import pathlib

import pytest

from cinder_lvm_manage import block_device

MOUNTINFO = """\
22 1 0:15 / / rw,relatime - rootfs rootfs rw
38 22 254:3 / /srv rw,relatime - ext4 /dev/mapper/vg-data rw
39 22 254:3 / /mnt/with\\040blank rw,relatime shared:1 - ext4 /dev/vg/data rw
40 22 254:31 / /other rw,relatime - ext4 /dev/mapper/vg-other rw
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    mounts = tmp_path / 'mountinfo'
    mounts.write_text(MOUNTINFO)
    swaps = tmp_path / 'swaps'
    swaps.write_text('Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'
                     '/dev/null   partition\t65532\t\t0\t\t-2\n'
                     f'{tmp_path}/swap\\040file   file\t65532\t\t0\t\t-3\n')
    holder = tmp_path / '254:5' / 'holders' / 'dm-6' / 'dm'
    holder.mkdir(parents=True)
    holder.joinpath('name').write_text('secret\n')
    tmp_path.joinpath('254:5', 'holders', 'md0').mkdir()
    monkeypatch.setattr(block_device, '_MOUNTS', mounts)
    monkeypatch.setattr(block_device, '_SWAPS', swaps)
    monkeypatch.setattr(block_device, '_DEVICES', tmp_path)


def test_every_mount_of_the_device_is_told():
    assert block_device.users('254:3') == ['mounted on /srv',
                                          'mounted on /mnt/with blank']


def test_holders_are_told_by_the_names_that_device_mapper_gives():
    assert block_device.users('254:5') == ['held by secret', 'held by md0']


def test_a_device_without_users_the_kernel_tells_of():
    assert block_device.users('254:4') == []


def test_a_swap_is_told(monkeypatch):
    device = os.stat('/dev/null').st_rdev
    monkeypatch.setattr(pathlib.Path, 'is_block_device',
                        lambda self: str(self) == '/dev/null')
    assert block_device.users(f'{os.major(device)}:{os.minor(device)}') == [
        'used as swap']
