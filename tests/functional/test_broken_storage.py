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

"""A volume group that is full, missing, or locked by another LVM command."""

import contextlib
import fcntl
import os
import re
import threading
from unittest import mock

from cinder import exception
import pytest

from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

SECONDS = 3


@pytest.fixture
def narrow_group():
    """A volume group with little space for metadata."""
    with (ScratchVolumeGroup('narrow', metadata_size='64k') as vg,
          mock.patch.dict(os.environ, vg.environment)):
        yield vg


def leave_space(group, size):
    """Leave this number of bytes for metadata, by a long creation_host."""
    def comment(length):
        group.edit(r'(filler \{[^}]*creation_host = ")[^"]*',
                   r'\g<1>' + length * 'x')

    too_long = 2 ** 20
    with pytest.raises(RuntimeError) as refused:
        comment(too_long)
    (needed, there_is), = re.findall(
        r'\((\d+) bytes\) exceeds maximum metadata size \((\d+) bytes\)',
        str(refused.value))
    comment(too_long - int(needed) + int(there_is) - size)


def rows(group):
    return group.report('lv_name', 'lv_uuid', 'lv_tags')


@pytest.mark.parametrize('build', [zoo.linears, zoo.raids])
def test_with_little_metadata_space_a_manage_succeeds_or_is_undone(
        narrow_group, cinder, volume, build):
    narrow_group.restore(build('data1', 'filler'))
    driver = cinder.driver(narrow_group)
    before = rows(narrow_group)
    outcomes = {}
    for room in (0, 80, 160, 240, 400, 700, 4096):
        leave_space(narrow_group, room)
        managing = volume()
        try:
            driver.manage_existing(managing, {'source-name': 'data1'})
        except exception.ManageExistingInvalidReference as exc:
            outcomes[room] = str(exc)
        else:
            outcomes[room] = 'managed'
            # An unmanage needs no space, because it removes tags.
            leave_space(narrow_group, 0)
            driver.unmanage(managing)
        assert rows(narrow_group) == before
    assert 'metadata area has 0 bytes free' in outcomes[0]
    assert outcomes[4096] == 'managed'


def test_nothing_is_lost_while_a_group_is_missing(group, driver, volume):
    group.create('data1', '4m')
    group.create('data2', '4m')
    before = group.names()
    failed, kept = volume(), volume(launched_at='2026-01-01T00:00:00')
    driver.manage_existing(failed, {'source-name': 'data1'})
    driver.manage_existing(kept, {'source-name': 'data2'})
    group.lvm('vgrename', group.name, 'elsewhere')
    for work in (lambda: driver.get_manageable_volumes(
                     [], None, None, None, ['reference'], ['asc']),
                 lambda: driver.manage_existing_get_size(
                     volume(), {'source-name': 'data1'}),
                 lambda: driver.manage_existing(
                     volume(), {'source-name': 'data1'}),
                 lambda: driver.unmanage(kept),
                 lambda: driver.delete_volume(kept),
                 lambda: driver.delete_volume(failed)):
        with pytest.raises(exception.VolumeBackendAPIException,
                           match=f'Volume group "{group.name}" not found'):
            work()
    group.lvm('vgrename', 'elsewhere', group.name)
    driver.delete_volume(failed)
    driver.unmanage(kept)
    assert group.names() == before


@contextlib.contextmanager
def locked(group):
    """Hold LVM's lock on the group, as another LVM command does."""
    path = group.lvm_conf.with_name('lock') / f'V_{group.name}'
    with path.open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_lock_that_is_not_released_is_an_error(group, load, volume):
    group.create('data1', '4m')
    driver = load(lvm_manage_command_timeout=SECONDS)
    before = group.names()
    managed = volume()
    with locked(group):
        for work in (lambda: driver.get_manageable_volumes(
                         [], None, None, None, ['reference'], ['asc']),
                     lambda: driver.manage_existing(
                         managed, {'source-name': 'data1'})):
            with pytest.raises(exception.VolumeBackendAPIException,
                               match=f'timed out after {SECONDS} seconds'):
                work()
    assert group.names() == before
    load().manage_existing(managed, {'source-name': 'data1'})
    assert group.names().keys() == {managed.name}


def test_a_lock_that_is_released_in_time_is_awaited(group, driver, volume):
    group.create('data1', '4m')
    managed = volume()
    work = threading.Thread(target=driver.manage_existing,
                            args=(managed, {'source-name': 'data1'}))
    with locked(group):
        work.start()
        work.join(SECONDS)
        assert work.is_alive()
    work.join()
    assert group.names().keys() == {managed.name}
