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

"""Listing, managing and unmanaging snapshots on real LVM."""

import json

from cinder import context
from cinder import exception
from cinder import objects
import pytest

from tests.functional.test_volumes import by_name
from tests.functional.test_volumes import list_volumes
from tests.functional.test_volumes import NOW
from tests.lab import zoo


def list_snapshots(driver, cinder_snapshots=(), marker=None, limit=None):
    return driver.get_manageable_snapshots(
        cinder_snapshots, marker, limit, None, ['reference'], ['asc'])


@pytest.fixture
def adopted(zoo_group, load, volume):
    """A function that manages an LV of the zoo; the driver and the volume."""
    def adopt(name, lvm_type='default'):
        driver = load(lvm_type=lvm_type)
        managed = volume(status='available')
        driver.manage_existing(managed, {'source-name': name})
        managed.launched_at = NOW
        managed.save()
        return driver, managed
    return adopt


def test_a_listing_is_one_command_for_all_snapshots(zoo_group, driver,
                                                    commands):
    assert by_name(list_snapshots(driver)).keys() == {
        'thick-snapshot', 'thick-snapshot-1', 'thick-snapshot-2',
        'thin-snapshot', 'thin-snapshot-of-snapshot',
        'thin-on-external-origin', zoo.SNAPSHOT, zoo.CLONE_IN_THE_MAKING}
    assert len(commands) == 1


def test_cinders_objects_accept_a_listing(zoo_group, driver):
    entries = list_snapshots(driver)
    listed = objects.ManageableSnapshotList.from_primitives(
        context.get_admin_context(), entries)
    assert [entry.source_reference for entry in listed] == [
        entry['source_reference'] for entry in entries]


@pytest.mark.parametrize(('lvm_type', 'origin', 'name', 'kind'), [
    ('default', 'origin', 'thick-snapshot', 'thick'),
    ('default', 'origin-of-two', 'thick-snapshot-2', 'thick'),
    ('thin', 'thin', 'thin-snapshot', 'thin')])
@pytest.mark.parametrize('by', ['source-name', 'source-id'])
def test_a_snapshot_of_a_volume_is_managed_and_restored_by_unmanage(
        zoo_group, adopted, snapshot, commands, lvm_type, origin, name, kind,
        by):
    before = zoo_group.names()
    driver, parent = adopted(origin, lvm_type)
    entry = by_name(list_snapshots(driver))[name]
    assert entry['safe_to_manage'], entry['reason_not_safe']
    assert entry['source_reference'] == {'source-name': parent.name}
    assert entry['extra_info']['kind'] == kind
    assert entry['extra_info']['origin_volume_id'] == parent.id

    managed = snapshot(parent)
    reference = {by: name if by == 'source-name' else before[name]}
    assert (driver.manage_existing_snapshot_get_size(managed, reference)
            == entry['size'])
    commands.clear()
    managed.update(driver.manage_existing_snapshot(managed, reference))
    managed.save()
    assert len(commands) <= 4
    assert zoo_group.names()[f'_{managed.name}'] == before[name]

    entry = by_name(list_snapshots(driver, [managed]))[f'_{managed.name}']
    assert entry['cinder_id'] == managed.id
    assert entry == by_name(list_snapshots(driver))[f'_{managed.name}']
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=managed.id):
        driver.manage_existing_snapshot(
            snapshot(parent), {'source-name': f'_{managed.name}'})

    driver.unmanage_snapshot(managed)
    driver.unmanage(parent)
    assert zoo_group.names() == before


@pytest.mark.parametrize(('name', 'percent', 'invalid', 'why'), [
    ('overflowed', '100.00', 'True', 'is an invalid snapshot (remove it with'),
    ('thick-snapshot', '0.00', 'False', 'is a snapshot of LV origin, which')])
def test_an_active_snapshot_shows_its_usage(load, replay, name, percent,
                                            invalid, why):
    driver = load(lvm_manage_without_device_mapper=False)
    replay('device-mapper')
    entry = by_name(list_snapshots(driver))[name]
    assert entry['extra_info']['data_percent'] == percent
    assert entry['extra_info']['invalid'] == invalid
    assert why in entry['reason_not_safe']


