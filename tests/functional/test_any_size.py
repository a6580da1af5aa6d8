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


"""Copying and clearing, as far as it needs no device: see device_mapper."""

from unittest import mock

from cinder import exception
from cinder.volume.drivers import lvm
from oslo_utils import units
import pytest


def test_an_lv_that_is_as_long_already_is_extended(group, driver, volume):
    long = volume(size=1)
    group.create(long.name, '2g')
    before = group.changes()
    driver.extend_volume(long, 2)
    assert group.changes() == before
    driver.extend_volume(long, 3)
    assert group.report('lv_size')[0]['lv_size'] == str(3 * units.Gi)


@pytest.mark.parametrize('size', ['1028m', '1g'])
def test_no_end_of_an_lv_is_cut_off_by_cinders_own_migration(
        group, driver, volume, size):
    recorded = volume(size=1)
    group.create(recorded.name, size)
    if size == '1g':
        driver.before_volume_copy(None, recorded, None)
        return
    with pytest.raises(exception.VolumeMigrationFailed,
                       match='extend the volume to 2 GiB first'):
        driver.before_volume_copy(None, recorded, None)


@pytest.mark.parametrize(('source', 'destination', 'here'), [
    ('thin', 'default', False), ('thin', 'thin', True),
    ('default', 'default', True), ('default', 'thin', True)])
def test_a_thin_lv_is_not_copied_without_its_zeros(
        zoo_group, load, volume, source, destination, here):
    driver = load(lvm_type=source)
    moved = volume(size=1)
    zoo_group.create(moved.name, '4m')
    # The group is even named as the kind that its volumes are not of.
    host = {'capabilities': {
        'location_info': f'LVMVolumeDriver:host:thin:{destination}:0'}}
    with mock.patch.object(lvm.LVMVolumeDriver, 'migrate_volume',
                           return_value=(True, None)) as copied:
        assert driver.migrate_volume(None, moved, host) == (
            (True, None) if here else (False, None))
    assert copied.called is here


def test_an_lv_that_is_longer_than_its_record_is_migrated_whole(
        group, driver, volume):
    long = volume(size=1)
    group.create(long.name, '1028m')
    with mock.patch.object(lvm.LVMVolumeDriver, 'migrate_volume') as copied:
        driver.migrate_volume(None, long, {'capabilities': {}})
    (_, given, _), _ = copied.call_args
    assert (given['name'], given['size']) == (long.name, 2)


def test_snapshots_that_cinder_knows_not_of_keep_their_origin_from_migrating(
        zoo_group, driver, volume):
    origin = volume()
    driver.manage_existing(origin, {'source-name': 'origin'})
    with pytest.raises(exception.VolumeIsBusy):
        driver.migrate_volume(None, origin, {'capabilities': {}})


def test_what_is_not_there_is_told(group, driver, volume):
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='there is no LV volume-'):
        driver.create_cloned_volume(volume(), volume())
