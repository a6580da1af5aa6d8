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

import unittest

import ddt

from cinder_lvm_manage import errors
from cinder_lvm_manage.reference import Reference
from tests.unit.reports import inventory


@ddt.ddt
class LogicalVolumeTest(unittest.TestCase):

    @ddt.data(('size-4m', 1), ('size-1g', 1), ('size-1g-4m', 2),
              ('size-1.5g', 2), ('size-100g-4m', 101))
    @ddt.unpack
    def test_a_size_is_rounded_up_to_whole_gib(self, name, gib):
        lv = inventory('zoo').by_name[name]
        self.assertEqual(gib, lv.size_gib)

    def test_one_extent_over_a_gib_is_kept_in_bytes(self):
        lv = inventory('zoo').by_name['size-1g-4m']
        self.assertEqual(1024 ** 3 + 4 * 1024 ** 2, lv.size)

    @ddt.data('thick-snapshot', 'thin-snapshot')
    def test_a_snapshot_is_as_large_as_its_origin(self, name):
        lv = inventory('zoo').by_name[name]
        self.assertEqual(1024 ** 3, lv.size)

    def test_an_lv_of_two_segments_is_one_row(self):
        names = [lv.name for lv in inventory('zoo').lvs]
        self.assertEqual(1, names.count('two-segments'))

    @ddt.data(('scratch-pool', True), ('scratch-pool_tdata', False),
              ('raid1_rimage_0', False), ('lvmlock', False), ('thin', True))
    @ddt.unpack
    def test_an_lv_in_brackets_is_not_visible(self, name, visible):
        lv = inventory('zoo').by_name[name]
        self.assertEqual(visible, lv.visible)

    @ddt.data(('thin', True), ('thin-snapshot', True), ('scratch-pool', False),
              ('scratch-pool_tdata', False), ('size-4m', False))
    @ddt.unpack
    def test_a_volume_in_a_thin_pool_is_thin(self, name, thin):
        self.assertEqual(thin, inventory('zoo').by_name[name].is_thin)

    def test_tags_are_read(self):
        lv = inventory('zoo').by_name['tagged']
        self.assertEqual({'backup', 'owner=db/primary'}, set(lv.tags))

    def test_an_overflowed_snapshot_is_invalid(self):
        lvs = inventory('device-mapper').by_name
        self.assertTrue(lvs['overflowed'].is_invalid_snapshot)
        self.assertFalse(lvs['thick-snapshot'].is_invalid_snapshot)


class InventoryTest(unittest.TestCase):

    def test_an_lv_is_found_by_name_and_by_uuid(self):
        zoo = inventory('zoo')
        lv = zoo.find(Reference(name='thin'))
        self.assertEqual('thin', lv.name)
        self.assertIs(lv, zoo.find(Reference(uuid=lv.uuid)))

    def test_an_lv_that_is_not_there_is_told_with_the_group(self):
        uuid = 'A' * 6 + '-AAAA' * 5 + '-' + 'A' * 6
        for reference in Reference(name='nope'), Reference(uuid=uuid):
            with self.assertRaisesRegex(errors.InvalidReference,
                                        f'has no LV with {reference}'):
                inventory('zoo').find(reference)

    def test_the_group_tells_its_own_state(self):
        self.assertTrue(inventory('exported').exported)
        self.assertTrue(inventory('partial').partial)
        self.assertFalse(inventory('read-only-group').writeable)
        zoo = inventory('zoo')
        self.assertEqual((False, False, True),
                         (zoo.exported, zoo.partial, zoo.writeable))

    def test_dependents_are_those_with_the_lv_as_origin(self):
        zoo = inventory('zoo')
        self.assertEqual(
            ['thick-snapshot-1', 'thick-snapshot-2'],
            [lv.name
             for lv in zoo.dependents(zoo.by_name['origin-of-two'])])