def test_a_thick_snapshot_has_its_origins_size(zoo_group, adopted, snapshot):
    driver, parent = adopted('origin-of-two')
    assert driver.manage_existing_snapshot_get_size(
        snapshot(parent), {'source-name': 'thick-snapshot-1'}) == 2


@pytest.mark.parametrize(('name', 'why'), [
    ('thick-snapshot-1',
     'is a snapshot of LV origin-of-two, which Cinder does not manage'),
    ('size-1g', 'is not a snapshot'),
    ('merging-snapshot', 'is being merged into its origin'),
    ('scratch-pool', 'is a thin pool'),
    (zoo.CLONE_IN_THE_MAKING, "is Cinder's temporary snapshot")])
def test_any_other_lv_is_refused_and_nothing_changes(
        zoo_group, adopted, snapshot, name, why):
    driver, parent = adopted('origin')
    before = zoo_group.changes()
    for manage in (driver.manage_existing_snapshot_get_size,
                   driver.manage_existing_snapshot):
        with pytest.raises(exception.ManageExistingInvalidReference,
                           match=why):
            manage(snapshot(parent), {'source-name': name})
    assert zoo_group.changes() == before


def test_a_snapshot_of_another_volume_is_refused(zoo_group, adopted,
                                                 snapshot):
    _, other = adopted('origin-of-two')
    driver, parent = adopted('origin')
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match=f'is a snapshot of volume {other.id}, not of '
                             f'volume {parent.id}'):
        driver.manage_existing_snapshot(snapshot(parent),
                                        {'source-name': 'thick-snapshot-1'})


def test_a_snapshot_of_a_migrated_volume_is_managed(group, driver, volume,
                                                    snapshot):
    parent = volume(status='available', launched_at=NOW,
                    _name_id='66666666-6666-4666-8666-666666666666')
    group.restore(zoo.origin_with_snapshot(parent.name, 'snap1'))
    managed = snapshot(parent)
    driver.manage_existing_snapshot(managed, {'source-name': 'snap1'})
    assert f'_{managed.name}' in group.names()
    parent.destroy()


@pytest.mark.parametrize('existing_ref', [
    None, 'thick-snapshot', {}, {'source-name': 'a/b'}])
def test_the_error_for_a_bad_reference_names_valid_ones(
        zoo_group, adopted, snapshot, existing_ref):
    driver, parent = adopted('origin')
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match=r'source-name.*source-id'):
        driver.manage_existing_snapshot_get_size(snapshot(parent),
                                                 existing_ref)


@pytest.mark.parametrize(('origin', 'names'), [
    ('origin', ['thick-snapshot']),
    ('origin-of-two', ['thick-snapshot-1', 'thick-snapshot-2'])])
def test_an_origin_of_unmanaged_thick_snapshots_is_not_deleted(
        zoo_group, adopted, caplog, origin, names):
    driver, parent = adopted(origin)
    before = zoo_group.names()
    with pytest.raises(exception.VolumeIsBusy):
        driver.delete_volume(parent)
    assert zoo_group.names() == before
    assert ', '.join(names) in caplog.text


@pytest.mark.parametrize('work', [
    lambda driver, volume: driver.delete_volume(volume),
    lambda driver, volume: driver.migrate_volume(
        None, volume, {'capabilities': {}}),
    lambda driver, volume: driver.before_volume_copy(None, volume, None)],
    ids=['delete', 'migrate', 'retype'])
@pytest.mark.parametrize('name', ['origin', 'external-origin'])
def test_an_lv_that_others_need_is_not_deleted(zoo_group, load, volume, name,
                                               work):
    driver = load()
    needed = volume(status='available', launched_at=NOW)
    zoo_group.lvm('lvrename', zoo_group.name, name, needed.name)
    with pytest.raises(exception.VolumeIsBusy):
        work(driver, needed)


