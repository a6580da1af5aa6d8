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

"""Settings of lvm.conf change no listing, manage or unmanage, or are refused.

doc/source/lvm-settings.rst has the same settings, for operators.
"""

import os
from unittest import mock

from cinder import exception
import pytest

from cinder_lvm_manage.claim import ActivationLists
from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

# Settings that would change a report, if the driver did not pin them.
PINNED = [
    'report/list_item_separator=";"',
    'report/list_item_separator=" "',
    'report/compact_output=1',
    'report/compact_output_cols="data_percent"',
    'report/mark_hidden_devices=0',
    'report/time_format="%s"',
    'report/buffered=0',
    'report/vgs_sort_full="unknown"',
    'report/pvs_sort_full="unknown"',
    'report/lvs_sort_full="unknown"',
    'report/lvs_sort_full="-lv_size"',
    'report/pvsegs_sort_full="unknown"',
    'report/segs_sort_full="unknown"',
    'report/two_word_unknown_device=1',
    'log/verbose=3',
    'global/abort_on_internal_errors=1',
    # The options of the command override these.
    'report/binary_values_as_numeric=0',
    'global/units="h"',
    'global/si_unit_consistency=0',
    'global/suffix=1',
]

# Settings with which Cinder's own code misreads LVM.
REFUSED = [
    'report/output_format="json"',
    'report/prefixes=1',
    'report/columns_as_rows=1',
    'report/separator="|"',
    'log/report_command_log=1',
    'log/command_names=1',
    'log/prefix="lvm: "',
]


@pytest.fixture(scope='module')
def vg():
    with (ScratchVolumeGroup(physical_volumes=2) as group,
          mock.patch.dict(os.environ, group.environment)):
        zoo.build(group)
        yield group


def all_entries(driver):
    return [entry for listed in (driver.get_manageable_volumes,
                                 driver.get_manageable_snapshots)
            for entry in listed([], None, None, None, ['reference'], ['asc'])]


@pytest.fixture(scope='module')
def usual(cinder, vg):
    return all_entries(cinder.driver(vg))


def check_all_is_as_usual(cinder, vg, usual):
    driver = cinder.driver(vg)
    assert all_entries(driver) == usual
    uuids = vg.names()
    volume = cinder.record_volume()
    driver.manage_existing(volume, {'source-name': 'tagged'})
    assert vg.names()[volume.name] == uuids['tagged']
    driver.unmanage(volume)
    volume.destroy()
    assert vg.names() == uuids
    assert all_entries(driver) == usual


@pytest.mark.parametrize('setting', PINNED)
def test_a_setting_changes_nothing(cinder, vg, usual, setting):
    with vg.configured(setting):
        check_all_is_as_usual(cinder, vg, usual)


def test_no_file_of_settings_changes_anything(cinder, vg, usual, monkeypatch):
    folder = vg.lvm_conf.parent
    folder.joinpath('profile').mkdir()
    folder.joinpath('lvm_host.conf').write_text('report/compact_output=1\n')
    folder.joinpath('lvmlocal.conf').write_text(
        'report/mark_hidden_devices=0\n')
    folder.joinpath('profile', 'command.profile').write_text(
        'report/list_item_separator=";"\n')
    monkeypatch.setenv('LVM_COMMAND_PROFILE', 'command')
    with vg.configured('tags { host {} }'):
        check_all_is_as_usual(cinder, vg, usual)


@pytest.mark.parametrize('variable', ['LVM_OUT_FD=2', 'LVM_REPORT_FD=2',
                                      'LVM_ERR_FD=1'])
def test_a_report_goes_to_standard_output_and_nothing_else(
        cinder, vg, usual, monkeypatch, variable):
    driver = cinder.driver(vg)
    monkeypatch.setenv(*variable.split('='))
    assert all_entries(driver) == usual


