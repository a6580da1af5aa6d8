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


"""Cinder's database fails after the driver has managed an LV.

Cinder does not undo the work of the driver. An operator deletes the volume.
"""

import pytest

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE
from tests.lab.service_conf import OURS

FAILURES = {
    'the size is not saved':
        ('UPDATE OF size ON volumes', 'OLD.size IS NOT NEW.size'),
    'the status managing stays':
        ('UPDATE OF status ON volumes', "NEW.status != 'managing'"),
    'the volume does not become available':
        ('UPDATE ON volumes', "NEW.status = 'available'")}


@pytest.fixture(scope='module', params=[OURS])
def empty(request):
    """A Cinder on an empty volume group, and that group."""
    with (ScratchVolumeGroup('empty') as group,
          CinderDeployment(Backend(
              group, volume_driver=request.param)) as cinder):
        yield cinder, group


@pytest.mark.parametrize('status', [None, 'error', 'available'])
@pytest.mark.parametrize('failure', FAILURES)
def test_deleting_a_volume_that_was_not_recorded_keeps_the_lv(
        empty, failure, status):
    cinder, group = empty
    assert_that_deleting_keeps_the_lv(cinder, group, failure, status)


@pytest.mark.parametrize('empty', [IN_TREE], indirect=True)
@pytest.mark.parametrize('failure', FAILURES)
@pytest.mark.xfail(strict=True, raises=AssertionError,
                   reason='the LV is deleted')
def test_cinders_own_driver_deletes_the_lv(empty, failure):
    cinder, group = empty
    assert_that_deleting_keeps_the_lv(cinder, group, failure, 'error')


def assert_that_deleting_keeps_the_lv(cinder, group, failure, status):
    name = f"{failure.replace(' ', '-')}-{status}"
    group.create(name, '4m')
    uuid = group.names()[name]
    written = cinder.log_path.stat().st_size
    with cinder.database.failing(*FAILURES[failure]):
        volume = cinder.api.manage(
            {'source-name': name}).body['volume']['id']
        # What undoes the failed tasks fails too, before this.
        cinder.wait_for_log(
            "Flow 'volume_manage_existing_manager' .*"
            "transitioned into state '(SUCCESS|REVERTED)'", written)
    if cinder.database.status(volume) == 'managing':
        status = status or 'error'
    if status:
        assert cinder.api.set_status(volume, status).status == 202
    assert cinder.api.delete(volume).status == 202
    cinder.api.wait_until_gone(volume)
    assert group.names().get(name) == uuid
    assert group.tags(name) == set()
    again = cinder.api.manage({'source-name': name}).body['volume']['id']
    cinder.api.wait(again, 'available')
    cinder.api.unmanage(again)
    cinder.api.wait_until_gone(again)
