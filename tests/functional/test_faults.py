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


"""LVM commands that go wrong at every step of an adoption and an unmanage."""

import pytest

from tests.lab import faulty_lvm
from tests.lab.trial import SAFE
from tests.lab.trial import trial as trial_of


@pytest.fixture
def trial(cinder, group):
    with trial_of(cinder, group) as of_driver:
        yield of_driver


@pytest.mark.parametrize('step', range(1, len(faulty_lvm.MANAGE) + 1),
                         ids=faulty_lvm.MANAGE)
@pytest.mark.parametrize('fault', faulty_lvm.FAULTS)
def test_no_fault_of_a_manage_costs_data_or_name(trial, step, fault):
    assert trial.manage(step, fault) in SAFE


def test_an_lv_that_cinder_does_not_record_is_released_on_delete(trial):
    assert trial.manage(1, 'does its work', recorded=False
                        ) == 'done, released on delete'


@pytest.mark.parametrize('step', range(1, len(faulty_lvm.UNMANAGE) + 1),
                         ids=faulty_lvm.UNMANAGE)
@pytest.mark.parametrize('fault', faulty_lvm.OF_UNMANAGE)
def test_no_fault_of_an_unmanage_costs_data_or_name(trial, step, fault):
    assert trial.unmanage(step, fault) in {'done', 'refused, then done',
                                           'killed, then done'}
