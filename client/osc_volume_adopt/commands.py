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

"""openstack volume adoption list, show, plan, apply and undo."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import itertools
import pathlib
from typing import Any

from cliff import columns as cliff_columns
from osc_lib import exceptions as osc_exceptions
from osc_lib.cli import parseractions
from osc_lib.command import command
from oslo_utils import units

from osc_volume_adopt import check
from osc_volume_adopt import columns
from osc_volume_adopt import csv_file
from osc_volume_adopt import errors
from osc_volume_adopt import journal
from osc_volume_adopt import problems
from osc_volume_adopt import run
from osc_volume_adopt import selection
from osc_volume_adopt import text
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.manageable import Reason
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.progress import Progress
from osc_volume_adopt.run import Outcome
from osc_volume_adopt.volume_options import ImageProperty
from osc_volume_adopt.volume_options import VolumeOptions

# The client itself exits with 1 after an error, 2 if arguments are invalid,
# and 130 after Ctrl-C.
_INCOMPLETE = 3

_EXIT_STATUS = """
exit status::

  0    success
  1    an error, described on stderr
  2    invalid arguments
  130  interrupted by Ctrl-C
"""
_EXIT_STATUS_OF_RUN = """
exit status::

  0    success
  1    an error, described on stderr; no volume was changed by this command
  2    invalid arguments
  3    some volumes failed, or their outcome is unknown; run the command again
  130  interrupted by Ctrl-C; run the command again
"""


class _Command(command.Command):
    """What the five commands have in common."""

    @property
    def api(self) -> CinderApi:
        """Cinder, as the client's options say."""
        # plugin.py makes it an attribute.
        manager: Any = self.app.client_manager
        api: CinderApi = manager.volume_adoption
        return api

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        # Keeps the lines of the examples.
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; show every expected error as a CommandError.

        The client prints that on stderr and exits with status 1.
        """
        try:
            return super().run(parsed_args)
        except (errors.AdoptionError, *errors.API_ERRORS) as exc:
            raise osc_exceptions.CommandError(errors.explain(exc)) from exc


class ListAdoption(_Command, command.Lister):
    """List logical volumes that can be managed, and why others cannot.

    GiB is the size that Cinder would record. Codes identify the reasons why a
    logical volume cannot be managed; the lines below the table explain them.
    """

    _legend: Iterable[str] = ()
    _epilog: Any = """examples::

  openstack volume adoption list --host lab@lvm#lvm --safe --larger 10
  openstack volume adoption list --host lab@lvm#lvm --reason in-use
  openstack volume adoption list --host lab@lvm#lvm --match 'vm-*' \\
      -f csv > lvs.csv
""" + _EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        selection.add_options(parser)
        parser.add_argument(
            '--reason', metavar='<code>', action='append', default=[],
            help='only those that cannot be managed for this reason, for '
                 "example 'in-use' (repeat for more)")
        parser.add_argument(
            '--unmanaged', action='store_true',
            help='none that Cinder manages already')
        parser.add_argument(
            '--long', action='store_true',
            help='show all columns in a table, too; other formats always '
                 'have them')
        parser.add_argument(
            '--sort', metavar='<key>[:<direction>]', default='name:asc',
            help=f"sort by {', '.join(columns.SORT_KEYS)}, each asc or desc; "
                 'separate several keys by commas (default: name:asc)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        listed = list(_listed(self.api, parsed_args))
        lvs = columns.in_order(
            (lv for lv in selection.selected(listed, parsed_args)
             if not (parsed_args.unmanaged and lv.cinder_id)
             and (not parsed_args.reason
                  or set(parsed_args.reason) & set(lv.codes))),
            parsed_args.sort)
        if not lvs:
            self.log.warning('%s', _nothing(listed, parsed_args))
        shown: tuple[columns.Column, ...] = columns.COLUMNS
        if _is_table(parsed_args) and not parsed_args.long:
            shown = columns.of_table(lvs, len(_locations(parsed_args)))
            self._legend = _legend(lvs)
        return (tuple(column.title for column in shown),
                [tuple(column.cell(lv) for column in shown) for lv in lvs])

    def produce_output(self, parsed_args: argparse.Namespace,
                       column_names: Any, data: Any) -> int:
        """Print the list, and below a table each reason once."""
        status: int = super().produce_output(parsed_args, column_names, data)
        for line in self._legend:
            self.app.stdout.write(f'{line}\n')
        return status


class ShowAdoption(_Command, command.ShowOne):
    """Show a logical volume and what managing it would do."""

    _epilog: Any = """example::

  openstack volume adoption show --host lab@lvm#lvm data1
