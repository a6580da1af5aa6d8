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

"""openstack volume adoption list, show and plan."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import itertools
import logging
import pathlib
from typing import Any
from typing import TypeAlias

from cliff import columns as cliff_columns
from openstack import exceptions
from osc_lib.cli import format_columns
from osc_lib.cli import parseractions
from osc_lib.command import command
from oslo_utils import units

from osc_volume_adopt import check
from osc_volume_adopt import columns
from osc_volume_adopt import csv_file
from osc_volume_adopt import errors
from osc_volume_adopt import problems
from osc_volume_adopt import projects
from osc_volume_adopt import selection
from osc_volume_adopt import snapshots
from osc_volume_adopt import text
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.command import Command
from osc_volume_adopt.command import EXIT_STATUS
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.manageable import Place
from osc_volume_adopt.manageable import Reason
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.snapshots import Snapshot
from osc_volume_adopt.volume_options import ImageProperty
from osc_volume_adopt.volume_options import VolumeOptions

LOG = logging.getLogger(__name__)

_UNAUTHORIZED = (401, 403)

# The snapshots of each LV that has any.
_Snapshots: TypeAlias = Mapping[Place, list[Snapshot]]


class ListAdoption(Command, command.Lister):
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
""" + EXIT_STATUS

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
        listed = list(_listed(self.api, parsed_args)[0])
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


class ShowAdoption(Command, command.ShowOne):
    """Show a logical volume and what managing it would do.

    A name from before the adoption shows the logical volume that had it.
    """

    _epilog: Any = """example::

  openstack volume adoption show --host lab@lvm#lvm data1
""" + EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_location(parser)
        parser.add_argument('lv', metavar='<name-or-uuid>',
                            help='logical volume')
        return parser

    def take_action(self, parsed_args: argparse.Namespace
                    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        word = parsed_args.lv
        lvs = list(_listed(self.api, parsed_args)[0])
        # An LV that has the name now comes before one that had it.
        for lv in [*(lv for lv in lvs if word in (
                       lv.name, lv.source_id, lv.cinder_id,
                       *lv.reference.values())),
                   *(lv for lv in lvs if word == lv.former_name)]:
            shown = _all_of(lv)
            return tuple(shown), tuple(shown.values())
        raise errors.InputError(
            f'{parsed_args.lv} not found on '
            f"{', '.join(map(str, _locations(parsed_args)))}. LVs that are "
            'internal to LVM are not listed.')


class PlanAdoption(Command):
    """Write a plan: a file that says which volumes to create from which LVs.

    LVs that are not safe to manage are left out, with the reasons. Nothing is
    changed in Cinder or LVM.
    """

    _epilog: Any = """examples::

  openstack volume adoption plan --host lab@lvm#lvm --match 'vm-*' \\
      --type thick --name-template 'old-{name}' --output plan.yaml
  openstack volume adoption plan --host lab@lvm#lvm --csv lvs.csv \\
      --output plan.yaml
""" + EXIT_STATUS

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
        parser.add_argument(
            '--snapshots', action='store_true',
            help='plan the snapshots of the logical volumes, too, each as a '
                 'snapshot of its volume')
        parser.add_argument('--output', metavar='<file>', required=True,
                            type=pathlib.Path,
                            help='file to create for the plan')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        lvs: Iterable[Manageable]
        lvs, found_snapshots = _listed(self.api, parsed_args)
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
        wanted: _Snapshots = {}
        if parsed_args.snapshots:
            wanted = {lv.place: found_snapshots[lv.place] for lv in free
                      if lv.safe and lv.place in found_snapshots}
            # A thin snapshot is listed as an LV of its own, too.
            places = {each.lv.place for theirs in wanted.values()
                      for each in theirs if each.can_follow}
            free = [lv for lv in free if lv.place not in places]
        plan = Plan.of(free, VolumeOptions(
            parsed_args.name_template, parsed_args.type,
            parsed_args.availability_zone, parsed_args.project,
            tuple(parsed_args.bootable), tuple(parsed_args.image_property),
            dict(parsed_args.property)), overrides, wanted)
        plan.save(parsed_args.output)
        gib = sum(entry.gib for entry in plan.volumes)
        with_them = sum(len(entry.snapshots) for entry in plan.volumes)
        self.app.stdout.write(
            f"{parsed_args.output}: {text.count(len(plan.volumes), 'volume')} "
            f'to adopt, {gib} GiB; '
            + (text.count(with_them, 'snapshot') + ' with them; '
               if with_them else '')
            + f"{text.count(len(plan.left_out), 'LV')} left out\n")
        if len(free) < len(lvs):
            self.log.warning('Left out because Cinder already manages them: '
                             '%s', text.count(len(lvs) - len(free), 'LV'))
        if plan.bytes_added:
            self.log.warning(
                'Cinder will record %s more than the LVs have, because it '
                'rounds sizes up to whole GiB', text.size(plan.bytes_added))
        self._warn_of_snapshots(plan, free)
        access, found = projects.access(self.api, plan.volumes)
        found += check.problems(self.api, plan.volumes, 1, access)
        if found:
            self.log.warning('%s', '\n'.join(
                [f'{parsed_args.output} cannot be applied yet:',
                 *problems.grouped(found)]))
        return 0

    def _warn_of_snapshots(self, plan: Plan,
                           lvs: Iterable[Manageable]) -> None:
        """Warn of snapshots that the plan leaves unmanaged."""
        planned = {(entry.location, entry.lv_name): {
            each.lv_name for each in entry.snapshots}
            for entry in plan.volumes}
        blocked = [lv.name for lv in lvs if lv.place in planned
                   and set(lv.blocking) - planned[lv.place]]
        if blocked:
            self.log.warning(
                '%s, such as %s, cannot be deleted or migrated by Cinder as '
                'long as it does not manage their snapshots. --snapshots '
                'plans them, too', text.count(len(blocked), 'volume'),
                blocked[0])


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
            ) -> tuple[Iterator[Manageable], _Snapshots]:
    """Return the LVs of all backends that the options name."""
    locations = _locations(parsed)
    for location in locations:
        check.require_pool(api, location)
    found = snapshots.by_origin(itertools.chain.from_iterable(
        _snapshots_of(api, location) for location in locations))
    return snapshots.attached(itertools.chain.from_iterable(
        map(api.manageable, locations)), found), found


def _snapshots_of(api: CinderApi, location: Location) -> list[Snapshot]:
    """Return a backend's snapshots, or none with a warning."""
    try:
        return list(api.manageable_snapshots(location))
    except exceptions.HttpException as exc:
        if exc.status_code in _UNAUTHORIZED:
            raise
        # LVs can be listed and adopted without them.
        LOG.warning('Cannot list the snapshots of %s: %s', location,
                    errors.explain(exc))
        return []


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
        'Former Name': lv.former_name,
        'Boot Partitions': format_columns.ListColumn(
            list(lv.boot_partitions)),
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
    if lv.blocking:
        found.append('Cinder cannot delete or migrate the volume as long as '
                     'it does not manage the snapshots '
                     f"{', '.join(lv.blocking)}")
    return found