def test_a_missing_disk_is_reported_the_same(cinder, group):
    zoo.build_partial(group)
    driver = cinder.driver(group)
    usual = all_entries(driver)
    with group.configured('activation/activation_mode="partial"'):
        assert all_entries(cinder.driver(group)) == usual
    setting = 'report/two_word_unknown_device=1'
    with group.configured(setting):
        assert all_entries(driver) == usual
        with pytest.raises(exception.VolumeBackendAPIException,
                           match=f'needs: {setting}. Remove'):
            cinder.driver(group)


def test_advice_of_lvm_is_not_read_as_part_of_a_report(cinder, vg, usual):
    """LVM prints it when it archives metadata and has 128 MiB of archives."""
    folder = vg.lvm_conf.parent
    folder.joinpath('archive').mkdir()
    for number in range(2):
        path = folder / 'archive' / f'{vg.name}_{number:05}-0.vg'
        path.touch()
        os.truncate(path, 2 ** 28)
    with vg.configured('backup/archive=1', 'backup/retain_min=1',
                       'backup/backup=1',
                       f'backup/archive_dir="{folder}/archive"',
                       f'backup/backup_dir="{folder}/backup"'):
        check_all_is_as_usual(cinder, vg, usual)
        driver = cinder.driver(vg)
        for _ in range(2):
            # Without a backup, a report archives the metadata.
            folder.joinpath('backup', vg.name).unlink()
            assert all_entries(driver) == usual


@pytest.mark.parametrize('setting', REFUSED)
def test_the_driver_does_not_start_where_cinder_misreads_lvm(cinder, vg,
                                                             setting):
    with (vg.configured(setting),
          pytest.raises(exception.VolumeBackendAPIException) as refused):
        cinder.driver(vg)
    assert f'defaults Cinder needs: {setting}. Remove' in str(refused.value)


@pytest.mark.parametrize(('settings', 'printed'), [
    (['devices/multipath_wwids_file="relative"'],
     'Ignoring unknown multipath_wwids_file'),
    (['log/file="/dev/stdout"', 'log/level=7'], r'\d\d:\d\d:\d\d\.\d')])
def test_unexpected_output_is_in_the_error(cinder, vg, settings, printed):
    with (vg.configured(*settings),
          pytest.raises(exception.VolumeBackendAPIException,
                        match=rf'printed .*{printed}.*needs: none found')):
        cinder.driver(vg)


def test_a_report_on_another_descriptor_is_an_error(cinder, vg, monkeypatch):
    monkeypatch.setenv('LVM_REPORT_FD', '2')
    with pytest.raises(exception.VolumeBackendAPIException,
                       match=r"printed '', .*needs: none found"):
        cinder.driver(vg)


def test_a_setting_that_lvm_does_not_know_is_its_error(cinder, vg):
    with (vg.configured('config/abort_on_errors=1', 'report/unknown=1'),
          pytest.raises(exception.VolumeBackendAPIException,
                        match=r'failed with exit code 4.*report/unknown')):
        cinder.driver(vg)


def test_a_manage_fails_in_lvms_test_mode(cinder, vg, usual):
    with vg.configured('global/test=1'):
        driver = cinder.driver(vg)
        before = vg.changes()
        with pytest.raises(exception.VolumeBackendAPIException):
            driver.manage_existing(cinder.record_volume(),
                                   {'source-name': 'tagged'})
        assert vg.changes() == before
    assert all_entries(cinder.driver(vg)) == usual


@pytest.mark.parametrize(('settings', 'lists'), [
    ((), ActivationLists()),
    (('activation/volume_list = "vg"',), ActivationLists(('vg',))),
    (('activation/volume_list = []',
      'activation/read_only_volume_list = ["@a", "vg/b", "@*"]'),
     ActivationLists((), ('@a', 'vg/b', '@*')))])
def test_the_lists_of_what_is_activated_are_read(group, load, settings,
                                                 lists):
    driver = load()
    with group.configured(*settings):
        driver.check_for_setup_error()
    assert driver._policy.activation == lists