""" + _EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        parser.add_argument('lv', metavar='<name-or-uuid>',
                            help='logical volume')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        for lv in _listed(self.api, parsed_args):
            if parsed_args.lv in (lv.name, lv.source_id, lv.cinder_id,
                                  *lv.reference.values()):
                shown = _all_of(lv)
                return tuple(shown), tuple(shown.values())
        raise errors.InputError(
            f'{parsed_args.lv} not found on '
            f"{', '.join(map(str, _locations(parsed_args)))}. LVs that are "
            'internal to LVM are not listed.')


class PlanAdoption(_Command):
    """Write a plan: a file that says which volumes to create from which LVs.

    LVs that are not safe to manage are left out, with the reasons. Nothing is
    changed in Cinder or LVM.
    """

    _epilog: Any = """examples::

  openstack volume adoption plan --host lab@lvm#lvm --match 'vm-*' \\
      --type thick --name-template 'old-{name}' --output plan.yaml
  openstack volume adoption plan --host lab@lvm#lvm --csv lvs.csv \\
      --output plan.yaml
""" + _EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        selection.add_options(parser)
        titles = ', '.join(csv_file.VOLUME_COLUMNS)
        parser.add_argument(
            '--csv', metavar='<file>', type=pathlib.Path,
            help='CSV file from `list -f csv`; only its rows are planned. '
                 'These optional columns override the options: ' + titles)
        parser.add_argument('--type', metavar='<volume-type>',
                            help='type of the volumes')
        parser.add_argument('--project', metavar='<project>',
                            help='project to own the volumes (default: yours)')
        parser.add_argument('--availability-zone',
                            metavar='<availability-zone>',
                            help='availability zone of the volumes')
        parser.add_argument(
            '--bootable', metavar='<glob>', nargs='?', const='*',
            action='append', default=[],
            help='mark the volumes as bootable; with a glob only those of '
                 'logical volumes with a matching name (repeat for more)')
        parser.add_argument(
            '--image-property', metavar='[<glob>:]<key=value>',
            type=_image_property, action='append', default=[],
            help='image property to set on the volumes, for example '
                 '`hw_disk_bus=scsi`; with a glob only on those of logical '
                 'volumes with a matching name, for example '
                 '`win-*:os_type=windows` (repeat for more)')
        parser.add_argument(
            '--property', metavar='<key=value>', default={},
            action=parseractions.KeyValueAction,
            help='property to set on the volumes (repeat for more)')
        parser.add_argument(
            '--name-template', metavar='<template>', default='{name}',
            help='names of the volumes, from {name} and {id} of the logical '
                 'volume, its {gib}, and the {number} of the entry '
                 '(default: {name})')
        parser.add_argument('--output', metavar='<file>', required=True,
                            type=pathlib.Path,
                            help='file to create for the plan')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        lvs: Iterable[Manageable] = _listed(self.api, parsed_args)
        overrides = {}
        if parsed_args.csv:
            pairs = csv_file.matched(csv_file.read(parsed_args.csv), lvs)
            lvs = [lv for _, lv in pairs]
            overrides = {lv.identity: row.fields for row, lv in pairs}
        listed = list(lvs)
        lvs = list(selection.selected(listed, parsed_args))
        if not lvs:
            raise errors.InputError(_nothing(listed, parsed_args))
        free = [lv for lv in lvs if not lv.cinder_id]
        plan = Plan.of(free, VolumeOptions(
            parsed_args.name_template, parsed_args.type,
            parsed_args.availability_zone, parsed_args.project,
            tuple(parsed_args.bootable), tuple(parsed_args.image_property),
            dict(parsed_args.property)), overrides)
        plan.save(parsed_args.output)
        gib = sum(entry.gib for entry in plan.volumes)
        self.app.stdout.write(
            f"{parsed_args.output}: {text.count(len(plan.volumes), 'volume')} "
            f"to adopt, {gib} GiB; {text.count(len(plan.left_out), 'LV')} "
            'left out\n')
        if len(free) < len(lvs):
            self.log.warning('Left out because Cinder already manages them: '
                             '%s', text.count(len(lvs) - len(free), 'LV'))
        if plan.bytes_added:
            self.log.warning(
                'Cinder will record %s more than the LVs have, because it '
                'rounds sizes up to whole GiB', text.size(plan.bytes_added))
        receivers, found = check.receivers(self.api, plan.volumes)
        found += check.problems(self.api, plan.volumes, 1, receivers)
        if found:
            self.log.warning('%s', '\n'.join(
                [f'{parsed_args.output} cannot be applied yet:',
                 *problems.grouped(found)]))
        return 0


class _Run(_Command):
    """A command that changes volumes, and can be resumed."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            return super().run(parsed_args)
        except KeyboardInterrupt:
            self.app.stderr.write(
                'Interrupted. Run the same command to resume.\n')
            raise

    def _finish(self, outcome: Outcome, done: str, path: pathlib.Path
                ) -> int:
        """Print what became of the volumes; return the exit status.

        :param path: the journal
        """
        for kind, found in (('failed', outcome.failed),
                            ('outcome unknown', outcome.unknown)):
            for line in problems.grouped(found.values()):
                self.app.stderr.write(f'{kind}: {line}\n')
        self.app.stdout.write(
            f'{done}: {len(outcome.done)}; failed: {len(outcome.failed)}; '
            f'outcome unknown: {len(outcome.unknown)}; journal: {path}\n')
        if not outcome.failed and not outcome.unknown:
            return 0
        self.app.stderr.write('Run the same command to retry.\n')
        return _INCOMPLETE


