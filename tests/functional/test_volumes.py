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

"""Listing, managing and unmanaging volumes on real LVM."""

import datetime
import gc
import os
from typing import Any
from unittest import mock

from cinder import context
from cinder import exception
from cinder import objects
from cinder.db import api as db
from oslo_utils import units
import pytest

from cinder_lvm_manage import listing
from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def list_volumes(driver, cinder_volumes=(), marker=None, limit=None,
                 offset=None, sort_keys=('reference',), sort_dirs=('asc',)):
    return driver.get_manageable_volumes(cinder_volumes, marker, limit,
                                         offset, sort_keys, sort_dirs)


def by_name(entries):
    return {entry['reference']['source-name']: entry for entry in entries}


def test_a_listing_is_one_command_for_the_whole_zoo(zoo_group, driver,
                                                    commands):
    entries = list_volumes(driver)
    assert len(entries) > 30
    assert len(commands) == 1


def test_a_listing_shows_each_visible_lv_that_can_be_a_volume(zoo_group,
                                                              driver):
    visible = {row['lv_name'] for row in zoo_group.report('lv_name')
               if not row['lv_name'].startswith('[')}
    snapshots = {
        'thick-snapshot', 'thick-snapshot-1', 'thick-snapshot-2',
        zoo.SNAPSHOT, zoo.CLONE_IN_THE_MAKING}
    assert by_name(list_volumes(driver)).keys() == visible - snapshots


@pytest.mark.parametrize(('lvm_type', 'safe'), [
    ('default', {
        'size-4m', 'size-1g', 'size-1g-4m', 'size-1.5g', 'size-100g-4m',
        'two-segments', 'striped', 'tagged', 'skip-activation', 'x' * 100,
        'Odd+name_1.2', 'origin', 'origin-of-two', 'cloned', 'mirror',
        'raid1', 'raid5', 'raid10', 'cached', 'writecached'}),
    ('thin', {'thin', 'thin-snapshot', 'thin-snapshot-of-snapshot',
              'thin-on-external-origin', zoo.VOLUME, zoo.CLONE})])
def test_only_lvs_that_are_listed_as_safe_can_be_managed(
        zoo_group, load, volume, lvm_type, safe):
    driver = load(lvm_type=lvm_type)
    listed = {name for name, entry in by_name(list_volumes(driver)).items()
              if entry['safe_to_manage']}
    assert listed == safe
    for name in zoo_group.names().keys() - safe:
        before = zoo_group.changes()
        with pytest.raises((
                exception.ManageExistingInvalidReference,
                exception.ManageExistingVolumeTypeMismatch)) as refused:
            driver.manage_existing(volume(), {'source-name': name})
        assert f'LV {name} ' in str(refused.value)
        assert zoo_group.changes() == before
    for name in safe:
        driver.manage_existing(volume(), {'source-name': name})
    assert not zoo_group.names().keys() & safe


@pytest.mark.parametrize(('name', 'gib'), [
    ('size-4m', 1), ('size-1g', 1), ('size-1g-4m', 2), ('size-1.5g', 2),
    ('size-100g-4m', 101)])
def test_a_size_is_the_ceiling_of_the_exact_bytes(zoo_group, driver, volume,
                                                  commands, name, gib):
    size = driver.manage_existing_get_size(volume(), {'source-name': name})
    assert size == gib
    assert by_name(list_volumes(driver))[name]['size'] == gib
    assert len(commands) == 2


@pytest.mark.parametrize('by', ['source-name', 'source-id'])
def test_a_managed_lv_has_the_volumes_name_and_a_journal(group, driver, volume,
                                                         commands, by):
    group.create('data1', '4m')
    group.lvm('lvchange', '--addtag', 'mine', f'{group.name}/data1')
    uuid = group.names()['data1']
    managed = volume()
    driver.manage_existing(
        managed, {by: 'data1' if by == 'source-name' else uuid})
    assert len(commands) <= 4
    assert group.names() == {managed.name: uuid}
    assert group.tags(managed.name) == {
        'mine', f'cinder_lvm_manage:id={managed.id}',
        'cinder_lvm_manage:name=data1'}


