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

"""The LVM commands of the documentation, on real LVM.

The placeholders of the pages, in capitals, are the names of the volume group
and of its LVs here, so that a page's command line can be run without a change.
"""

import os
from unittest import mock

import pytest

from tests.functional.test_remedies import EINVALID_CMD_LINE
from tests.functional.test_remedies import run as shell
from tests.lab import documented
from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

# Command lines that sentences leave incomplete.
COMPLETED = {
    'lvchange --activate n': 'lvchange --activate n VG/LV',
    'lvchange --addtag': 'lvchange --addtag TAG VG/LV',
    'lvchange --deltag': 'lvchange --deltag TAG VG/LV',
    'lvmdevices --adddev': 'lvmdevices --adddev /dev/null',
    'lvcreate --size SIZE --name NEWNAME VG':
        'lvcreate --size 4m --name NEWNAME VG',
    'lvrename VG NAME NAME': 'lvrename VG OTHER NAME',
}
PAGES = sorted({line.page for line in documented.lines_of(documented.LVM)})


@pytest.fixture
def group():
    """The group VG, with LV, OTHER, which is read-only, and the pool data."""
    with (ScratchVolumeGroup('VG', physical_volumes=2) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        vg.restore(zoo.thin_volumes_with_snapshots('VG', 0))
        vg.edit('VG-pool', 'data')
        for name in ('LV', 'OTHER'):
            vg.create(name, '4m')
        vg.lvm('lvchange', '--permission', 'r', 'VG/OTHER')
        yield vg


def run(line):
    done = shell(line)
    assert done.returncode == 0, f'{line}: {done.stdout}'


@pytest.mark.parametrize('page', PAGES)
def test_the_commands_of_a_page_succeed(group, page):
    for line in documented.lines_of(documented.LVM):
        if line.page == page:
            text = COMPLETED.get(line.text, line.text)
            # One page has a read-only LV of its own.
            run(text.replace('cinder-volumes/vm-103-disk-0', 'VG/OTHER'))


def test_a_name_is_restored_by_hand(group, driver, volume):
    adopted = volume()
    uuid = group.names()['LV']
    driver.manage_existing(adopted, {'source-name': 'LV'})
    assert group.names()[adopted.name] == uuid
    lines = documented.lines_of(documented.BY_HAND)
    assert len(lines) == 2
    for line in lines:
        run(line.text.replace('NAME', 'LV').replace('ID', adopted.id))
    assert group.names()['LV'] == uuid
    assert group.tags('LV') == set()


@pytest.mark.parametrize('text', [
    line.text for line in documented.lines_of(documented.LVM_SYNTAX)])
def test_lvm_understands_a_command(group, text):
    assert understood(COMPLETED.get(text, text))


@pytest.mark.parametrize('text', ['lvs -o lv_nmae VG', 'lvs --size 1 VG',
                                  'lvchange --addtag VG/LV'])
def test_lvm_does_not_understand_a_wrong_command(group, text):
    assert not understood(text)


def understood(text):
    done = shell(f'{text} --test')
    return (done.returncode != EINVALID_CMD_LINE
            and 'Unrecognised field' not in done.stdout)
