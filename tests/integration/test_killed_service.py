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

"""Cinder is killed during a manage or an unmanage, and started again.

An LVM command halts, and then the test kills Cinder. To kill it after the
driver's work but before Cinder records that, the test locks the database.
"""

import hashlib
import pathlib

import pytest

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.faulty_lvm import FaultyLvm
from tests.lab.faulty_lvm import MANAGE
from tests.lab.faulty_lvm import MANAGE_IN_TREE
from tests.lab.faulty_lvm import UNMANAGE
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE
from tests.lab.service_conf import OURS

# The step of the report of manage_existing; manage_existing_get_size has one
# before.
FIRST = 2
# The command that halts, and whether it is killed too. If it is, the LV is as
# the commands before have left it; if not, the command does its work.
KILLS_OF_MANAGE = [('lvchange', True), ('lvrename', True),
                   ('report again', True), ('lvrename', False)]
KILLS_OF_UNMANAGE = [('lvrename', True), ('lvchange', True),
                     ('lvchange', False)]


@pytest.fixture(scope='module', params=[OURS])
def stage(request, tmp_path_factory):
    """A Cinder on an empty volume group, that group, and its faulty LVM."""
    with ScratchVolumeGroup('empty') as group:
        lvm = FaultyLvm(tmp_path_factory.mktemp('lvm'), group.name)
        with CinderDeployment(
                Backend(group, volume_driver=request.param),
                # Commands of periodic tasks would be counted.
                default_options={'periodic_interval': '3600'},
                environment={'PATH': lvm.path}) as cinder:
            yield cinder, group, lvm


@pytest.fixture
def lv(stage):
    """The state of a new LV, data1, to which a test must return."""
    _, group, _ = stage
    group.create('data1', '4m')
    uuid = group.names()['data1']
    device, first, size = group.extents(uuid)
    with open(device, 'r+b') as file:
        file.seek(first)
        file.write(hashlib.sha256(uuid.encode()).digest() * (size // 32))
    yield state(group)
    group.lvm('lvremove', '--yes', group.name)


def state(group):
    """Return the LV's name, UUID, tags, extents and digest."""
    row, = group.report('lv_name', 'lv_uuid', 'lv_tags', 'seg_pe_ranges')
    device, first, size = group.extents(row['lv_uuid'])
    with pathlib.Path(device).open('rb') as file:
        file.seek(first)
        return row | {'data': hashlib.sha256(file.read(size)).hexdigest()}


def halt(lvm, step, with_command):
    """Have a command halt in which Cinder will be killed."""
    lvm.break_at(step, 'halts before its work' if with_command
                 else 'halts after its work', '')


def kill(cinder, lvm, with_commands):
    """Kill Cinder while its command halts, and start it again.

    :returns: the log since the start
    """
    lvm.wait_until_halted()
    cinder.kill(with_commands)
    lvm.resume()
    killed = cinder.log_path.stat().st_size
    cinder.start()
    return cinder.log_text(killed)


def kill_before_it_is_recorded(cinder, lvm, message):
    lvm.wait_until_halted()
    written = cinder.log_path.stat().st_size
    with cinder.database.locked():
        lvm.resume()
        cinder.wait_for_log(message, written)
        cinder.kill(with_commands=False)
    killed = cinder.log_path.stat().st_size
    cinder.start()
    return cinder.log_text(killed)


def manage(cinder):
    return cinder.api.manage({'source-name': 'data1'}).body['volume']['id']


def assert_that_it_can_be_cleaned_up(cinder, group, volume, lv, log):
    """Follow the instructions of doc/source/troubleshooting.rst."""
    assert cinder.database.status(volume) == 'managing'
    tags = group.tags(state(group)['lv_name'])
    assert (f'as {volume} was interrupted' in log) is bool(tags)
    assert cinder.api.set_status(volume, 'error').status == 202
    assert cinder.api.delete(volume).status == 202
    cinder.api.wait_until_gone(volume)
    assert state(group) == lv
    again = manage(cinder)
    cinder.api.wait(again, 'available')
    cinder.api.unmanage(again)
    cinder.api.wait_until_gone(again)
    assert state(group) == lv


@pytest.mark.parametrize(('command', 'with_command'), KILLS_OF_MANAGE)
def test_a_killed_manage_can_be_cleaned_up(stage, lv, command, with_command):
    cinder, group, lvm = stage
    halt(lvm, FIRST + MANAGE.index(command), with_command)
    volume = manage(cinder)
    log = kill(cinder, lvm, with_command)
    assert_that_it_can_be_cleaned_up(cinder, group, volume, lv, log)


def test_a_manage_killed_before_its_record_can_be_cleaned_up(stage, lv):
    cinder, group, lvm = stage
    lvm.break_at(FIRST + len(MANAGE) - 1, 'halts after its work', '')
    volume = manage(cinder)
    log = kill_before_it_is_recorded(cinder, lvm, 'is now managed by Cinder')
    assert_that_it_can_be_cleaned_up(cinder, group, volume, lv, log)


@pytest.mark.parametrize('stage', [IN_TREE], indirect=True)
@pytest.mark.xfail(strict=True, raises=AssertionError,
                   reason='the LV is deleted')
def test_cinders_own_driver_loses_the_lv(stage, lv):
    cinder, group, lvm = stage
    lvm.break_at(FIRST + len(MANAGE_IN_TREE) - 1,
                 'halts after its work', '')
    volume = manage(cinder)
    kill(cinder, lvm, with_commands=False)
    assert cinder.api.set_status(volume, 'error').status == 202
    cinder.api.delete(volume)
    cinder.api.wait_until_gone(volume)
    assert group.names()


@pytest.mark.parametrize(('command', 'with_command'), KILLS_OF_UNMANAGE)
def test_a_killed_unmanage_can_be_repeated(stage, lv, command, with_command):
    cinder, group, lvm = stage
    volume = manage(cinder)
    cinder.api.wait(volume, 'available')
    halt(lvm, 1 + UNMANAGE.index(command), with_command)
    cinder.api.unmanage(volume)
    kill(cinder, lvm, with_command)
    assert_that_it_can_be_unmanaged(cinder, group, volume, lv)


def test_an_unmanage_killed_before_its_record_can_be_repeated(stage, lv):
    cinder, group, lvm = stage
    volume = manage(cinder)
    cinder.api.wait(volume, 'available')
    lvm.break_at(len(UNMANAGE), 'halts after its work', '')
    cinder.api.unmanage(volume)
    kill_before_it_is_recorded(cinder, lvm, 'is no longer managed by Cinder')
    assert_that_it_can_be_unmanaged(cinder, group, volume, lv)


def assert_that_it_can_be_unmanaged(cinder, group, volume, lv):
    assert cinder.database.status(volume) == 'unmanaging'
    assert cinder.api.set_status(volume, 'available').status == 202
    cinder.api.unmanage(volume)
    cinder.api.wait_until_gone(volume)
    assert state(group) == lv