@pytest.mark.parametrize('existing_ref', [
    None, 'data1', ['data1'], {}, {'source-name': 'data1', 'source-id': 'x'},
    {'source-name': ''}, {'source-name': 'other/data1'},
    {'source-name': '--config=x'}, {'source-name': 'data*'},
    {'source-name': '@tag'}, {'source-name': 'x' * 5000},
    {'source-name': '/dev/scratch/data1'}, {'source-id': 'data1'},
    {'source-name': 'nope'},
    {'source-id': 'AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA'}])
def test_a_bad_reference_changes_nothing(group, driver, volume, commands,
                                         existing_ref):
    group.create('data1', '4m')
    before = group.changes()
    for manage in (driver.manage_existing_get_size, driver.manage_existing):
        with pytest.raises(exception.ManageExistingInvalidReference,
                           match=r'source-name|source-id'):
            manage(volume(), existing_ref)
    assert group.changes() == before
    assert len(commands) <= 2


def test_unmanage_restores_the_lv(group, driver, volume, commands):
    group.create('data1', '4m')
    group.lvm('lvchange', '--addtag', 'mine', f'{group.name}/data1')
    before = group.report('lv_name', 'lv_uuid', 'lv_size', 'lv_tags',
                          'lv_attr')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    commands.clear()
    driver.unmanage(managed)
    assert len(commands) == 3
    assert group.report('lv_name', 'lv_uuid', 'lv_size', 'lv_tags',
                        'lv_attr') == before


def test_an_lv_is_autoactivated_until_it_is_unmanaged(
        group, driver, volume, commands):
    group.create('data1', '4m')
    group.lvm('lvchange', '--setactivationskip', 'y',
              '--setautoactivation', 'n', f'{group.name}/data1')
    fields = ('lv_skip_activation', 'lv_autoactivation', 'lv_name', 'lv_tags')
    before = group.report(*fields)
    managed = volume()
    commands.clear()
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert len(commands) == 4
    now, = group.report(*fields)
    assert (now['lv_skip_activation'], now['lv_autoactivation']) == (
        '', 'enabled')
    assert {'cinder_lvm_manage:was=skipped', 'cinder_lvm_manage:was=manual'
            } <= set(now['lv_tags'].split(','))
    driver.unmanage(managed)
    assert group.report(*fields) == before


def test_an_lv_is_extended_to_a_whole_gib_if_configured(
        group, load, volume, commands):
    driver = load(lvm_manage_extend_to_gib=True)
    group.create('data1', '1028m')
    entry, = list_volumes(driver)
    assert entry['extra_info']['size_bytes_managed'] == str(2 * units.Gi)
    managed = volume()
    commands.clear()
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert len(commands) == 5
    row, = group.report('lv_name', 'lv_size')
    assert row == {'lv_name': managed.name, 'lv_size': str(2 * units.Gi)}


def test_an_lv_is_not_extended_in_a_group_without_space(group, load, volume):
    driver = load(lvm_manage_extend_to_gib=True)
    group.create('data1', '4m')
    group.lvm('lvcreate', '--yes', '--extents', '100%FREE', '--name', 'rest',
              group.name)
    before = group.changes()
    with pytest.raises(exception.ManageExistingInvalidReference,
                       match='not have enough free space'):
        driver.manage_existing(volume(), {'source-name': 'data1'})
    assert group.changes() == before


@pytest.mark.parametrize(('extra_specs', 'thick', 'thin'), [
    ({}, True, True), ({'provisioning:type': 'thin'}, False, True),
    ({'provisioning:type': 'thick'}, True, False),
    ({'thin_provisioning_support': '<is> True'}, False, True),
    ({'capabilities:thin_provisioning_support': '<is> False'}, True, False),
    ({'capabilities:thick_provisioning_support': '<is> True'}, True, False),
    ({'other:thin_provisioning_support': '<is> True'}, True, True)])
