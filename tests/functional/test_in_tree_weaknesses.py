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

"""What Cinder's own LVM driver does wrong when it manages existing LVs.

Every test passes on this project's driver and must fail on Cinder's, with the
exception that shows the weakness (a strict xfail). If it passes there, Cinder
has fixed the weakness; with another exception, the test itself is broken.
"""

from cinder import exception
import pytest

from tests.functional.test_volumes import by_name
from tests.functional.test_volumes import list_volumes
from tests.lab import zoo
from tests.lab.service_conf import IN_TREE
from tests.lab.service_conf import OURS


@pytest.fixture
def load_driver(load):
    """A function like load(); a driver that cannot be loaded is no weakness.

    Its exception could be the one that a test expects.
    """
    def load_or_fail(volume_driver, **options):
        try:
            return load(volume_driver, **options)
        except Exception as error:
            raise RuntimeError(f'{volume_driver} cannot be loaded') from error
    return load_or_fail


@pytest.fixture
def driver(request, load_driver):
    return load_driver(request.param)


@pytest.fixture
def thin_driver(request, load_driver):
    return load_driver(request.param, lvm_type='thin')


def fails_in_tree(raises, fixture='driver'):
    """Run a test on both drivers; Cinder's must fail with this exception."""
    failing = pytest.mark.xfail(strict=True, raises=raises)
    return pytest.mark.parametrize(
        fixture, [OURS, pytest.param(IN_TREE, marks=failing)],
        ids=['this-driver', 'in-tree'], indirect=True)


# What pytest.raises() raises if nothing was raised.
DID_NOT_RAISE = pytest.fail.Exception


def list_snapshots(driver):
    return driver.get_manageable_snapshots([], None, 1000, None,
                                           ['reference'], ['asc'])


@fails_in_tree(AssertionError)
def test_a_listing_is_a_constant_number_of_commands(
        zoo_group, driver, commands):
    list_volumes(driver, limit=1000)
    assert len(commands) == 1


@fails_in_tree(AssertionError, 'thin_driver')
def test_cinders_thin_snapshot_is_not_listed_as_volume(zoo_group, thin_driver,
                                                       volume, snapshot):
    taken = snapshot(volume())
    lv_name = f'_{taken.name}'
    zoo_group.lvm('lvrename', zoo_group.name, 'thin-snapshot', lv_name)
    assert lv_name not in by_name(list_volumes(thin_driver, limit=1000))


@fails_in_tree(AssertionError, 'thin_driver')
def test_a_thin_snapshot_is_listed_as_snapshot(zoo_group, thin_driver):
    listed = by_name(list_snapshots(thin_driver))
    assert {'thin-snapshot', zoo.SNAPSHOT} <= listed.keys()


@fails_in_tree(AssertionError)
@pytest.mark.parametrize('name', ['empty-pool', 'vdo-pool', 'cache-pool',
                                  'merging-origin', 'read-only', 'locked'])
def test_an_unsafe_lv_is_not_listed_as_safe(zoo_group, driver, name):
    listed = by_name(list_volumes(driver, limit=1000))
    assert not listed[name]['safe_to_manage']


@fails_in_tree(AssertionError)
def test_a_migrated_volumes_lv_is_not_managed_again(group, driver, volume):
    owner = volume(status='available',
                   _name_id='55555555-5555-4555-8555-555555555555')
    group.create(owner.name, '1g')
    entry, = list_volumes(driver, [owner], limit=1000)
    owner.destroy()
    assert entry['cinder_id'] == owner.id
    assert not entry['safe_to_manage']


@fails_in_tree(DID_NOT_RAISE)
def test_the_backends_own_pool_is_not_managed(zoo_group, driver, volume):
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing(volume(), {'source-name': 'scratch-pool'})


@fails_in_tree(DID_NOT_RAISE)
@pytest.mark.parametrize('name', ['origin', 'thick-snapshot'])
def test_only_a_snapshot_of_the_volume_is_managed_as_its_snapshot(
        zoo_group, driver, volume, snapshot, name):
    parent = volume()
    zoo_group.create(parent.name, '1g')
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing_snapshot(snapshot(parent),
                                        {'source-name': name})


@fails_in_tree(AssertionError)
@pytest.mark.parametrize(('name', 'gib'), [('size-1g-4m', 2),
                                           ('size-4m', 1),
                                           ('size-100g-4m', 101)])
def test_a_size_is_the_ceiling_of_the_bytes(zoo_group, driver, volume, name,
                                            gib):
    assert driver.manage_existing_get_size(
        volume(), {'source-name': name}) == gib


@fails_in_tree(AssertionError)
def test_extra_info_has_the_size_and_the_tags(zoo_group, driver):
    info = by_name(list_volumes(driver, limit=1000))['tagged']['extra_info']
    assert info is not None
    assert info['size_bytes'] == '4194304'
    assert set(info['tags'].split(',')) == {'backup', 'owner=db/primary'}


@fails_in_tree(exception.ManageExistingInvalidReference)
def test_an_lv_is_found_by_its_uuid(group, driver, volume):
    group.create('data1', '1g')
    assert driver.manage_existing_get_size(
        volume(), {'source-id': group.names()['data1']}) == 1


@fails_in_tree(TypeError)
@pytest.mark.parametrize('existing_ref', [None, 'the source-name is data1'])
def test_a_reference_that_is_not_a_dict_is_invalid(
        group, driver, volume, existing_ref):
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing_get_size(volume(), existing_ref)


@fails_in_tree(AssertionError)
def test_all_reasons_are_listed(group, driver, volume):
    owner = volume(status='available')
    group.create(owner.name, '1g')
    group.lvm('lvchange', '--permission', 'r', f'{group.name}/{owner.name}')
    entry, = list_volumes(driver, [owner], limit=1000)
    assert 'already managed' in entry['reason_not_safe']
    assert 'read-only' in entry['reason_not_safe']


@fails_in_tree(AssertionError)
def test_unmanage_restores_the_old_name(group, driver, volume):
    group.create('data1', '1g')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    driver.unmanage(managed)
    assert group.names().keys() == {'data1'}


@fails_in_tree(exception.VolumeBackendAPIException)
def test_a_crashed_lvrename_is_retried(group, driver, volume, tmp_path,
                                       monkeypatch):
    group.create('data1', '1g')
    crashed = tmp_path / 'crashed'
    lvrename = tmp_path / 'lvrename'
    lvrename.write_text(f'#!/bin/sh\n[ -e {crashed} ] || '
                        f'{{ touch {crashed}; exit 139; }}\n'
                        'exec /sbin/lvrename "$@"\n')
    lvrename.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert group.names().keys() == {managed.name}


@fails_in_tree(AssertionError)
def test_deleting_a_volume_whose_manage_failed_keeps_the_lv(
        group, driver, volume):
    group.create('data1', '1g')
    failed = volume()
    driver.manage_existing(failed, {'source-name': 'data1'})
    failed.status = 'error_managing_deleting'
    driver.delete_volume(failed)
    assert group.names().keys() == {'data1'}
