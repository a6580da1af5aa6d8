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

"""Adoptions and unmanages that fail or are interrupted midway."""

import datetime

from cinder import coordination
from cinder import exception
from oslo_concurrency import processutils
import pytest


class Interrupted(Exception):
    """Stands for a kill of cinder-volume; the driver does not handle it."""


@pytest.fixture
def interrupt(monkeypatch):
    """A function that makes an LVM command fail."""
    execute = processutils.execute

    def interrupt_at(count, when, error):
        """Raise the error before or after the command of this number."""
        left = [count]

        def interrupted(*command, **options):
            left[0] -= 1
            if left[0] == 0 and when == 'before':
                raise error
            result = execute(*command, **options)
            if left[0] == 0:
                raise error
            return result
        monkeypatch.setattr(processutils, 'execute', interrupted)

    return interrupt_at


FAILED = processutils.ProcessExecutionError(exit_code=5, stderr='no luck')


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_a_failed_command_of_a_manage_is_undone(group, driver, volume,
                                                interrupt, count, when):
    group.create('data1', '4m')
    before = group.report('lv_name', 'lv_uuid', 'lv_tags')
    managed = volume()
    interrupt(count, when, FAILED)
    with pytest.raises(exception.VolumeBackendAPIException, match='no luck'):
        driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.report('lv_name', 'lv_uuid', 'lv_tags') == before
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.names().keys() == {managed.name}


def test_a_failed_manage_keeps_the_journal_of_an_earlier_one(
        group, driver, volume, interrupt):
    group.create('data1', '4m')
    lost = volume()
    driver.manage_existing(lost, {'source-name': 'data1'})
    lost.destroy()
    before = group.report('lv_name', 'lv_uuid', 'lv_tags')
    interrupt(4, 'after', FAILED)
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.manage_existing(volume(), {'source-name': lost.name})
    assert group.report('lv_name', 'lv_uuid', 'lv_tags') == before


def test_a_manage_fails_if_cinders_name_already_exists(group, driver, volume):
    managed = volume()
    group.create('data1', '4m')
    group.create(managed.name, '4m')
    before = group.changes()
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='that name already exists'):
        driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.changes() == before


def test_a_name_that_was_taken_meanwhile_stays_in_the_journal(
        group, driver, volume, monkeypatch, caplog):
    group.create('data1', '4m')
    execute = processutils.execute

    def taken(*command, **options):
        result = execute(*command, **options)
        if 'lvrename' in command:
            group.create('data1', '4m')
            raise FAILED
        return result

    monkeypatch.setattr(processutils, 'execute', taken)
    managed = volume()
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.names().keys() == {managed.name, 'data1'}
    assert 'cinder_lvm_manage:name=data1' in group.tags(managed.name)
    assert 'cannot be renamed back to data1' in caplog.text


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_after_a_crash_the_volume_is_deleted_and_the_lv_managed_again(
        group, driver, volume, interrupt, monkeypatch, count, when):
    group.create('data1', '4m')
    uuid = group.names()['data1']
    crashed = volume()
    interrupt(count, when, Interrupted())
    with pytest.raises(Interrupted):
        driver.manage_existing(crashed, {'source-name': 'data1'})
    monkeypatch.undo()

    driver.delete_volume(crashed)
    crashed.destroy()
    assert group.names() == {'data1': uuid}
    assert group.tags('data1') == set()
    again = volume()
    driver.manage_existing(again, {'source-name': 'data1'})
    assert group.names() == {again.name: uuid}


def test_after_a_crash_before_the_rename_the_lv_is_free(
        group, driver, volume, interrupt, monkeypatch):
    group.create('data1', '4m')
    crashed = volume()
    interrupt(3, 'before', Interrupted())
    with pytest.raises(Interrupted):
        driver.manage_existing(crashed, {'source-name': 'data1'})
    monkeypatch.undo()
    assert f'cinder_lvm_manage:id={crashed.id}' in group.tags('data1')

    again = volume()
    driver.manage_existing(again, {'source-name': 'data1'})
    assert group.tags(again.name) == {f'cinder_lvm_manage:id={again.id}',
                                      'cinder_lvm_manage:name=data1'}
    driver.delete_volume(crashed)
    assert group.names().keys() == {again.name}