@pytest.mark.parametrize('lvm_type', ['default', 'thin'])
def test_an_lv_is_managed_if_the_volume_type_allows_its_kind(
        zoo_group, cinder, load, volume, lvm_type, extra_specs, thick, thin):
    driver = load(lvm_type=lvm_type)
    managed = volume(volume_type_id=cinder.record_volume_type(extra_specs))
    ref = {'source-name': 'thin' if lvm_type == 'thin' else 'size-1g'}
    if thin if lvm_type == 'thin' else thick:
        driver.manage_existing(managed, ref)
    else:
        for manage in (driver.manage_existing_get_size,
                       driver.manage_existing):
            with pytest.raises(exception.ManageExistingVolumeTypeMismatch,
                               match='which the volume type does not allow'):
                manage(managed, ref)


def test_an_lv_is_not_managed_with_a_type_that_encrypts(group, cinder, driver,
                                                        volume):
    group.create('data1', '4m')
    volume_type = cinder.record_volume_type({})
    db.volume_type_encryption_create(context.get_admin_context(), volume_type,
                                     {'provider': 'luks',
                                      'control_location': 'front-end'})
    managed = volume(volume_type_id=volume_type)
    changes = group.changes()
    for manage in (driver.manage_existing_get_size, driver.manage_existing):
        with pytest.raises(exception.ManageExistingVolumeTypeMismatch,
                           match='attaching it would format it as LUKS'):
            manage(managed, {'source-name': 'data1'})
    assert group.changes() == changes


def test_a_thin_snapshot_without_its_origin_is_already_managed(
        group, driver, volume, snapshot):
    cinders = snapshot(volume())
    lv_name = f'_{cinders.name}'
    group.create(lv_name, '4m')
    entry, = list_volumes(driver)
    assert (f'is already managed as snapshot {cinders.id}'
            in entry['reason_not_safe'])
    with pytest.raises(exception.ManageExistingAlreadyManaged):
        driver.manage_existing(volume(), {'source-name': lv_name})


def test_unmanage_keeps_the_name_of_a_volume_that_cinder_made(group, driver,
                                                              volume):
    made = volume()
    driver.create_volume(made)
    driver.unmanage(made)
    assert group.names().keys() == {made.name}
    again = volume()
    made.destroy()
    driver.manage_existing(again, {'source-name': made.name})
    assert group.names().keys() == {again.name}


def test_unmanage_keeps_cinders_name_if_the_old_one_exists(
        group, driver, volume, caplog):
    group.create('data1', '4m')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    group.create('data1', '4m')
    driver.unmanage(managed)
    assert group.names().keys() == {managed.name, 'data1'}
    assert 'cinder_lvm_manage:name=data1' in group.tags(managed.name)
    assert 'cannot be renamed back to data1: another LV' in caplog.text


def test_unmanage_keeps_cinders_name_if_configured(group, load, volume):
    driver = load(lvm_manage_restore_name=False)
    group.create('data1', '4m')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    driver.unmanage(managed)
    assert group.names().keys() == {managed.name}
    assert group.tags(managed.name) == set()


def test_unmanage_of_a_volume_without_lv_only_warns(group, driver, volume,
                                                    caplog):
    driver.unmanage(volume())
    assert 'nothing to restore' in caplog.text


def test_a_second_unmanage_completes_an_interrupted_one(group, driver, volume):
    group.create('data1', '4m')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    group.lvm('lvrename', group.name, managed.name, 'data1')
    driver.unmanage(managed)
    assert group.names().keys() == {'data1'}
    assert group.tags('data1') == set()


def assert_already_managed(driver, volume, lv_name, owner,
                           cinder_volumes=()):
    entry = by_name(list_volumes(driver, cinder_volumes))[lv_name]
    assert not entry['safe_to_manage']
    assert (f'is already managed as volume {owner.id}'
            in entry['reason_not_safe'])
    assert entry['cinder_id'] == owner.id
    with pytest.raises(exception.ManageExistingAlreadyManaged,
                       match=owner.id):
        driver.manage_existing(volume(), {'source-name': lv_name})


@pytest.mark.parametrize('listed', [True, False])
def test_a_volumes_lv_is_already_managed(group, driver, volume, listed):
    owner = volume(status='available')
    driver.create_volume(owner)
    assert_already_managed(driver, volume, owner.name, owner,
                           [owner] if listed else [])


