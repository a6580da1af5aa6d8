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

"""Cinder's own unit tests of its LVM driver, with this driver in its place.

Run by `python -m unittest tests.upstream.test_cinders_lvm_tests`, because
Cinder's base class does not work with pytest.
"""

from __future__ import annotations

import types
from typing import Any
import unittest
from unittest import mock

from cinder.tests.unit.volume.drivers import test_lvm_driver as theirs

from cinder_lvm_manage import contents
from cinder_lvm_manage.any_size import FoundLV
from cinder_lvm_manage.driver import LVMManageDriver
from cinder_lvm_manage.volume_group import VolumeGroup
from tests.unit.reports import inventory

# Tests of methods that this driver replaces, and where this repository has the
# same cases. The tests of managing replace vg.get_volume, get_volumes or
# rename_volume, which this driver does not call. A file without a folder is in
# tests/functional.
REPLACED = {
    'test_delete_volume_bad_path':
        'expects an inactive LV not to be cleared; '
        'device_mapper/test_whole_life.py, test_an_inactive_lv_is_cleared',
    'test_delete_volume_invalid_parameter':
        'expects a request of the recorded size, which this driver ignores',
    'test_delete_volume_thinlvm_snap':
        'expects the recorded GiB to be cleared; device_mapper/'
        'test_whole_life.py',
    'test_lvm_migrate_volume_proceed_with_thin':
        'expects zeros not to be copied from a thin LV to a thick one; '
        'functional/test_any_size.py, '
        'test_a_thin_lv_is_not_copied_without_its_zeros',
    'test_lvm_get_manageable_snapshots':
        'test_snapshots.py, test_a_listing_is_one_command_for_all_snapshots',
    'test_lvm_get_manageable_volumes':
        'test_volumes.py, test_a_listing_shows_each_visible_lv_that_is_no_'
        'snapshot',
    'test_lvm_manage_existing':
        'test_volumes.py, '
        'test_a_managed_lv_has_the_volumes_name_and_a_journal',
    'test_lvm_manage_existing_already_managed':
        'test_volumes.py, test_a_volumes_lv_is_already_managed',
    'test_lvm_manage_existing_bad_ref':
        'test_volumes.py, test_a_bad_reference_changes_nothing',
    'test_lvm_manage_existing_bad_size':
        'unit/test_volume_group.py, test_a_report_that_is_none_is_an_error',
    'test_lvm_manage_existing_not_found':
        'expects that a missing LV can be managed; '
        'test_volumes.py, test_a_bad_reference_changes_nothing',
    'test_lvm_manage_existing_snapshot':
        'test_snapshots.py, '
        'test_a_snapshot_of_a_volume_is_managed_and_restored_by_unmanage',
    'test_lvm_manage_existing_snapshot_bad_ref':
        'test_snapshots.py, '
        'test_the_error_for_a_bad_reference_names_valid_ones',
    'test_lvm_manage_existing_snapshot_bad_size':
        'unit/test_volume_group.py, test_a_report_that_is_none_is_an_error',
    'test_revert_snapshot':
        'has no volume group; device_mapper/test_whole_life.py',
    'test_revert_thin_snapshot':
        'expects NotImplementedError; device_mapper/test_whole_life.py',
    'test_lvm_unmanage':
        'expects that unmanage does nothing; '
        'test_volumes.py, test_unmanage_restores_the_lv',
}


ZOO = inventory('zoo')


class _WithOurDriver:
    driver_name = 'cinder_lvm_manage.driver.LVMManageDriver'

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        ours = mock.patch.object(
            theirs, 'lvm',
            types.SimpleNamespace(LVMVolumeDriver=LVMManageDriver))
        # The tests have no volume group; every volume has this LV.
        vg = mock.create_autospec(VolumeGroup, instance=True)
        vg.inventory.return_value = ZOO
        vg.contents.side_effect = lambda lvs: {
            lv.name: contents.NOT_READ for lv in lvs}
        group = mock.patch.object(LVMManageDriver, '_volume_group', vg)
        lv = mock.patch.object(
            LVMManageDriver, '_found', autospec=True,
            return_value=FoundLV(ZOO.by_name['size-1g'], ZOO))
        for patch in (ours, group, lv):
            patch.start()
            self.addCleanup(patch.stop)  # type: ignore[attr-defined]


class LVMVolumeDriverTestCase(_WithOurDriver, theirs.LVMVolumeDriverTestCase):
    """Their tests of the driver."""


class LVMISCSITestCase(_WithOurDriver, theirs.LVMISCSITestCase):
    """Their tests of its exports over iSCSI."""


def load_tests(loader: unittest.TestLoader, *_: Any) -> unittest.TestSuite:
    """Load all of their tests except those in REPLACED, which must exist."""
    suite = unittest.TestSuite()
    left_out = set()
    for case in (LVMVolumeDriverTestCase, LVMISCSITestCase):
        for name in loader.getTestCaseNames(case):
            if name in REPLACED:
                left_out.add(name)
            else:
                suite.addTest(case(name))
    if left_out != REPLACED.keys():
        raise LookupError('tests not found in Cinder: '
                          f'{sorted(REPLACED.keys() - left_out)}')
    return suite
