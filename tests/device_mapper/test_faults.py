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

"""LVM commands that go wrong on an active LV."""

from oslo_utils import units
import pytest

from tests.lab import faulty_lvm
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.trial import SAFE
from tests.lab.trial import trial as trial_of

FAULTS = ('fails after its work', 'kills cinder-volume before its work',
          'kills cinder-volume after its work', 'follows a replacement')


@pytest.fixture(scope='module')
def group():
    with ScratchVolumeGroup('faulty', size=units.Gi,
                            device_mapper=True) as vg:
        yield vg


@pytest.fixture(scope='module')
def trial(in_process, group):
    with trial_of(in_process, group) as of_driver:
        yield of_driver


@pytest.mark.parametrize('step', range(1, len(faulty_lvm.MANAGE) + 1),
                         ids=faulty_lvm.MANAGE)
@pytest.mark.parametrize('fault', FAULTS)
def test_no_fault_of_a_manage_costs_data_or_name(trial, step, fault):
    assert trial.manage(step, fault) in SAFE


@pytest.mark.parametrize('step', range(1, len(faulty_lvm.UNMANAGE) + 1),
                         ids=faulty_lvm.UNMANAGE)
def test_no_kill_during_an_unmanage_costs_data_or_name(trial, step):
    assert trial.unmanage(step, 'kills cinder-volume after its work'
                          ) == 'killed, then done'