@pytest.mark.parametrize('listed', [True, False])
def test_a_migrated_volumes_lv_is_already_managed(group, driver, volume,
                                                  listed):
    owner = volume(status='available',
                   _name_id='44444444-4444-4444-8444-444444444444')
    driver.create_volume(owner)
    assert owner.id not in owner.name
    assert_already_managed(driver, volume, owner.name, owner,
                           [owner] if listed else [])
    owner.destroy()


def test_the_lv_of_another_backends_volume_is_already_managed(group, driver,
                                                              volume):
    owner = volume(host='elsewhere@lvm#LVM')
    group.create(owner.name, '4m')
    assert_already_managed(driver, volume, owner.name, owner)


def test_a_managed_lv_renamed_by_hand_is_still_managed(group, driver, volume):
    group.create('data1', '4m')
    owner = volume()
    driver.manage_existing(owner, {'source-name': 'data1'})
    owner.launched_at = NOW
    owner.save()
    group.lvm('lvrename', group.name, owner.name, 'data1')
    assert_already_managed(driver, volume, 'data1', owner)


def test_a_volumes_lv_that_cinders_database_has_lost_can_be_managed(
        group, driver, volume):
    group.create('data1', '4m')
    lost = volume()
    driver.manage_existing(lost, {'source-name': 'data1'})
    lost.destroy()
    found = volume()
    driver.manage_existing(found, {'source-name': lost.name})
    assert group.names().keys() == {found.name}
    driver.unmanage(found)
    assert group.names().keys() == {'data1'}


def test_a_bad_sort_key_is_an_error_if_cinder_passes_its_volumes(
        driver, volume):
    volume()
    known = objects.VolumeList.get_all(context.get_admin_context())
    with pytest.raises(exception.InvalidInput, match='cannot sort by name'):
        driver.get_manageable_volumes(known, None, None, None, ['name'],
                                      ['asc'])


def test_a_failure_is_logged_in_one_line(group, driver, volume, caplog):
    managed = volume()
    group.create('data1', '4m')
    driver.manage_existing(managed, {'source-name': 'data1'})
    group.lvm('vgrename', group.name, 'elsewhere')
    for work, words in (
            (lambda: driver.manage_existing(managed, {'source-name': 'x'}),
             "Failed to manage existing LV {'source-name': 'x'} as volume "
             + managed.id + ': '),
            (lambda: driver.unmanage(managed),
             f'Failed to unmanage volume {managed.id}: '),
            (lambda: driver.extend_volume(managed, 2),
             f'Failed to extend volume {managed.id}: ')):
        caplog.clear()
        with pytest.raises(exception.VolumeBackendAPIException):
            work()
        record, = (record for record in caplog.records
                   if record.name == 'cinder_lvm_manage.cinder_errors')
        assert record.levelname == 'ERROR'
        assert record.exc_info is None
        message = record.getMessage()
        assert message.startswith(words + f'`lvm fullreport {group.name}` '
                                  'failed with exit code 5: ')
        assert f'Volume group "{group.name}" not found' in message
        assert '\n' not in message
    group.lvm('vgrename', 'elsewhere', group.name)


def test_a_refusal_is_logged_with_volume_reference_and_reasons(
        zoo_group, driver, volume, caplog):
    refused = volume()
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing(refused, {'source-name': 'scratch-pool'})
    record, = (record for record in caplog.records
               if record.name == 'cinder_lvm_manage.cinder_errors')
    assert record.levelname == 'WARNING'
    for words in (refused.id, "{'source-name': 'scratch-pool'}",
                  'is a thin pool', 'manage the thin volumes in it'):
        assert words in record.getMessage()


def test_pages_by_marker_show_everything_once(zoo_group, driver):
    everything = list_volumes(driver)
    shown: list[dict[str, Any]] = []
    while page := list_volumes(
            driver, limit=7,
            marker=shown[-1]['reference'] if shown else None):
        shown += page
    assert shown == everything


@pytest.mark.parametrize('marker', [
    '{"source-name": "nope"}', 'nope', {'source-name': 'a/b'}])
def test_a_bad_marker_is_invalid_input(zoo_group, driver, marker):
    with pytest.raises(exception.InvalidInput, match='marker'):
        list_volumes(driver, marker=marker)


