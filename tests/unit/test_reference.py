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
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.reference import Reference

UUID = 'A1b2C3-d4E5-f6G7-h8I9-j0K1-l2M3-n4O5p6'


@ddt.ddt
class ReferenceTest(unittest.TestCase):

    @ddt.data('data1', 'a', 'A+b_c.d-e', '_snapshot-1', '.hidden', '...',
              'pool_tdata', 'x' * 127)
    def test_a_name_that_lvm_allows_is_a_source_name(self, name):
        self.assertEqual(Reference(name=name),
                         Reference.parse({'source-name': name}))

    def test_a_uuid_is_a_source_id(self):
        self.assertEqual(Reference(uuid=UUID),
                         Reference.parse({'source-id': UUID}))

    @ddt.data(
        None, '', 'data1', 7, True, [], ['source-name'], {},
        [{'source-name': 'data1'}],
        {'source-name': 'data1', 'source-id': UUID},
        {'source-name': 'data1', 'extra': 'x'},
        {'name': 'data1'}, {'Source-Name': 'data1'},
        {'source-name': None}, {'source-name': ''}, {'source-name': 7},
        {'source-name': ['data1']}, {'source-name': {'a': 'b'}},
        {'source-name': b'data1'},
        {'source-name': '.'}, {'source-name': '..'},
        {'source-name': 'vg/data1'}, {'source-name': '/dev/vg/data1'},
        {'source-name': '/dev/mapper/vg-data1'}, {'source-name': '../data1'},
        {'source-name': '-data1'}, {'source-name': '--help'},
        {'source-name': '@tag'}, {'source-name': 'data*'},
        {'source-name': 'data?'}, {'source-name': '[data1]'},
        {'source-name': 'data1 data2'}, {'source-name': ' data1'},
        {'source-name': 'data1\n'}, {'source-name': 'data1\0'},
        {'source-name': 'data1;reboot'}, {'source-name': '$(reboot)'},
        {'source-name': 'd\u00e4ta'}, {'source-name': '\u0664'},
        {'source-name': 'x' * 128}, {'source-name': 'x' * 5000},
        {'source-id': None}, {'source-id': ''}, {'source-id': 'data1'},
        {'source-id': UUID + '\n'}, {'source-id': UUID[:-1]},
        {'source-id': UUID.replace('-', '')},
        {'source-id': '1934f629-478e-4fc3-965c-b456e5fdc5fb'})
    def test_anything_else_is_told_what_is_accepted(self, existing_ref):
        with self.assertRaisesRegex(errors.InvalidReference,
                                    'source-name.*source-id'):
            Reference.parse(existing_ref)

    def test_a_message_can_bear_any_reference(self):
        self.assertLess(len(abridged({'source-name': 'x' * 5000})), 200)
        self.assertLess(len(abridged([{}] * 5000)), 200)