def test_a_snapshot_that_others_need_is_not_deleted(group, load, cinder,
                                                    snapshot, caplog):
    group.restore(zoo.thin_snapshot_with_snapshot(
        group.name, 'thin', 'snap', 'thick-snapshot'))
    driver = load(lvm_type='thin')
    taken = snapshot(cinder.manage(driver, 'thin'))
    taken.update(driver.manage_existing_snapshot(taken,
                                                 {'source-name': 'snap'}))
    taken.save()
    before = group.names()
    with pytest.raises(exception.SnapshotIsBusy):
        driver.delete_snapshot(taken)
    assert group.names() == before
    assert 'LVM would also remove thick-snapshot' in caplog.text


def test_a_thin_clone_is_in_both_lists(zoo_group, load):
    driver = load(lvm_type='thin')
    as_volume = by_name(list_volumes(driver))['thin-snapshot']
    assert as_volume['safe_to_manage'], as_volume['reason_not_safe']
    assert as_volume['extra_info']['shares_blocks_with'] == (
        'thin,thin-snapshot-of-snapshot')
    as_snapshot = by_name(list_snapshots(driver))['thin-snapshot']
    assert [reason['code'] for reason in json.loads(
        as_snapshot['extra_info']['reasons'])] == ['foreign-snapshot']


def test_a_clone_that_is_a_volume_is_no_snapshot(zoo_group, adopted,
                                                 snapshot):
    _, parent = adopted('thin', 'thin')
    driver, clone = adopted('thin-snapshot', 'thin')
    assert clone.name not in by_name(list_snapshots(driver))
    zoo_group.lvm('lvrename', zoo_group.name, clone.name, 'renamed')
    entry = by_name(list_snapshots(driver))['renamed']
    assert entry['cinder_id'] == clone.id
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=f'volume {clone.id}'):
        driver.manage_existing_snapshot(snapshot(parent),
                                        {'source-name': 'renamed'})


def test_a_clone_that_is_a_snapshot_is_no_volume(zoo_group, adopted, snapshot,
                                                 volume):
    driver, parent = adopted('thin', 'thin')
    managed = snapshot(parent)
    managed.update(driver.manage_existing_snapshot(
        managed, {'source-name': 'thin-snapshot'}))
    managed.save()
    lv_name = f'_{managed.name}'
    assert lv_name not in by_name(list_volumes(driver))
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=f'snapshot {managed.id}'):
        driver.manage_existing(volume(), {'source-name': lv_name})
    zoo_group.lvm('lvrename', zoo_group.name, lv_name, 'renamed')
    assert by_name(list_volumes(driver))['renamed']['cinder_id'] == managed.id
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=f'snapshot {managed.id}'):
        driver.manage_existing(volume(), {'source-name': 'renamed'})


def test_a_snapshot_that_cinder_never_recorded_is_released_on_delete(
        zoo_group, adopted, snapshot):
    driver, parent = adopted('origin')
    before = zoo_group.names()
    failed = snapshot(parent)
    driver.manage_existing_snapshot(failed, {'source-name': 'thick-snapshot'})
    driver.delete_snapshot(failed)
    assert zoo_group.names() == before
    assert zoo_group.tags('thick-snapshot') == set()


def test_a_managed_snapshot_renamed_by_hand_is_still_managed(
        zoo_group, adopted, snapshot):
    driver, parent = adopted('origin')
    managed = snapshot(parent)
    managed.update(driver.manage_existing_snapshot(
        managed, {'source-name': 'thick-snapshot'}))
    managed.save()
    zoo_group.lvm('lvrename', zoo_group.name, f'_{managed.name}', 'renamed')
    entry = by_name(list_snapshots(driver))['renamed']
    assert entry['cinder_id'] == managed.id
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=managed.id):
        driver.manage_existing_snapshot(snapshot(parent),
                                        {'source-name': 'renamed'})


def test_ten_thousand_lvs_half_of_them_snapshots_are_one_command(
        group, driver, commands):
    group.restore(zoo.thin_volumes_with_snapshots(group.name, 5000))
    assert len(list_snapshots(driver)) == 5000
    assert len(commands) == 1
