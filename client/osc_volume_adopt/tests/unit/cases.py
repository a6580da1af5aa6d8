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

"""Commands, and runs of plans, against a Cinder in memory."""

import contextlib
import io
import logging
from typing import Any
from unittest import mock

from openstackclient import shell
from osc_lib import clientmanager
import yaml

from osc_volume_adopt import adopt
from osc_volume_adopt import run
from osc_volume_adopt import undo
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.progress import Progress
from osc_volume_adopt.projects import Access
from osc_volume_adopt.tests.unit import fakes

ON = ('--host', fakes.HOST.name)
LVS = ('data1', 'data2', 'data3')


def plan(**fields):
    return Plan('p1', tuple(
        Entry(fakes.HOST, {'source-name': name}, 1, **fields)
        for name in LVS))


def plan_by_uuid(**fields):
    """As plan(), with the driver that reports UUIDs."""
    return Plan('p1', tuple(
        Entry(fakes.HOST, {'source-name': name}, 1, driver=LVM_MANAGE,
              source_id=f'id-{name}', **fields) for name in LVS))


class RunCase(fakes.InAFolder):
    """Runs with a journal in self.path."""

    def setUp(self):
        super().setUp()
        self.stderr = io.StringIO()

    @property
    def reported(self):
        """The lines about volumes, without their numbers."""
        return [line.partition('] ')[2] for line
                in self.stderr.getvalue().splitlines() if line[0] == '[']

    def run_with(self, api, log, parallel=1, timeout=0, **options):
        return run.Run(api, log, Progress(self.stderr), parallel, timeout,
                       **{'arrival': 0, **options})

    def adopt(self, cinder, made=None, receiver='them', api=None, access=None,
              **options):
        """The outcome, and the journal's last states."""
        api = api or cinder.api
        with RunJournal(self.path, 'p1') as log:
            work = self.run_with(api, log, **options)
            adopt.find_requested(work)
            outcome = adopt.adopt(work, made or plan(), {
                'theirs': access or Access('their-id', receiver)})
            return outcome, {name: log.state(name) for name in LVS}

    def undo_problems(self, api, log):
        return {source: problem.text for source, problem in undo.problems(
            api, log, undo.volumes_of(api, log, undo.to_unmanage(log))
            ).items()}


class CommandCase(fakes.InAFolder):
    """Commands with self.cinder, self.plan and self.journal."""

    def setUp(self):
        super().setUp()
        self.cinder = fakes.FakeCinder()
        self.plan = self.path.with_name('plan.yaml')
        self.journal = self.path.with_name('plan.yaml.journal')

    def openstack(self, *words, api=None):
        """The exit status, and what is printed on stdout and stderr.

        The client itself runs the command; only Cinder is another.
        """
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        api = api or self.cinder.api
        with (contextlib.redirect_stdout(io.StringIO()) as stdout,
              contextlib.redirect_stderr(io.StringIO()) as stderr,
              mock.patch.object(clientmanager.ClientManager,
                                'volume_adoption', api)):
            status: Any
            try:
                status = shell.main([
                    '--os-auth-type', 'none', '--os-endpoint', 'http://cinder',
                    'volume', 'adoption', *map(str, words)])
            except SystemExit as exc:
                # Of argparse.
                status = exc.code
            finally:
                root.handlers[:] = handlers
                root.setLevel(level)
        return status, stdout.getvalue(), stderr.getvalue()

    def planned(self, *options):
        return self.openstack('plan', *ON, *options, '--output', self.plan)

    def applied(self, *options):
        return self.openstack('apply', self.plan, *options)

    def undone(self, *options):
        return self.openstack('undo', self.journal, *options)

    def by_name(self):
        """The fake's LVs are managed by name."""
        content = yaml.safe_load(self.plan.read_text())
        for entry in content['volumes']:
            del entry['lv']['driver']
        self.plan.write_text(yaml.safe_dump(content))
