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

"""Snapshot: what a row of the listing says."""

import unittest

import ddt

from osc_volume_adopt import snapshots
from osc_volume_adopt.snapshots import Snapshot
from osc_volume_adopt.tests.unit import fakes


@ddt.ddt
class SnapshotTest(unittest.TestCase):

    @ddt.data(('thick', None, True), ('thin', None, False),
              ('', None, True), ('thick', 'snapshot-id', False))
    @ddt.unpack
    def test_a_delete_is_blocked(self, kind, cinder_id, blocked):
        self.assertIs(blocked, fakes.snapshot(
            'before', 'data1', kind, cinder_id=cinder_id).blocks_delete)

    @ddt.data(((), True), (('foreign-snapshot',), True),
              (('foreign-snapshot', 'invalid-snapshot'), False),
              (('in-use',), False))
    @ddt.unpack
    def test_it_can_follow_its_origin(self, codes, possible):
        self.assertIs(possible, fakes.snapshot(
            'before', 'data1', codes=codes).can_follow)

    @ddt.data(({'source-name': 'data1'}, 'data1'),
              ({'source-id': 'abc'}, 'abc'), ({}, ''), (None, ''))
    @ddt.unpack
    def test_the_origin_is_that_of_the_listing(self, reference, origin):
        self.assertEqual(origin, Snapshot.from_api(
            fakes.SAFE | {'source_reference': reference}, fakes.HOST).origin)

    def test_snapshots_are_found_by_their_origin(self):
        first, second, other = (
            fakes.snapshot('a', 'data1'), fakes.snapshot('b', 'data1'),
            fakes.snapshot('c', 'data2'))
        self.assertEqual({(fakes.HOST, 'data1'): [first, second],
                          (fakes.HOST, 'data2'): [other]},
                         snapshots.by_origin([first, second, other]))
