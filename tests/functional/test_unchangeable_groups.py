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

"""An LV that LVM could not rename, or not rename back, is not safe."""

import contextlib
import pathlib
import subprocess

from cinder import exception
import pytest

from tests.lab.metadata import linear
from tests.lab.metadata import logical_volume
from tests.lab.metadata import logical_volumes
from tests.lab.metadata import segment


def reasons(driver):
    """Return why each LV is not safe, by its name; None if it is safe."""
    return {entry['reference']['source-name']: entry['reason_not_safe']
            for entry in driver.get_manageable_volumes(
                [], None, None, None, ['reference'], ['asc'])}


def assert_refused(group, driver, volume, name, why):
    """The LV is listed with the reason, and a manage changes nothing."""
    before = group.report('lv_name', 'lv_uuid', 'lv_tags')
    assert why in reasons(driver)[name]
    with pytest.raises(exception.ManageExistingInvalidReference) as refused:
        driver.manage_existing(volume(), {'source-name': name})
    assert why in str(refused.value)
    assert group.report('lv_name', 'lv_uuid', 'lv_tags') == before


def run(*command):
    return subprocess.run(command, check=True, capture_output=True,
                          text=True).stdout.strip()


@contextlib.contextmanager
def read_only_device(group):
    device = group.report('devices')[0]['devices'].partition('(')[0]
    run('blockdev', '--setro', device)
    try:
        yield
    finally:
        run('blockdev', '--setrw', device)


@contextlib.contextmanager
def copied_device(group):
    device = group.report('devices')[0]['devices'].partition('(')[0]
    image = run('losetup', '--noheadings', '--output', 'BACK-FILE', device)
    copy = pathlib.Path(f'{image}-copy')
    run('cp', '--sparse=always', image, str(copy))
    second = run('losetup', '--find', '--show', str(copy))
    conf = group.lvm_conf.read_text()
    group.lvm_conf.write_text(conf.replace(
        'global_filter = [', f'global_filter = [ "a|^{second}$|",'))
    try:
        yield
    finally:
        group.lvm_conf.write_text(conf)
        run('losetup', '--detach', second)


@pytest.mark.parametrize(('fault', 'why'), [
    (read_only_device, 'a read-only device'),
    (copied_device, 'because of duplicate physical volumes on /dev/loop')])
def test_a_fault_of_a_device_is_a_reason(group, driver, volume, fault, why):
    group.create('data1', '4m')
    with fault(group):
        assert_refused(group, driver, volume, 'data1', why)
    assert reasons(driver) == {'data1': None}
    driver.manage_existing(volume(), {'source-name': 'data1'})


def test_unknown_segments_anywhere_are_a_reason_for_each_lv(group, driver,
                                                            volume):
    group.restore(logical_volumes([
        logical_volume('sound', linear(0, 1)),
        logical_volume('half', linear(1, 1), segment('tuna', 1, 1))]))
    assert_refused(group, driver, volume, 'sound',
                   'does not know all types of segments in it')
    assert 'do not remove the LV' in reasons(driver)['half']
    assert 'lvremove' not in reasons(driver)['half']


@pytest.mark.parametrize('kind', ['error', 'zero'])
def test_the_remedy_for_a_partial_lv_is_not_to_remove_it(group, driver, volume,
                                                         kind):
    group.restore(logical_volumes([
        logical_volume('half', linear(0, 1), segment(kind, 1, 1))]))
    assert_refused(group, driver, volume, 'half', 'that store no data')
    assert 'lvremove' not in reasons(driver)['half']


RESERVED = [
    'vm_cdata', 'vm_cmeta', 'vm_corig', 'vm_cpool', 'vm_cvol', 'vm_wcorig',
    'vm_mimage', 'vm_mlog', 'vm_rimage', 'vm_rmeta_0', 'vm_tdata', 'vm_tmeta',
    'vm_vdata', 'vm_imeta', 'vm_iorig', 'vm_pmspare', 'vm_vorigin',
    'snapshot1', 'pvmove1']


def test_a_name_that_lvrename_reserves_is_a_reason(group, driver, volume):
    group.restore(logical_volumes(
        logical_volume(name, linear(number, 1))
        for number, name in enumerate(RESERVED)))
    listed = reasons(driver)
    for name in listed:
        assert 'could not restore' in listed[name]
    # Some of them are not listed, because LVM regards them as internal.
    assert len(listed) > len(RESERVED) / 2
    group.lvm('lvrename', group.name, 'vm_vdata', 'other')
    for name in RESERVED:
        with pytest.raises(RuntimeError, match='reserved'):
            group.lvm('lvrename', group.name, 'other', name)
    assert reasons(driver)['other'] is None


def test_an_adopted_lv_of_a_reserved_name_is_never_removed(group, driver,
                                                           volume, caplog):
    managed = volume()
    group.create(managed.name, '4m')
    uuid = group.names()[managed.name]
    # The tags of an older release, which adopted such an LV.
    for tag in f'id={managed.id}', 'name=vm_vdata':
        group.lvm('lvchange', '--addtag', f'cinder_lvm_manage:{tag}',
                  f'{group.name}/{managed.name}')
    for _ in range(2):
        driver.delete_volume(managed)
        assert group.names() == {managed.name: uuid}
        assert 'LVM reserves names with _vdata' in caplog.text
    driver.unmanage(managed)
    assert group.names() == {managed.name: uuid}


@pytest.mark.parametrize(('name', 'exact'), [
    ('linear', True), ('in-two', True), ('in-three', False)])
def test_an_lv_is_extended_to_its_record_or_not_at_all(load, group, volume,
                                                       name, exact):
    driver = load(lvm_manage_extend_to_gib=True)
    group.restore(logical_volumes([
        logical_volume('linear', linear(0, 6)),
        logical_volume('in-two', segment(
            'striped', 6, stripe_count=2, stripe_size=128,
            stripes=['pv0', 100, 'pv1', 100])),
        logical_volume('in-three', segment(
            'striped', 6, stripe_count=3, stripe_size=128,
            stripes=['pv0', 200, 'pv1', 200, 'pv1', 300]))]))
    if not exact:
        assert_refused(group, driver, volume, name,
                       'cannot be extended to exactly 1 GiB')
        return
    managed = volume()
    assert driver.manage_existing_get_size(
        managed, {'source-name': name}) == 1
    driver.manage_existing(managed, {'source-name': name})
    sizes = {row['lv_name']: row['lv_size']
             for row in group.report('lv_name', 'lv_size')}
    assert sizes[managed.name] == str(1024 ** 3)
