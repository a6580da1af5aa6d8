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
import contextlib
import fnmatch
import pathlib
from typing import Any

from cliff import columns
from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions
from osc_lib.cli import parseractions
from osc_lib.command import command
from oslo_utils import units
from rich import console
from rich import progress

from osc_volume_adopt import check
from osc_volume_adopt import journal
from osc_volume_adopt import rows
from osc_volume_adopt import run
from osc_volume_adopt.api import Location
from osc_volume_adopt.api import Manageable
from osc_volume_adopt.api import VolumeApi
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.plan import PlanError

# Exit statuses, beside 0: something is not adopted; nothing was begun.
_INCOMPLETE = 1
_REFUSED = 2
_INTERRUPTED = 130


def _api(app: Any) -> VolumeApi:
    api: VolumeApi = app.client_manager.volume_adoption
    return api


def _add_location(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--host', metavar='<host>',
                       help='the backend, as host@backend#pool')
    group.add_argument('--cluster', metavar='<cluster>',
                       help='the cluster, in place of a host')


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--safe', action='store_const', const=True,
                       help='only those that are safe to manage')
    group.add_argument('--unsafe', dest='safe', action='store_const',
                       const=False, help='only those that are not')
    parser.add_argument('--match', metavar='<glob>', action='append',
                        default=[],
                        help="only those whose name fits, like 'vm-*-disk-?' "
                             '(repeat for more)')
    parser.add_argument('--larger', metavar='<GiB>', type=_size, default=-1,
                        help='only those of more than so many GiB, by their '
                             'bytes where these are told')


def _add_journal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--parallel', metavar='<number>', type=_positive,
                        default=4, help='so many at once (default: 4)')
    parser.add_argument('--timeout', metavar='<seconds>', type=_positive,
                        default=600,
                        help='wait so long for each (default: 600)')


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('has to be 1 or more')
    return number


def _size(text: str) -> float:
    number = float(text)
    if not 0 <= number < float('inf'):
        raise argparse.ArgumentTypeError('has to be 0 or more')
    return number


def _location(parsed: argparse.Namespace) -> Location:
    return Location(parsed.host, parsed.cluster)


def _filtered(there: Iterable[Manageable], parsed: argparse.Namespace
              ) -> Iterator[Manageable]:
    for row in there:
        size = row.gib * units.Gi if row.size is None else row.size
        if (parsed.safe in (None, row.safe)
                and size > parsed.larger * units.Gi
                and (not parsed.match or any(
                    fnmatch.fnmatchcase(row.name, glob)
                    for glob in parsed.match))):
            yield row


