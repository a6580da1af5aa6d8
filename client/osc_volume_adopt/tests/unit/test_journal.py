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

"""The journal: what is read of it, and what is refused and why."""

import ddt

from osc_volume_adopt import journal
from osc_volume_adopt.errors import JournalError
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.tests.unit import fakes


@ddt.ddt
class JournalTest(fakes.InAFolder):

    def test_records_are_read_again(self):
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED)
            log.record('data1', State.MANAGING, volume='v1')
            log.record('data2', State.REQUESTED)
        with RunJournal(self.path) as log:
            self.assertIs(State.MANAGING, log.state('data1'))
            self.assertEqual('v1', log.volume('data1'))
            self.assertEqual(['data2'], log.sources(State.REQUESTED))
            log.record('data1', State.ADOPTED)
            self.assertEqual('v1', log.volume('data1'))

    def test_snapshots_have_states_of_their_own(self):
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.MANAGING, volume='v1', lv={'a': 1})
            log.record('data1', State.ADOPTED, 'before', volume='s1')
            log.record('data1', State.REQUESTED, 'after')
            log.record('data2', State.ADOPTED, 'before', volume='s2')
        record = journal.read(self.path, 'p1')
        self.assertEqual(['data1'], record.sources(*State))
        self.assertEqual(['before'], record.snapshots('data1', State.ADOPTED))
        self.assertEqual(['before', 'after'],
                         record.snapshots('data1', *State))
        self.assertEqual(['v1', 's1', None, 's2'], [
            record.volume('data1'), record.volume('data1', 'before'),
            record.volume('data1', 'after'),
            record.volume('data2', 'before')])
        self.assertEqual([{'a': 1}, {}],
                         [record.lv('data1'), record.lv('data2')])

    def test_no_line_is_lost_with_other_line_ends(self):
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.MANAGING, volume='v1')
        self.path.write_bytes(self.path.read_bytes().replace(b'\n', b'\r\n'))
        for _ in range(2):
            with RunJournal(self.path, 'p1') as log:
                self.assertEqual('v1', log.volume('data1'))

    def test_a_line_that_was_cut_off_is_ignored(self):
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED)
        with self.path.open('a') as file:
            file.write('{"source": "data2", "sta')
        self.assertIsNone(journal.read(self.path, 'p1').state('data2'))
        with RunJournal(self.path, 'p1') as log:
            self.assertIsNone(log.state('data2'))
            log.record('data3', State.REQUESTED)
        with RunJournal(self.path, 'p1') as log:
            self.assertEqual(['data1', 'data3'],
                             log.sources(State.REQUESTED))

    @ddt.data('', '{"pl', '{"plan": "p1"}')
    def test_a_first_line_that_was_cut_off_is_replaced(self, text):
        self.path.write_text(text)
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED)
        self.assertEqual('{"plan": "p1"}',
                         self.path.read_text().splitlines()[0])

    def test_a_run_that_starts_nothing_leaves_no_file(self):
        with RunJournal(self.path, 'p1'):
            self.assertTrue(self.path.exists())
        self.assertFalse(self.path.exists())

    def test_only_one_run_uses_it(self):
        with RunJournal(self.path, 'p1'):
            with self.assertRaisesRegex(JournalError, 'in use by another run'):
                RunJournal(self.path, 'p1').__enter__()
            with self.assertRaisesRegex(JournalError, 'in use by another run'):
                journal.read(self.path, 'p1')

    def test_it_belongs_to_one_plan(self):
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED)
        with self.assertRaisesRegex(JournalError, 'another plan, p1'):
            RunJournal(self.path, 'p2').__enter__()
        with self.assertRaisesRegex(JournalError, 'another plan, p1'):
            journal.read(self.path, 'p2')

    @ddt.data('no JSON\n', 'no line', '{"plan": "p2"}',
              '{"source": "x"}\n{}\n', '[]\n[]\n',
              '{"plan": "p1"}\n{"source": "x", "state": "lost"}\n')
    def test_another_file_is_not_a_journal(self, text):
        self.path.write_text(text)
        with self.assertRaisesRegex(JournalError, 'is not a journal'):
            RunJournal(self.path, 'p1').__enter__()
        self.assertEqual(text, self.path.read_text())

    def test_an_undo_creates_no_journal(self):
        with self.assertRaisesRegex(JournalError, 'Cannot open the journal'):
            RunJournal(self.path).__enter__()
        self.assertFalse(self.path.exists())

    def test_reading_writes_nothing(self):
        self.assertIsNone(journal.read(self.path, 'p1').state('data1'))
        self.assertFalse(self.path.exists())
        text = '{"plan": "p1"}\n{"source": "x", "state": "adopted"}\n{"sou'
        self.path.write_text(text)
        self.assertIs(State.ADOPTED,
                      journal.read(self.path, 'p1').state('x'))
        self.assertEqual(text, self.path.read_text())
