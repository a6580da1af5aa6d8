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

"""openstack volume adoption status, report and audit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import datetime
import functools
import pathlib
from typing import Any

from cliff import columns as cliff_columns
from osc_lib.command import command

from osc_volume_adopt import arguments
from osc_volume_adopt import audit
from osc_volume_adopt import check
from osc_volume_adopt import columns
from osc_volume_adopt import journal
from osc_volume_adopt import problems
from osc_volume_adopt import status
from osc_volume_adopt import text
from osc_volume_adopt.command import Command
from osc_volume_adopt.command import EXIT_STATUS
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.report import Report
from osc_volume_adopt.status import Condition
from osc_volume_adopt.status import EntryStatus

_FOUND = 3
_EXIT_STATUS_OF_AUDIT = """
exit status::

  0    no problem was found
  1    an error, described on stderr
  2    invalid arguments
  3    problems were found, and are listed
  130  interrupted by Ctrl-C
"""


# Older releases of cliff have no generic class.
class _Statuses(cliff_columns.FormattableColumn):  # type: ignore[type-arg]
    """Statuses: what is not as planned for people, all for programs."""

    def human_readable(self) -> str:
        """Return equal ones in one line."""
        return '\n'.join(problems.grouped(
            Problem(f'{each.condition.value}: {each.why}', each.entry.source)
            for each in self._value if each.why))

    def machine_readable(self) -> list[dict[str, Any]]:
        """Return the fields of each."""
        return [{'lv': each.entry.source, 'condition': each.condition.value,
                 'why': each.why, 'volume': each.volume_id,
                 'volume_status': (each.volume or {}).get('status'),
                 'since': _time(each.since) if each.since else None}
                for each in self._value]


class StatusAdoption(Command, command.ShowOne):
    """Show how far the adoption of a plan has come.

    The journal beside the plan says what was started, and Cinder what the
    volumes are now. A run that is in progress is not disturbed. In the formats
    for programs, Details has every volume.
    """

    _epilog: Any = """example::

  openstack volume adoption status plan.yaml
""" + EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        arguments.add_plan(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        plan, is_running, found = _statuses(self, parsed_args.plan)
        shown: dict[str, Any] = {
            'Plan': plan.id, 'Volumes': len(plan.volumes),
            'GiB': sum(entry.gib for entry in plan.volumes),
            'Run': 'in progress' if is_running else 'none'}
        for condition in Condition:
            shown[condition.value.title()] = status.count(found, condition)
        last = max((each.since for each in found), default=0)
        shown['Last Step'] = columns.OptionalColumn(
            _time(last) if last else None)
        shown['Details'] = _Statuses(found)
        return tuple(shown), tuple(shown.values())


class ReportAdoption(Command):
    """Write a report about a plan: what became of each LV, and totals.

    Without options, it is printed as Markdown, for example for a change
    ticket.
    """

    _epilog: Any = """example::

  openstack volume adoption report plan.yaml --html report.html
""" + EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        arguments.add_plan(parser)
        parser.add_argument('--title', metavar='<title>',
                            help='title of the report (default: the name of '
                                 'the plan file)')
        parser.add_argument('--html', metavar='<file>', type=pathlib.Path,
                            help='file to write as a single HTML page')
        parser.add_argument('--markdown', metavar='<file>', type=pathlib.Path,
                            help='file to write as Markdown')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        plan, _, found = _statuses(self, parsed_args.plan)

        @functools.cache
        def project_name(project: str | None) -> str:
            return self.api.project_name(project or self.api.own_project())

        report = Report.of(
            parsed_args.title or f'Adoption of {parsed_args.plan.name}',
            plan, found, project_name,
            datetime.datetime.now(datetime.timezone.utc))
        for path, content in ((parsed_args.html, report.html),
                              (parsed_args.markdown, report.markdown)):
            if path:
                _write(path, content())
                self.app.stdout.write(f'{path}\n')
        if not (parsed_args.html or parsed_args.markdown):
            self.app.stdout.write(report.markdown())
        return 0


class AuditAdoption(Command, command.Lister):
    """List where Cinder's volumes and the LVs of a backend do not match.

    For example, volumes whose LV is missing, LVs that Cinder named and no
    longer knows, and adoptions that were interrupted. Nothing is changed.
    """

    _found: Sequence[audit.Finding] = ()
    _epilog: Any = """example::

  openstack volume adoption audit --host lab@lvm#lvm
""" + _EXIT_STATUS_OF_AUDIT

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        group = parser.add_mutually_exclusive_group(required=True)
        group.add_argument('--host', metavar='<host>',
                           help='backend to audit, as host@backend#pool')
        group.add_argument('--cluster', metavar='<cluster>',
                           help='backend to audit, as cluster@backend#pool')
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        return super().run(parsed_args) or (_FOUND if self._found else 0)

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        location = Location(parsed_args.host, parsed_args.cluster)
        check.require_pool(self.api, location)
        inventory = audit.Inventory.read(
            self.api, location, check.require_service(self.api, location))
        self._found = list(audit.findings(inventory))
        self.log.warning(
            '%s: %s of %s and %s checked', location,
            text.count(len(self._found), 'problem'),
            text.count(len(inventory.lvs), 'LV'),
            text.count(len(inventory.volumes), 'volume'))
        return (('Code', 'LV', 'Volume', 'Problem', 'Remedy'),
                [(each.code, each.lv, each.volume, each.problem, each.remedy)
                 for each in self._found])


def _statuses(self: Command, path: pathlib.Path
              ) -> tuple[Plan, bool, list[EntryStatus]]:
    """Return the plan, whether a run is in progress, and the statuses."""
    plan = Plan.load(path)
    record, is_running = journal.peek(
        journal.path_of(path), plan.id)
    volumes = {volume['id']: volume for volume in self.api.all_volumes()}
    return plan, is_running, status.of(plan, record, is_running, volumes)


def _write(path: pathlib.Path, content: str) -> None:
    try:
        path.write_text(content, encoding='utf-8')
    except OSError as exc:
        raise InputError(f'Cannot write {path}: {exc}') from exc


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(
        seconds, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
