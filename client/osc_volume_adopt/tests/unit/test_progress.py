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

"""Progress: what a run shows while volumes are processed."""

import contextlib
import io
import re
import threading
import time
import unittest

import ddt

from osc_volume_adopt import text
from osc_volume_adopt.progress import Pace
from osc_volume_adopt.progress import Progress
from osc_volume_adopt.tests.unit.fakes import Terminal


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@ddt.ddt
class PaceTest(unittest.TestCase):

    def setUp(self):
        self.clock = Clock()
        self.pace = Pace(self.clock)

    def complete(self, number, seconds):
        for _ in range(number):
            self.clock.now += seconds
            self.pace.complete()

    def test_too_few_volumes_give_no_estimate(self):
        self.complete(2, 1)
        self.assertEqual('too early for an estimate', self.pace.describe(9))

    def test_the_rest_takes_as_long_as_what_is_done(self):
        self.complete(3, 2)
        self.assertEqual('30 a minute; about 20 s left',
                         self.pace.describe(10))

    def test_the_estimate_rises_while_nothing_is_completed(self):
        self.complete(3, 2)
        self.clock.now += 54
        self.assertEqual('3.0 a minute; about 3 min left',
                         self.pace.describe(10))

    def test_only_recent_volumes_count(self):
        self.complete(100, 10)
        self.complete(60, 1)
        self.assertEqual(1, self.pace.rate)

    def test_a_low_rate_has_a_fraction(self):
        self.complete(3, 24)
        self.assertEqual('2.5 a minute', self.pace.describe(0))
        self.complete(60, 100)
        self.assertEqual('0.6 a minute', self.pace.describe(0))

    @ddt.data((0.4, '0 s'), (89, '89 s'), (90, '2 min'), (3600, '60 min'),
              (2 * 3600, '2.0 h'))
    @ddt.unpack
    def test_a_duration_is_rounded(self, seconds, shown):
        self.assertEqual(shown, text.duration(seconds))


class ProgressTest(unittest.TestCase):

    @contextlib.contextmanager
    def shown(self, terminal):
        """The progress of five volumes."""
        with Progress(terminal) as shown:
            shown.start('adopting', 5, 4)
            yield shown

    def test_on_a_terminal_only_failures_have_a_line(self):
        terminal = Terminal()
        with self.shown(terminal) as shown:
            shown.done('data1', 'adopted')
            shown.failed('data2', 'failed: [no]')
        self.assertNotIn('data1', terminal.getvalue())
        self.assertIn('[2/5] data2: failed: [no]', terminal.getvalue())
        self.assertRegex(terminal.getvalue(),
                         'adopting .*2/5.*\n1 failed; too early')

    def test_a_volume_whose_outcome_is_unknown_did_not_fail(self):
        terminal = Terminal()
        with self.shown(terminal) as shown:
            shown.unknown('data1', 'outcome unknown: lost')
            shown.failed('data2', 'failed: no')
            shown.unknown('data3', 'outcome unknown: lost')
        self.assertIn('[3/5] data3: outcome unknown: lost',
                      terminal.getvalue())
        self.assertIn('\n1 failed; 2 with unknown outcome; ',
                      terminal.getvalue())

    def test_a_terminal_shows_what_is_waited_for(self):
        terminal = Terminal()
        with self.shown(terminal) as shown:
            shown.wait('data2', 'Cinder is managing the LV')
            shown.wait('data1', 'Cinder is managing the LV')
        self.assertIn('waiting 0 s: Cinder is managing the LV (data1, data2)',
                      terminal.getvalue())

    def test_elsewhere_a_line_says_so_if_there_is_no_news(self):
        stderr = io.StringIO()
        with Progress(stderr, every=0.05) as shown:
            shown.start('adopting', 7, 6)
            shown.failed('data1', 'failed: no')
            for number in range(2, 7):
                shown.wait(f'data{number}', 'Cinder is managing the LV')
            deadline = time.monotonic() + 20
            while 'complete' not in stderr.getvalue():
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
        self.assertEqual(
            ['adopting 7 volumes, 6 at a time', '[1/7] data1: failed: no',
             ('1 of 7 complete; 1 failed; too early for an estimate; waiting '
              'N s: Cinder is managing the LV (data2, data3, data4 and 2 '
              'more)')],
            re.sub(r'waiting \d+ s', 'waiting N s',
                   stderr.getvalue()).splitlines()[:3])

    def test_nothing_is_written_after_the_end(self):
        stderr = io.StringIO()
        before = threading.active_count()
        with Progress(stderr, every=0.01) as shown:
            shown.start('adopting', 1, 1)
        self.assertEqual(before, threading.active_count())

    def test_the_wait_for_the_same_goes_on(self):
        stderr = io.StringIO()
        with Progress(stderr) as shown:
            shown.start('adopting', 1, 1)
            shown.wait('data1', 'a')
            first = shown._waits['data1']
            shown.wait('data1', 'a')
            self.assertIs(first, shown._waits['data1'])
            shown.wait('data1', 'b')
            self.assertEqual('b', shown._waits['data1'][0])
