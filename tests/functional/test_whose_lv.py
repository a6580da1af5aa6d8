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

"""The journal decides which LV a volume has, and a delete respects it."""

import datetime
import itertools
from unittest import mock

from cinder import exception
from oslo_concurrency import processutils
import pytest

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture
def impostor(group, driver, cinder):
    """A volume whose adopted LV was renamed; another LV has its name."""
    group.create('data1', '4m')
    owner = cinder.manage(driver, 'data1')
    group.lvm('lvrename', group.name, owner.name, 'renamed')
    group.create(owner.name, '8m')
    return owner


def test_unmanage_releases_the_lv_that_was_adopted(group, driver, impostor):
    before = group.names()
    driver.unmanage(impostor)
    assert group.names() == {'data1': before['renamed'],
                             impostor.name: before[impostor.name]}
    assert group.tags('data1') == set()


def test_delete_removes_neither_lv(group, driver, impostor):
    before = group.names()
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='is now named renamed, not'):
        driver.delete_volume(impostor)
    assert group.names() == before


@pytest.mark.parametrize('work', ['unmanage', 'delete_volume'])
def test_two_lvs_with_the_same_journal_are_not_touched(group, driver, volume,
                                                       work):
    group.create('data1', '4m')
    owner = volume()
    driver.manage_existing(owner, {'source-name': 'data1'})
    group.create('copy', '4m')
    for tag in group.tags(owner.name):
        group.lvm('lvchange', '--addtag', tag, f'{group.name}/copy')
    before = group.report('lv_name', 'lv_uuid', 'lv_tags')
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='all have the tag'):
        getattr(driver, work)(owner)
    assert group.report('lv_name', 'lv_uuid', 'lv_tags') == before


@pytest.mark.parametrize('tag', ['id=55555555-5555-4555-8555-555555555555',
                                 'name=data2'])
def test_an_lv_whose_tags_contradict_each_other_is_not_deleted(
        group, driver, volume, tag):
    # Another Cinder can tag an LV that this one is about to rename.
    group.create('data1', '4m')
    failed = volume()
    driver.manage_existing(failed, {'source-name': 'data1'})
    group.lvm('lvchange', '--addtag', f'cinder_lvm_manage:{tag}',
              f'{group.name}/{failed.name}')
    before = group.report('lv_name', 'lv_uuid', 'lv_tags')
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='do not show that'):
        driver.delete_volume(failed)
    assert group.report('lv_name', 'lv_uuid', 'lv_tags') == before


def test_an_lv_named_by_another_template_is_its_volumes(group, driver, volume):
    owner = volume(status='available', host='lab@lvm#LVM')
    group.create(f'vol_{owner.id}', '4m')
    entry, = driver.get_manageable_volumes([], None, None, None,
                                           ['reference'], ['asc'])
    assert 'if volume_name_template' in entry['reason_not_safe']
    assert entry['cinder_id'] == owner.id
    with pytest.raises(exception.ManageExistingAlreadyManaged):
        driver.manage_existing(volume(),
                               {'source-name': f'vol_{owner.id}'})


def test_of_a_copy_the_original_is_not_to_be_unmanaged(group, driver, volume):
    owner = volume(status='available', host='elsewhere@lvm#LVM')
    group.create(owner.name, '4m')
    entry, = driver.get_manageable_volumes([], None, None, None,
                                           ['reference'], ['asc'])
    assert 'by elsewhere@lvm#LVM' in entry['reason_not_safe']
    assert f'do not unmanage {owner.id}' in entry['reason_not_safe']


@pytest.fixture
def moved(group, driver, cinder, volume):
    """An adopted volume that Cinder copied to another LV of the group.

    Its record, and that of its old LV, which Cinder deletes then.
    """
    group.create('data1', '4m')
    migrated = cinder.manage(driver, 'data1')
    new = volume(status='creating', launched_at=NOW)
    group.create(new.name, '1g')
    # Cinder cannot rename the new LV, because the old one has the name.
    new._name_id = new.id
    source = migrated.finish_volume_migration(new)
    source._name_id = migrated.id
    source.save()
    migrated._name_id = new.id
    migrated.save()
    return migrated, source


def test_the_old_lv_of_a_migrated_volume_is_deleted(group, driver, moved):
    migrated, source = moved
    assert source.name == f'volume-{migrated.id}'
    driver.delete_volume(source)
    assert group.names().keys() == {migrated.name}


@pytest.mark.parametrize('work', ['unmanage', 'delete_volume'])
def test_the_old_lv_of_a_migrated_volume_is_not_the_volumes(group, driver,
                                                            moved, work):
    migrated, source = moved
    before = group.report('lv_name', 'lv_tags')
    getattr(driver, work)(migrated)
    assert [row for row in before if work == 'unmanage'
            or row['lv_name'] == source.name
            ] == group.report('lv_name', 'lv_tags')


STATUSES = ('available', 'error', 'error_deleting', 'deleting')


@pytest.mark.parametrize(('first', 'second'),
                         itertools.product(STATUSES, STATUSES))
def test_no_resets_and_deletes_remove_an_lv_that_never_was_available(
        group, driver, volume, first, second):
    group.create('data1', '4m')
    uuid = group.names()['data1']
    failed = volume()
    driver.manage_existing(failed, {'source-name': 'data1'})
    # Cinder's database fails at the end of the manage. Cinder saves the same
    # changes later, together with the status of the failure.
    failed.launched_at = NOW
    failed.status = 'error_managing'
    failed.save()
    failed = type(failed).get_by_id(failed._context, failed.id)
    failed.status = first
    failed.save()
    with (mock.patch.object(
              processutils, 'execute', autospec=True,
              side_effect=processutils.ProcessExecutionError(exit_code=5)),
          pytest.raises(exception.VolumeBackendAPIException)):
        driver.delete_volume(failed)
    failed.status = second
    failed.save()
    driver.delete_volume(failed)
    assert group.names() == {'data1': uuid}
    assert group.tags('data1') == set()


@pytest.mark.parametrize('status', STATUSES)
def test_no_reset_and_delete_removes_a_snapshot_that_never_was(
        zoo_group, driver, volume, snapshot, status):
    parent = volume()
    driver.manage_existing(parent, {'source-name': 'origin'})
    failed = snapshot(parent)
    update = driver.manage_existing_snapshot(
        failed, {'source-name': 'thick-snapshot'})
    # Cinder saves the update with another object of the same snapshot.
    saved = type(failed).get_by_id(failed._context, failed.id)
    saved.update(update)
    saved.save()
    failed.status = 'error'
    failed.save()
    failed = type(failed).get_by_id(failed._context, failed.id)
    failed.status = status
    failed.save()
    driver.delete_snapshot(failed)
    assert 'thick-snapshot' in zoo_group.names()