def test_an_attribute_error_does_not_become_an_empty_list(
        zoo_group, driver, monkeypatch):
    monkeypatch.delattr(listing, 'entry')
    with pytest.raises(exception.VolumeDriverException, match='entry'):
        list_volumes(driver)


def test_cinders_objects_accept_a_listing(zoo_group, driver):
    entries = list_volumes(driver)
    listed = objects.ManageableVolumeList.from_primitives(
        context.get_admin_context(), entries)
    assert [entry.extra_info['source_id'] for entry in listed] == [
        entry['extra_info']['source_id'] for entry in entries]


def test_an_exported_group_is_listed_with_its_reason(group, driver):
    zoo.build_small(group)
    group.lvm('vgexport', group.name)
    entry, = list_volumes(driver)
    assert 'exported volume group scratch (run `vgimport scratch`)' in (
        entry['reason_not_safe'])


def test_a_group_that_is_gone_is_an_error(group, driver):
    group.lvm('vgrename', group.name, 'renamed')
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='Volume group "scratch" not found'):
        list_volumes(driver)


def test_a_volume_that_never_was_available_is_released_on_delete(
        group, driver, volume, caplog):
    group.create('data1', '4m')
    uuid = group.names()['data1']
    failed = volume()
    driver.manage_existing(failed, {'source-name': 'data1'})
    driver.delete_volume(failed)
    assert group.names() == {'data1': uuid}
    assert group.tags('data1') == set()
    assert 'was released as data1, not deleted' in caplog.text


def test_a_volume_that_was_available_is_deleted(group, driver, volume):
    group.create('data1', '4m')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    managed.launched_at = NOW
    driver.delete_volume(managed)
    assert group.names() == {}


def test_deleting_a_volume_whose_manage_was_refused_touches_no_lv(
        zoo_group, driver, volume):
    before = zoo_group.names()
    refused = volume()
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing(refused, {'source-name': 'scratch-pool'})
    driver.delete_volume(refused)
    assert zoo_group.names() == before


@pytest.mark.parametrize(('options', 'name', 'safe'), [
    ({}, 'open', False), ({'lvm_manage_in_use': True}, 'open', True),
    ({}, 'suspended', False), ({}, 'inactive', True), ({}, 'active', True)])
def test_an_active_lv_is_judged_by_its_state_and_the_options(
        load, replay, options, name, safe):
    driver = load(lvm_manage_without_device_mapper=False, **options)
    replay('device-mapper')
    assert by_name(list_volumes(driver))[name]['safe_to_manage'] is safe


def test_ten_thousand_lvs_are_one_command(group, driver, commands):
    group.populate(10_000)
    entries = list_volumes(driver)
    assert len(entries) == 10_000
    assert all(entry['safe_to_manage'] for entry in entries)
    assert len(commands) == 1


@pytest.mark.parametrize('vg_name', ['a-b--c', 'v.+_-1', 'v' * 40])
def test_names_of_every_form_are_restored(cinder, volume, vg_name):
    # LVM limits the path of an LV to about 125 characters.
    names = ['l' * (124 - len(vg_name)), 'Odd+name_1.2', 'a-b--c', '0', '...',
             '_snapshot-x', 'volume-x', '+']
    with (ScratchVolumeGroup(vg_name) as group,
          mock.patch.dict(os.environ, group.environment)):
        driver = cinder.driver(group)
        for name in names:
            group.create(name, '4m')
        before = group.names()
        assert by_name(list_volumes(driver)).keys() == before.keys()
        volumes = [volume() for _ in names]
        for name, managed in zip(names, volumes, strict=True):
            driver.manage_existing(managed, {'source-name': name})
        assert not group.names().keys() & before.keys()
        for managed in volumes:
            driver.unmanage(managed)
        assert group.names() == before


def test_nothing_of_a_listing_stays_in_memory(group, driver):
    lvs = 500
    group.populate(lvs)

    def objects_after(listings):
        for _ in range(listings):
            assert len(list_volumes(driver)) == lvs
        gc.collect()
        return len(gc.get_objects())

    # The first listing fills caches. A listing makes several objects for each
    # LV; everything else in this process makes far fewer.
    before = objects_after(2)
    assert objects_after(3) - before < lvs