class ApplyAdoption(_Run):
    """Adopt the volumes of a plan.

    The whole plan is checked first; if there is any problem, no volume is
    adopted. A journal beside the plan records each step: after Ctrl-C, a crash
    or a network failure, the same command resumes, and no volume is adopted
    twice.
    """

    _epilog: Any = """examples::

  openstack volume adoption apply plan.yaml --dry-run
  openstack volume adoption apply plan.yaml --parallel 8
""" + _EXIT_STATUS_OF_RUN

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('plan', metavar='<plan>', type=pathlib.Path,
                            help='plan file, as written by the plan command')
        parser.add_argument('--dry-run', action='store_true',
                            help='only check the plan; write no file')
        _add_run_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        plan = Plan.load(parsed_args.plan)
        path = parsed_args.plan.with_name(parsed_args.plan.name + '.journal')
        if parsed_args.dry_run:
            _, unfinished = self._check(plan, journal.read(path, plan.id),
                                        parsed_args)
            self.app.stdout.write(f"{text.count(unfinished, 'volume')} to "
                                  'adopt; all checks passed\n')
            return 0
        with (journal.RunJournal(path, plan.id) as log,
              Progress(self.app.stderr) as shown):
            work = run.Run(self.api, log, shown.report, parsed_args.parallel,
                           parsed_args.timeout)
            work.find_requested()
            receivers, unfinished = self._check(plan, log, parsed_args)
            earlier = len(plan.volumes) - unfinished
            shown.start('adopting', unfinished, run.ADOPTED)
            outcome = work.adopt(plan, receivers)
        return self._finish(outcome, f'adopted earlier: {earlier}; adopted',
                            path)

    def _check(self, plan: Plan, record: journal.Record,
               parsed: argparse.Namespace) -> tuple[check.Receivers, int]:
        """Return access to the projects, and how many volumes to adopt.

        :raises ChecksFailed: there is a problem
        """
        unfinished = [entry for entry in plan.volumes if record.state(
            entry.source) is not journal.State.ADOPTED]
        started = run.find_started(plan, record, self.api)
        receivers, found = check.receivers(self.api, unfinished)
        found += check.problems(
            self.api, [entry for entry in unfinished
                       if entry.source not in started],
            parsed.parallel, receivers)
        if found:
            raise errors.ChecksFailed('\n'.join([
                f'Cannot apply {parsed.plan}:', *problems.grouped(found),
                _unchanged('adopted', len(started))]))
        return receivers, len(unfinished)


class UndoAdoption(_Run):
    """Unmanage the volumes that a run has adopted.

    With cinder_lvm_manage, their logical volumes get their old names again.
    All volumes are checked first; if one is attached or has snapshots, none is
    unmanaged. The same command resumes an undo that was interrupted.
    """

    _epilog: Any = """example::

  openstack volume adoption undo plan.yaml.journal
""" + _EXIT_STATUS_OF_RUN

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('journal', metavar='<journal>', type=pathlib.Path,
                            help='journal file, as written by apply')
        _add_run_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        with (journal.RunJournal(parsed_args.journal) as log,
              Progress(self.app.stderr) as shown):
            work = run.Run(self.api, log, shown.report, parsed_args.parallel,
                           parsed_args.timeout)
            work.find_requested()
            self._check(log, parsed_args)
            sources = run.to_unmanage(log)
            shown.start('unmanaging', len(sources), run.UNMANAGED)
            outcome = work.unmanage(sources)
        return self._finish(outcome, 'unmanaged', parsed_args.journal)

    def _check(self, record: journal.Record,
               parsed: argparse.Namespace) -> None:
        """:raises ChecksFailed: a volume cannot be unmanaged"""
        volumes = run.volumes_of(self.api, record)
        check.require_services_of(self.api, filter(None, volumes.values()))
        found = run.undo_problems(self.api, record, volumes)
        if found:
            earlier = len(record.sources(journal.State.UNMANAGING,
                                         journal.State.UNMANAGED))
            raise errors.ChecksFailed('\n'.join([
                f'Cannot undo {parsed.journal}:', *problems.grouped(found),
                _unchanged('unmanaged', earlier)]))


