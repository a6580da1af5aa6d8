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

"""Evidence: what makes a volume that of an LV."""

import unittest

import ddt

from osc_volume_adopt import evidence
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.tests.unit import fakes

LV = Lv(fakes.HOST, 'uuid-1', 'data1')
# Of a driver that does not report UUIDs.
WITHOUT_UUID = Lv(fakes.HOST, '', 'data1')


def volume(size=1, status='available', project='mine', **more):
    return {'id': 'marked', 'size': size, 'status': status,
            'os-vol-tenant-attr:tenant_id': project, **more}


SNAPSHOT = {'volume_id': 'v'}


@ddt.ddt
class EvidenceTest(unittest.TestCase):

    def kind(self, lv, marked, holder):
        found = evidence.judge(lv, [marked], holder, 'mine')
        kind, = (name for name in ('confirmed', 'pending', 'strangers')
                 if getattr(found, name))
        return kind

    @ddt.data(
        # The backend says that it has the LV.
        (LV, volume(), 'marked', 'confirmed'),
        (LV, volume(project='theirs', status='error'), 'marked', 'confirmed'),
        # Another one has it, or none has.
        (LV, volume(), 'other', 'strangers'),
        (LV, volume(), None, 'strangers'),
        (LV, volume(project='theirs'), None, 'strangers'),
        (LV, volume(status='error'), None, 'strangers'),
        (LV, volume(status='creating'), None, 'strangers'),
        # Only an operator can have requested these.
        (LV, volume(0, 'creating'), None, 'pending'),
        (LV, volume(0, 'error'), None, 'confirmed'),
        (LV, volume(0, 'creating'), 'other', 'strangers'),
        (LV, volume(0, 'error'), 'other', 'strangers'),
        # Without a UUID, who owns the volume decides.
        (WITHOUT_UUID, volume(), None, 'confirmed'),
        (WITHOUT_UUID, volume(project='theirs'), None, 'strangers'),
        (WITHOUT_UUID, volume(0, 'error', 'theirs'), None, 'strangers'),
        # Snapshots have their volume's size.
        (LV, volume(status='creating', **SNAPSHOT), None, 'pending'),
        (LV, volume(status='error', **SNAPSHOT), None, 'strangers'),
        (LV, volume(status='available', **SNAPSHOT), None, 'strangers'),
        (LV, volume(status='available', **SNAPSHOT), 'marked', 'confirmed'))
    @ddt.unpack
    def test_a_mark_alone_proves_nothing(self, lv, marked, holder, kind):
        self.assertEqual(kind, self.kind(lv, marked, holder))

    def test_nothing_is_listed_if_nothing_is_marked(self):
        self.assertEqual(evidence.Finding(), evidence.sort_out(
            fakes.FakeCinder().api, LV, [], self.fail))

    def test_an_lv_is_recorded_and_read_again(self):
        for lv in (LV, WITHOUT_UUID):
            self.assertEqual(lv, Lv.from_journal(lv.as_dict))
        self.assertEqual('', Lv.from_journal({}).uuid)

    def test_a_stranger_is_named(self):
        self.assertEqual(
            ('Ignored volume marked of project theirs: it has the property '
             'adopted_by_plan=p/data1, which its project can write, but it '
             'does not have that LV'), evidence.stranger(
                 volume(project='theirs'), {'adopted_by_plan': 'p/data1'}))
        self.assertIn(r'adopted_by_plan=p/\x1b[2J\n,', evidence.stranger(
            volume(project='theirs'), {'adopted_by_plan': 'p/\x1b[2J\n'}))
