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

"""What is read from the rows of a listing, of any driver."""

import json
import unittest

import ddt

from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.manageable import Reason
from osc_volume_adopt.tests.unit import fakes


@ddt.ddt
class ManageableTest(unittest.TestCase):

    def test_a_row_of_this_driver(self):
        lv = fakes.lv()
        self.assertEqual('data1', lv.name)
        self.assertEqual(4194304, lv.size)
        self.assertEqual('id-1', lv.source_id)
        self.assertEqual('cinder_lvm_manage', lv.driver)
        self.assertEqual((), lv.reasons)
        self.assertEqual({'attr': '-wi-------'}, lv.more)

    def test_a_row_of_a_driver_that_reports_nothing_more(self):
        lv = fakes.lv(fakes.BARE)
        self.assertEqual('abc', lv.name)
        self.assertIsNone(lv.size)
        self.assertEqual('abc', lv.source_id)
        self.assertEqual('', lv.driver)

    def test_reasons_are_data(self):
        # Brackets and semicolons in a mount point mean nothing.
        lv = fakes.lv(fakes.UNSAFE, reasons=json.dumps(
            [fakes.IN_USE, fakes.THIN_POOL]))
        self.assertEqual((Reason(**fakes.IN_USE), Reason(**fakes.THIN_POOL)),
                         lv.reasons)
        self.assertEqual(['in-use', 'thin-pool'], lv.codes)

    def test_a_reason_with_more_fields_is_read(self):
        lv = fakes.lv(fakes.UNSAFE, reasons=json.dumps(
            [{**fakes.THIN_POOL, 'since': '2.0'}]))
        self.assertEqual(['thin-pool'], lv.codes)

    @ddt.data('', 'is a thin pool', '{}', 'null', '5', '"text"', '[]',
              '[{"code": "thin-pool"}]', '[["thin-pool"]]', '[null]')
    def test_malformed_reasons_are_replaced_by_the_text(self, reasons):
        lv = fakes.lv(fakes.UNSAFE, reasons=reasons)
        self.assertEqual(
            ['is a thin pool (manage the thin volumes in it)'],
            [str(reason) for reason in lv.reasons])
        self.assertEqual([], lv.codes)

    def test_reasons_of_another_driver_are_shown_as_they_are(self):
        lv = fakes.lv(fakes.UNSAFE | {'reason_not_safe': 'busy; (very)'},
                      driver='other')
        self.assertEqual((Reason('', '', 'busy; (very)', ''),), lv.reasons)
        self.assertEqual('busy; (very)', lv.reasons[0].statement)

    @ddt.data(None, 'text', [], {'size_bytes': None, 'source_id': None},
              {'size_bytes': 'many'})
    def test_any_extra_info_is_read(self, info):
        lv = Manageable.from_api(fakes.SAFE | {'extra_info': info},
                                 fakes.HOST)
        self.assertIsNone(lv.size)
        self.assertEqual('', lv.source_id)

    @ddt.data(('linear', 'thick'), ('thin,sparse', 'thin'), ('', ''))
    @ddt.unpack
    def test_provisioning_is_seen_in_the_layout(self, layout, provisioning):
        self.assertEqual(provisioning,
                         fakes.lv(layout=layout).provisioning)