class _WithExamples(command.Command):
    """Its help keeps the lines of what it says."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser


class ListAdoption(_WithExamples, command.Lister):
    """List what volumes could be made of, with all reasons against it.

    All pages of it. With this project's driver it tells exact sizes, kinds,
    tags and UUIDs too; with others what they tell.
    """

    _epilog: Any = """examples:
  openstack volume adoption list --host lab@lvm#lvm --safe --larger 10
  openstack volume adoption list --host lab@lvm#lvm --match 'vm-*' \\
      -f csv > lvs.csv
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        _add_filters(parser)
        parser.add_argument(
            '--sort', metavar='<key>[:<direction>]', default='reference:asc',
            help=f"by {', '.join(rows.SORT_KEYS)}, asc or desc; several with "
                 'commas between (default: reference:asc)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        api = _api(self.app)
        listed = rows.in_order(_filtered(
            api.manageable(_location(parsed_args)), parsed_args),
            parsed_args.sort)
        return rows.LISTED, [
            (row.name, row.gib, row.size, row.safe, row.reason, row.layout,
             row.tags, row.source_id) for row in listed]


class ShowAdoption(_WithExamples, command.ShowOne):
    """Tell of one logical volume what it is and what managing it would do."""

    _epilog: Any = """example:
  openstack volume adoption show --host lab@lvm#lvm data1
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        parser.add_argument('lv', metavar='<name or UUID>',
                            help='the logical volume')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        api = _api(self.app)
        for row in api.manageable(_location(parsed_args)):
            if parsed_args.lv in (row.name, row.source_id, row.cinder_id,
                                  *row.reference.values()):
                shown = _explained(row)
                return tuple(shown), tuple(shown.values())
        raise PlanError(f'{_location(parsed_args)} lists no '
                        f'{parsed_args.lv!r}; hidden ones are not listed')


# It has been generic for a short time only.
class _Lines(columns.FormattableColumn):  # type: ignore[type-arg]
    """Several texts: a line each for people, a list for programs."""

    def human_readable(self) -> str:
        return '\n'.join(self._value)

    def machine_readable(self) -> list[str]:
        return list(self._value)


def _explained(row: Manageable) -> dict[str, Any]:
    reasons = [] if row.safe else list(row.reasons)
    return {
        'Name': row.name, 'GiB': row.gib, 'Bytes': row.size,
        'Safe': row.safe,
        'Reasons': _Lines([why for why, _ in reasons]),
        'Remedies': _Lines([remedy for _, remedy in reasons]),
        'Kind': row.layout, 'Tags': row.tags, 'Source ID': row.source_id,
        'Cinder ID': row.cinder_id, 'If Managed': _Lines(_effects(row)),
        **{name.replace('_', ' ').title(): text
           for name, text in sorted(row.more.items())}}


def _effects(row: Manageable) -> list[str]:
    if not row.safe:
        return ['it is refused, and stays as it is']
    found = [f'a volume of {row.gib} GiB is recorded and counted as such']
    if row.size is not None and row.size_managed not in (None, row.size):
        found.append(f'it is extended from {row.size} to {row.size_managed} '
                     'bytes')
    elif row.size is not None and row.size != row.gib * units.Gi:
        found.append(f'it keeps its {row.size} bytes, '
                     f'{row.gib * units.Gi - row.size} less than that')
    if row.is_of_this_driver:
        found += [f'its name {row.name} is written into its tags',
                  "it is renamed to Cinder's name for the volume",
                  'it is active from then on, and after each boot',
                  'what it holds stays as it is']
    return found


class PlanAdoption(_WithExamples):
    """Write a plan: a file that tells which volumes are to be made of what.

    What is not safe to manage is written down too, with the reasons. Nothing
    is changed.
    """

    _epilog: Any = """examples:
  openstack volume adoption plan --host lab@lvm#lvm --match 'vm-*' \\
      --type thick --name-template 'old-{name}' -o plan.yaml
  openstack volume adoption plan --host lab@lvm#lvm --csv lvs.csv -o plan.yaml
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        _add_filters(parser)
        parser.add_argument(
            '--csv', metavar='<file>', type=pathlib.Path,
            help='only those in the file, as list -f csv prints it; its '
                 'columns Volume Name, Type, Project, Availability Zone and '
                 'Bootable, if there, come before the options')
        parser.add_argument('--type', metavar='<volume type>',
                            help="the volumes' type")
        parser.add_argument('--project', metavar='<project>',
                            help='whose they are to be, if not yours')
        parser.add_argument('--availability-zone', metavar='<zone>',
                            help='where they are to be')
        parser.add_argument('--bootable', action='store_true',
                            help='instances may boot from them')
        parser.add_argument(
            '--property', metavar='<key=value>', default={},
            action=parseractions.KeyValueAction,
            help='their metadata (repeat for more)')
        parser.add_argument(
            '--name-template', metavar='<template>', default='{name}',
            help="the volumes' names: {name} and {id} of the logical volume, "
                 'its {gib}, the {number} of the entry (default: {name})')
        parser.add_argument('-o', '--output', metavar='<file>', required=True,
                            type=pathlib.Path, help='the plan, a new file')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        api = _api(self.app)
        location = _location(parsed_args)
        there: Iterable[Manageable] = api.manageable(location)
        chosen = {}
        if parsed_args.csv:
            pairs = rows.matched(rows.read(parsed_args.csv), there)
            there = [each for _, each in pairs]
            chosen = {each.name: row.chosen for row, each in pairs}
        plan = Plan.of(
            location, _filtered(there, parsed_args),
            parsed_args.name_template, chosen,
            volume_type=parsed_args.type, project=parsed_args.project,
            availability_zone=parsed_args.availability_zone,
            bootable=parsed_args.bootable,
            metadata=dict(parsed_args.property))
        plan.save(parsed_args.output)
        gib = sum(entry.gib for entry in plan.volumes)
        self.app.stdout.write(
            f'{parsed_args.output}: {len(plan.volumes)} to be adopted, '
            f'{gib} GiB; {len(plan.left_out)} left out\n')
        if plan.bytes_added:
            self.app.stdout.write(
                f'warning: Cinder will record {plan.bytes_added} bytes more '
                'than they have, for it counts in whole GiB\n')
        receivers, against = check.receivers(api, plan.volumes)
        for fault in [*against, *check.faults(plan, api, plan.volumes, 1,
                                              receivers)]:
            self.app.stdout.write(f'warning: {fault}\n')
        return 0


class _Journaled(_WithExamples):
    """What begins nothing unless all holds, and can go on where it stopped."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        try:
            with _Progress(self.app.stdout) as shown:
                return self._run(_api(self.app), parsed_args, shown)
        except (PlanError, journal.JournalError, exceptions.SDKException,
                connection_errors.ClientException) as exc:
            self.app.stdout.write(f'{exc}\nnothing is begun\n')
            return _REFUSED
        except KeyboardInterrupt:
            self.app.stdout.write('Interrupted: the same command goes on.\n')
            return _INTERRUPTED

    def _run(self, api: VolumeApi, parsed: argparse.Namespace,
             shown: _Progress) -> int:
        raise NotImplementedError


class ApplyAdoption(_Journaled):
    """Adopt what a plan says.

    First all of it is checked, and nothing begun if anything does not hold.
    What was begun and done is written to a journal beside the plan: after
    Ctrl-C, a crash or a lost network the same command goes on, and adopts
    nothing twice. The exit status is 0 if all is adopted, 1 if something is
    not, 2 if nothing was begun, 130 after Ctrl-C.
    """

    _epilog: Any = """examples:
  openstack volume adoption apply plan.yaml --dry-run
  openstack volume adoption apply plan.yaml --parallel 8
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('plan', metavar='<plan>', type=pathlib.Path,
                            help='as plan has written it')
        parser.add_argument('--dry-run', action='store_true',
                            help='check it, and change nothing')
        _add_journal_options(parser)
        return parser

    def _run(self, api: VolumeApi, parsed: argparse.Namespace,
             shown: _Progress) -> int:
        plan = Plan.load(parsed.plan)
        path = parsed.plan.with_name(parsed.plan.name + '.journal')
        if parsed.dry_run and not path.exists():
            return self._check(plan, api, parsed, plan.volumes,
                               plan.volumes)[0]
        with journal.Journal(path, plan.id) as log:
            work = run.Run(api, log, shown.report, parsed.parallel,
                           parsed.timeout)
            begun = work.begun()
            adopted = log.sources(journal.ADOPTED)
            refused, receivers = self._check(
                plan, api, parsed,
                [entry for entry in plan.volumes
                 if entry.source not in begun],
                [entry for entry in plan.volumes
                 if entry.source not in adopted])
            if refused or parsed.dry_run:
                return refused
            earlier = sum(entry.source in adopted for entry in plan.volumes)
            shown.start('adopting', len(plan.volumes) - earlier)
            outcome = work.adopt(plan, receivers)
        shown.stop()
        return self._tell(outcome, earlier, path)

    def _check(self, plan: Plan, api: VolumeApi, parsed: argparse.Namespace,
               new: Collection[Entry], unfinished: Collection[Entry]
               ) -> tuple[int, check.Receivers]:
        receivers, faults = check.receivers(api, unfinished)
        faults += check.faults(plan, api, new, parsed.parallel, receivers)
        for fault in faults:
            self.app.stdout.write(f'{fault}\n')
        self.app.stdout.write(
            f'faults: {len(faults)}; nothing is begun\n' if faults
            else f'{len(unfinished)} to be adopted, and nothing against it\n')
        return _REFUSED if faults else 0, receivers

    def _tell(self, outcome: run.Outcome, earlier: int,
              path: pathlib.Path) -> int:
        for source, why in sorted(outcome.failed.items()):
            self.app.stdout.write(f'failed: {source}: {why}\n')
        for source, why in sorted(outcome.unknown.items()):
            self.app.stdout.write(f'not known: {source}: {why}\n')
        self.app.stdout.write(
            f'adopted: {len(outcome.done)}; before: {earlier}; failed: '
            f'{len(outcome.failed)}; not known: {len(outcome.unknown)}; '
            f'journal: {path}\n')
        if outcome.failed or outcome.unknown:
            self.app.stdout.write('The same command tries again.\n')
        return _INCOMPLETE if outcome.failed or outcome.unknown else 0


class UndoAdoption(_Journaled):
    """Give back what a run has adopted, with the old names.

    Only what its journal tells. First all of it is checked, and nothing begun
    where a volume is in use or has snapshots. The exit status is as apply's.
    """

    _epilog: Any = """example:
  openstack volume adoption undo plan.yaml.journal
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('journal', metavar='<journal>', type=pathlib.Path,
                            help='as apply has written it')
        _add_journal_options(parser)
        return parser

    def _run(self, api: VolumeApi, parsed: argparse.Namespace,
             shown: _Progress) -> int:
        with journal.Journal(parsed.journal) as log:
            work = run.Run(api, log, shown.report, parsed.parallel,
                           parsed.timeout)
            work.begun()
            against = run.keeps_from_undo(api, log)
            for source, why in sorted(against.items()):
                self.app.stdout.write(f'{source}: {why}\n')
            if against:
                self.app.stdout.write(f'cannot be given back: {len(against)}; '
                                      'nothing is begun\n')
                return _REFUSED
            sources = run.to_give_back(log)
            shown.start('giving back', len(sources))
            outcome = work.give_back(sources)
        shown.stop()
        for source, why in sorted((outcome.failed | outcome.unknown).items()):
            self.app.stdout.write(f'not given back: {source}: {why}\n')
        self.app.stdout.write(
            f'given back: {len(outcome.done)}; failed: '
            f'{len(outcome.failed)}; not known: {len(outcome.unknown)}\n')
        return _INCOMPLETE if outcome.failed or outcome.unknown else 0


class _Progress:
    """A bar on a terminal, and a line for each LV where there is none."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout
        self._bar = progress.Progress(
            progress.TextColumn('{task.description}'), progress.BarColumn(),
            progress.MofNCompleteColumn(), progress.TimeRemainingColumn(),
            console=console.Console(file=stdout))
        self._cleanup = contextlib.ExitStack()
        self._count = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """What comes now is no progress."""
        self._cleanup.close()

    def start(self, what: str, total: int) -> None:
        """So many LVs are to be reported."""
        self._total = total
        if self._bar.console.is_terminal:
            self._cleanup.enter_context(self._bar)
            self._task = self._bar.add_task(what, total=total)

    def report(self, source: str, text: str) -> None:
        """One of them."""
        self._count += 1
        if not self._bar.console.is_terminal:
            self._stdout.write(
                f'[{self._count}/{self._total}] {source}: {text}\n')
            self._stdout.flush()
            return
        if text != 'done':
            self._bar.print(f'{source}: {text}', markup=False)
        self._bar.advance(self._task)
