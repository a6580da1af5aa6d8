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

from cinder_lvm_manage.naming import CinderNames

ID = '1934f629-478e-4fc3-965c-b456e5fdc5fb'


@ddt.ddt
class CinderNamesTest(unittest.TestCase):

    @ddt.data(('volume-%s', f'volume-{ID}'),
              ('%s', ID),
              ('a.b+%s_c', f'a.b+{ID}_c'))
    @ddt.unpack
    def test_a_volumes_name_tells_its_id(self, template, lv_name):
        names = CinderNames(template, 'snapshot-%s')
        self.assertEqual(ID, names.volume_id(lv_name))

    @ddt.data('data1', f'volume-{ID}x', f'xvolume-{ID}', 'volume-',
              'volume-data', f'volume_{ID}', f'volume-{ID.upper()}',
              f'volume-{ID}\n')
    def test_a_name_that_cinder_never_gave_tells_none(self, lv_name):
        names = CinderNames('volume-%s', 'snapshot-%s')
        self.assertIsNone(names.volume_id(lv_name))

    def test_the_template_is_no_regular_expression(self):
        names = CinderNames('vol.me-%s', 'snapshot-%s')
        self.assertIsNone(names.volume_id(f'volume-{ID}'))

    def test_a_snapshots_name_starts_with_an_underscore(self):
        names = CinderNames('volume-%s', 'snapshot-%s')
        self.assertEqual(f'_snapshot-{ID}',
                         names.of_snapshot(f'snapshot-{ID}'))
        self.assertEqual(ID, names.snapshot_id(f'_snapshot-{ID}'))
        self.assertIsNone(names.snapshot_id(f'snapshot-{ID}'))

    @ddt.data((f'volume-{ID}', ID), (f'_snapshot-{ID}', ID), ('data1', None))
    @ddt.unpack
    def test_whom_a_name_was_given_for(self, lv_name, owner):
        self.assertEqual(owner, CinderNames('volume-%s', 'snapshot-%s')
                         .id_of(lv_name))

    def test_another_snapshot_template_needs_no_underscore(self):
        names = CinderNames('volume-%s', 'snap-%s')
        self.assertEqual(f'snap-{ID}', names.of_snapshot(f'snap-{ID}'))
        self.assertEqual(ID, names.snapshot_id(f'snap-{ID}'))