def test_a_manage_that_another_cinder_overtakes_restores_the_journal(
        group, driver, volume, monkeypatch):
    group.create('data1', '4m')
    journal = {'cinder_lvm_manage:id=4e6d3e62-6c55-4f41-98cd-0e1a1a4c1b5e',
               'cinder_lvm_manage:name=data1'}
    for tag in journal:
        group.lvm('lvchange', '--addtag', tag, f'{group.name}/data1')
    execute = processutils.execute

    def overtaken(*command, **options):
        if 'lvrename' in command:
            group.lvm('lvrename', group.name, 'data1', 'overtaken')
        return execute(*command, **options)

    monkeypatch.setattr(processutils, 'execute', overtaken)
    with pytest.raises(exception.VolumeBackendAPIException):
        driver.manage_existing(volume(), {'source-name': 'data1'})
    assert group.tags('overtaken') == journal


def test_a_manage_removes_a_partial_journal(group, driver, volume):
    group.create('data1', '4m')
    group.lvm('lvchange', '--addtag', 'cinder_lvm_manage:id=of-another',
              f'{group.name}/data1')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.tags(managed.name) == {f'cinder_lvm_manage:id={managed.id}',
                                        'cinder_lvm_manage:name=data1'}
    driver.unmanage(managed)
    assert group.tags('data1') == set()


def test_after_a_crash_after_the_rename_the_lv_is_already_managed(
        group, driver, volume, interrupt, monkeypatch):
    group.create('data1', '4m')
    crashed = volume()
    interrupt(3, 'after', Interrupted())
    with pytest.raises(Interrupted):
        driver.manage_existing(crashed, {'source-name': 'data1'})
    monkeypatch.undo()
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=crashed.id):
        driver.manage_existing(volume(), {'source-name': crashed.name})


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_an_interrupted_unmanage_can_be_repeated(group, driver, volume,
                                                 interrupt, monkeypatch,
                                                 count, when):
    group.create('data1', '4m')
    uuid = group.names()['data1']
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    interrupt(count, when, Interrupted())
    with pytest.raises(Interrupted):
        driver.unmanage(managed)
    monkeypatch.undo()
    driver.unmanage(managed)
    assert group.names() == {'data1': uuid}
    assert group.tags('data1') == set()


@pytest.mark.parametrize('replaced_before', ['lvchange', 'lvrename'])
def test_an_lv_that_replaced_the_judged_one_is_restored(
        group, driver, volume, monkeypatch, replaced_before):
    group.create('data1', '4m')
    execute = processutils.execute

    def replaced(*command, **options):
        if replaced_before in command and 'old' not in group.names():
            group.lvm('lvrename', group.name, 'data1', 'old')
            group.create('data1', '8m')
        return execute(*command, **options)

    monkeypatch.setattr(processutils, 'execute', replaced)
    managed = volume()
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='removed, renamed or replaced'):
        driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.names().keys() == {'data1', 'old'}
    assert group.tags('data1') == group.tags('old') == set()


def test_an_lv_that_is_removed_meanwhile_is_an_error(
        group, driver, volume, monkeypatch):
    group.create('data1', '4m')
    execute = processutils.execute

    def removed(*command, **options):
        if 'lvchange' in command and group.names():
            group.lvm('lvremove', '--yes', f'{group.name}/data1')
        return execute(*command, **options)

    monkeypatch.setattr(processutils, 'execute', removed)
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='Failed to find logical volume'):
        driver.manage_existing(volume(), {'source-name': 'data1'})
    assert group.names() == {}


def test_an_interrupted_manage_is_reported_when_the_service_starts(
        group, load, volume, snapshot, interrupt, monkeypatch, caplog):
    driver = load()
    group.create('data1', '4m')
    group.create('data2', '4m')
    done = volume()
    driver.manage_existing(done, {'source-name': 'data2'})
    done.launched_at = datetime.datetime.now(datetime.timezone.utc)
    done.save()
    crashed = volume()
    interrupt(3, 'after', Interrupted())
    with pytest.raises(Interrupted):
        driver.manage_existing(crashed, {'source-name': 'data1'})
    monkeypatch.undo()
    before = group.changes()
    caplog.clear()

    load()
    record, = (record for record in caplog.records
               if record.name == 'cinder_lvm_manage.driver')
    for words in (f'LV data1 (UUID {group.names()[crashed.name]})',
                  f'as {crashed.id} was interrupted',
                  f'is now named {crashed.name}'):
        assert words in record.getMessage()
    assert group.changes() == before


def test_waiting_for_the_lock_has_a_limit(group, load, volume):
    driver = load(lvm_manage_command_timeout=1)
    group.create('data1', '4m')
    lock = coordination.COORDINATOR.get_lock(
        f'cinder-lvm-manage-{group.name}')
    assert lock.acquire()
    try:
        with pytest.raises(exception.VolumeBackendAPIException,
                           match='lock on volume group scratch for 5 sec'):
            driver.manage_existing(volume(), {'source-name': 'data1'})
    finally:
        lock.release()
    load().manage_existing(volume(), {'source-name': 'data1'})