def _unchanged(done: str, earlier: int) -> str:
    if not earlier:
        return 'Nothing was changed.'
    return (f"This run changed nothing. Earlier runs have {done} "
            f"{text.count(earlier, 'volume')}, or started to.")


def _add_location(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--host', metavar='<host>', action='append',
                       default=[],
                       help='backend of the logical volumes, as '
                            'host@backend#pool (repeat for more)')
    group.add_argument('--cluster', metavar='<cluster>', action='append',
                       default=[],
                       help='cluster of the logical volumes, as '
                            'cluster@backend#pool; any service of the cluster '
                            'that is up processes the requests (repeat for '
                            'more)')


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--parallel', metavar='<number>', type=_positive,
                        default=4,
                        help='volumes to process concurrently (default: 4)')
    parser.add_argument('--timeout', metavar='<seconds>', type=_positive,
                        default=600,
                        help='time to wait for each volume (default: 600)')


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a whole number') from exc
    if number < 1:
        raise argparse.ArgumentTypeError('must be 1 or more')
    return number


def _image_property(text: str) -> ImageProperty:
    try:
        return ImageProperty.parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not [GLOB:]KEY=VALUE') from exc


def _locations(parsed: argparse.Namespace) -> list[Location]:
    return [*(Location(host=name) for name in dict.fromkeys(parsed.host)),
            *(Location(cluster=name)
              for name in dict.fromkeys(parsed.cluster))]


def _listed(api: CinderApi, parsed: argparse.Namespace
            ) -> Iterator[Manageable]:
    """Return the LVs of all backends that the options name."""
    locations = _locations(parsed)
    for location in locations:
        check.require_pool(api, location)
    return itertools.chain.from_iterable(map(api.manageable, locations))


def _is_table(parsed: argparse.Namespace) -> bool:
    return parsed.formatter == 'table' and not parsed.columns


def _nothing(listed: Collection[Manageable], parsed: argparse.Namespace
             ) -> str:
    """Return why there is nothing to show or to plan."""
    where = ', '.join(map(str, _locations(parsed)))
    if not listed:
        return f'{where} has no LVs that Cinder could manage.'
    return (f"None of the {text.count(len(listed), 'LV')} of {where} matches "
            'the options.')


def _legend(lvs: Iterable[Manageable]) -> Iterator[str]:
    """Yield a line for each code, with the first LV as an example."""
    by_code: dict[str, list[Manageable]] = {}
    for lv in lvs:
        for code in lv.codes:
            by_code.setdefault(code, []).append(lv)
    for code, theirs in sorted(by_code.items()):
        lv = theirs[0]
        reason = next(each for each in lv.reasons if each.code == code)
        yield (f"{code} ({text.count(len(theirs), 'LV')}): {lv.name} {reason}")


# Older releases of cliff have no generic class.
class _Lines(cliff_columns.FormattableColumn):  # type: ignore[type-arg]
    """Several texts: one line each for people, a list for programs."""

    def human_readable(self) -> str:
        return '\n'.join(self._value)


class _Reasons(cliff_columns.FormattableColumn):  # type: ignore[type-arg]
    """Reasons: one line each for people, their fields for programs."""

    def human_readable(self) -> str:
        return '\n'.join(map(str, self._value))

    def machine_readable(self) -> list[dict[str, str]]:
        return [_fields(reason) for reason in self._value]


def _fields(reason: Reason) -> dict[str, str]:
    return {'code': reason.code, 'kind': reason.kind, 'why': reason.why,
            'remedy': reason.remedy}


def _all_of(lv: Manageable) -> dict[str, Any]:
    return {
        **{column.title: column.cell(lv) for column in columns.COLUMNS},
        'Reasons': _Reasons(lv.reasons),
        'If Managed': _Lines(_effects(lv)),
        'Driver': lv.driver,
        **{name.replace('_', ' ').title(): text
           for name, text in sorted(lv.more.items())}}


def _effects(lv: Manageable) -> list[str]:
    if not lv.safe:
        return ['Cinder refuses the request, and the LV does not change']
    found = [f'Cinder records a volume of {lv.gib} GiB, which uses quota']
    if lv.size is not None and lv.size_managed not in (None, lv.size):
        found.append(f'the LV is extended from {lv.size} to '
                     f'{lv.size_managed} bytes')
    elif lv.size is not None and lv.size != lv.gib * units.Gi:
        missing = text.size(lv.gib * units.Gi - lv.size)
        found.append(f'the LV keeps its size of {lv.size} bytes, which is '
                     f'{missing} less')
    if lv.driver == LVM_MANAGE:
        found += [f'the name {lv.name} is recorded in the tags of the LV',
                  "the LV is renamed to Cinder's name for the volume",
                  'the LV is activated, now and at each boot',
                  'the data of the LV remains as it is']
    return found
