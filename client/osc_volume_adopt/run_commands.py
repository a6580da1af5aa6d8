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

"""openstack volume adoption apply, undo and recover."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import fnmatch
import json
import pathlib
import time
from typing import Any

from osc_volume_adopt import adopt
from osc_volume_adopt import arguments
from osc_volume_adopt import check
from osc_volume_adopt import errors
from osc_volume_adopt import journal
from osc_volume_adopt import problems
from osc_volume_adopt import projects
from osc_volume_adopt import recover
from osc_volume_adopt import text
from osc_volume_adopt import undo
from osc_volume_adopt.command import Command
from osc_volume_adopt.command import EXIT_STATUS
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.progress import Progress
from osc_volume_adopt.run import Run

_INCOMPLETE = 3
_EXIT_STATUS_OF_RUN = """
exit status::

  0    success
  1    an error, described on stderr; no volume was changed by this command
  2    invalid arguments
  3    some volumes are not done; run the command again
  130  interrupted by Ctrl-C; run the command again
"""


class _Command(Command):
    """A command that prints one line of results, or JSON for programs."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '-f', '--format', choices=('text', 'json'), default='text',
            help='format of what is printed on stdout (default: text)')
        return parser

    def _print(self, parsed: argparse.Namespace, line: str,
               **result: Any) -> None:
        """Print the line, or with --format json the result."""
        if parsed.format == 'json':
            line = json.dumps(result, indent=2)
        self.app.stdout.write(f'{line}\n')
        self.app.stdout.flush()

    def _refuse(self, parsed: argparse.Namespace, found: list[Problem],
                *lines: str) -> errors.ChecksFailed:
        """Return what is to be raised; the problems are between the lines."""
        if parsed.format == 'json':
            self._print(parsed, '', problems=_as_json(found))
        first, *others = lines
        return errors.ChecksFailed('\n'.join(
            [first, *problems.grouped(found), *others]))


class _RunCommand(_Command):
    """A command that changes volumes, and can be resumed."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--parallel', metavar='<number>', type=arguments.positive_number,
            default=4,
            help='volumes to process concurrently (default: 4)')
        parser.add_argument(
            '--timeout', metavar='<seconds>', type=arguments.positive_number,
            default=600,
            help='time to wait for each volume (default: 600)')
        parser.add_argument(
            '--stop-after', metavar='<number>', type=arguments.whole_number,
            default=5,
            help='start no other volume after so many have failed for the '
                 'same reason; 0 to go on (default: 5)')
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            return super().run(parsed_args)
        except KeyboardInterrupt:
            self.app.stderr.write(
                'Interrupted. Run the same command to resume.\n')
            raise

    def _run(self, parsed: argparse.Namespace, log: journal.RunJournal,
             shown: Progress) -> Run:
        return Run(self.api, log, shown, parsed.parallel, parsed.timeout,
                   parsed.stop_after)

    def _finish(self, parsed: argparse.Namespace, work: Run, done: str,
                journal: pathlib.Path, started: float,
                interrupt: KeyboardInterrupt | None, **more: int) -> int:
        """Print what became of the volumes; return the exit status.

        :param done: what became of those that succeeded
        :param started: when the command started, by time.monotonic()
        :param interrupt: what has ended the run early, if anything
        :param more: other numbers of the result
        :raises KeyboardInterrupt: the run was interrupted
        """
        log, outcome = work.log, work.outcome
        counts = {done: outcome.done, 'failed': outcome.failed,
                  'outcome unknown': outcome.unknown,
                  'not started': outcome.left}
        earlier = ''.join(f"{name.replace('_', ' ')}: {number}; "
                          for name, number in more.items())
        line = '; '.join(f'{name}: {len(found)}'
                         for name, found in counts.items())
        self._print(
            parsed, f'{earlier}{line}; journal: {journal}',
            **more, **{
                done: [{'lv': source, 'volume': log.volume(source)}
                       for source in outcome.done],
                'failed': _as_json(outcome.failed.values(), log),
                'outcome_unknown': _as_json(outcome.unknown.values(), log),
                'not_started': outcome.left,
                'stopped': outcome.stopped or None,
                'journal': str(journal),
                'seconds': round(time.monotonic() - started, 1)})
        if outcome.failed and done == 'adopted':
            self.app.stderr.write(
                'Cinder may still count volumes that failed against the '
                'quota. `cinder-manage quota sync` corrects that.\n')
        if interrupt:
            raise interrupt
        if not (outcome.failed or outcome.unknown or outcome.left):
            return 0
        if outcome.stopped:
            self.app.stderr.write(f'Stopped: {outcome.stopped}.\n')
        self.app.stderr.write('Run the same command to retry.\n')
        return _INCOMPLETE


class ApplyAdoption(_RunCommand):
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
        arguments.add_plan(parser)
        parser.add_argument('--dry-run', action='store_true',
                            help='only check the plan; write no file')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        started = time.monotonic()
        plan = Plan.load(parsed_args.plan)
        path = journal.path_of(parsed_args.plan)
        if parsed_args.dry_run:
            _, unfinished = self._check(plan, journal.read(path, plan.id),
                                        parsed_args)
            self._print(
                parsed_args,
                f"{text.count(len(unfinished), 'volume')} to adopt; all "
                'checks passed', to_adopt=unfinished, problems=[])
            return 0
        with (journal.RunJournal(path, plan.id) as log,
              Progress(self.app.stderr) as shown):
            shown.say(f'Checking {parsed_args.plan}: '
                      + text.count(len(plan.volumes), 'volume'))
            work = self._run(parsed_args, log, shown)
            if log.sources(State.REQUESTED):
                for location in plan.locations:
                    check.require_service(self.api, location)
            adopt.find_requested(work)
            access, unfinished = self._check(plan, log, parsed_args)
            earlier = len(plan.volumes) - len(unfinished)
            interrupt = _interrupt_of(
                lambda: adopt.adopt(work, plan, access))
        return self._finish(parsed_args, work, 'adopted', path, started,
                            interrupt, adopted_earlier=earlier)

    def _check(self, plan: Plan, record: journal.Record,
               parsed: argparse.Namespace
               ) -> tuple[projects.Projects, list[str]]:
        """Return access to the projects, and the LVs to adopt.

        :raises ChecksFailed: there is a problem
        """
        unfinished = [entry for entry in plan.volumes if record.state(
            entry.source) is not State.ADOPTED]
        for location in {entry.location for entry in unfinished}:
            check.require_service(self.api, location)
        started = adopt.find_started(plan, record, self.api)
        access, found = projects.access(self.api, unfinished)
        found += check.problems(
            self.api, [entry for entry in unfinished
                       if entry.source not in started],
            parsed.parallel, access)
        if found:
            raise self._refuse(parsed, found, f'Cannot apply {parsed.plan}:',
                               _unchanged('adopted', len(started)))
        return access, [entry.source for entry in unfinished]


class UndoAdoption(_RunCommand):
    """Unmanage the volumes that a run has adopted, and their snapshots.

    With cinder_lvm_manage, their logical volumes get their old names again.
    Volumes that cannot be unmanaged now, because they are attached or have
    other snapshots, are listed, and the others are unmanaged. On a terminal,
    the command asks first. It resumes an undo that was interrupted.
    """

    _epilog: Any = """examples::

  openstack volume adoption undo plan.yaml.journal --dry-run
  openstack volume adoption undo plan.yaml.journal --match 'vm-101-*' --yes
""" + _EXIT_STATUS_OF_RUN

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('journal', metavar='<journal>', type=pathlib.Path,
                            help='journal file, as written by apply')
        arguments.add_globs(
            parser, '--match', 'only the volumes of logical volumes with a '
                               'matching name in the plan')
        parser.add_argument(
            '--dry-run', action='store_true',
            help='only show what would be unmanaged, and what prevents it')
        parser.add_argument('--yes', action='store_true',
                            help='do not ask for confirmation')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        started = time.monotonic()
        with (journal.RunJournal(parsed_args.journal) as log,
              Progress(self.app.stderr) as shown):
            work = self._run(parsed_args, log, shown)
            chosen = self._chosen(log, parsed_args)
            shown.say(f'Checking {parsed_args.journal}: '
                      + text.count(len(chosen), 'volume'))
            self._require_services(log, chosen)
            if not parsed_args.dry_run:
                adopt.find_requested(work)
                chosen = self._chosen(log, parsed_args)
            blocked = undo.problems(self.api, log, undo.volumes_of(
                self.api, log, chosen))
            possible = [source for source in chosen if source not in blocked]
            if blocked and not possible:
                earlier = len(log.sources(State.UNMANAGING, State.UNMANAGED))
                raise self._refuse(
                    parsed_args, list(blocked.values()),
                    f'Cannot undo {parsed_args.journal}:',
                    _unchanged('unmanaged', earlier))
            for line in problems.grouped(blocked.values()):
                shown.say(f'cannot be unmanaged now: {line}')
            if parsed_args.dry_run:
                return self._show(parsed_args, log, possible, blocked)
            if not possible:
                shown.say('Nothing to unmanage: all volumes of this journal '
                          'were unmanaged earlier')
            elif not self._is_confirmed(parsed_args, possible):
                shown.say('Nothing was changed')
                return 1
            work.outcome.failed.update(blocked)
            interrupt = _interrupt_of(lambda: undo.unmanage(work, possible))
        return self._finish(parsed_args, work, 'unmanaged',
                            parsed_args.journal, started, interrupt)

    def _chosen(self, log: journal.Record,
                parsed: argparse.Namespace) -> list[str]:
        """Return the LVs to unmanage.

        :raises InputError: none matches
        """
        found = undo.to_unmanage(log)
        if not parsed.match:
            return found
        if not _matching(log.sources(*State), parsed.match):
            raise errors.InputError(
                f'No logical volume of {parsed.journal} matches '
                f"{' or '.join(parsed.match)}.")
        return _matching(found, parsed.match)

    def _require_services(self, log: journal.Record,
                          sources: Iterable[str]) -> None:
        """:raises BackendError: a backend cannot process requests"""
        volumes = undo.volumes_of(self.api, log, sources)
        check.require_services_of(self.api, filter(None, volumes.values()))
        # A volume that was being unmanaged is gone if it is not found, unless
        # this is another cloud, or the user is no administrator. Then this
        # check fails.
        for location in {Lv.from_journal(log.lv(source)).location
                         for source, volume in volumes.items()
                         if not volume and log.lv(source)
                         and log.state(source) is State.UNMANAGING}:
            check.require_service(self.api, location)

    def _is_confirmed(self, parsed: argparse.Namespace,
                      sources: list[str]) -> bool:
        if parsed.yes or not self.app.stdin.isatty():
            return True
        self.app.stderr.write(
            f"Unmanage {text.count(len(sources), 'volume')}, such as that of "
            f'{sources[0]}? Cinder forgets them, and their data remains. '
            '[y/N] ')
        self.app.stderr.flush()
        answer: str = self.app.stdin.readline()
        return answer.strip().lower() in ('y', 'yes')

    def _show(self, parsed: argparse.Namespace, log: journal.Record,
              possible: list[str], blocked: Mapping[str, Problem]) -> int:
        """Print what an undo would do; return the exit status."""
        snapshots = {source: undo.snapshots_of(log, source)
                     for source in possible}
        lines = [f'{source}: volume {log.volume(source)}' + ''.join(
            f', snapshot {name}' for name in snapshots[source])
            for source in possible]
        lines.append(f"{text.count(len(possible), 'volume')} to unmanage; "
                     f'{len(blocked)} cannot be unmanaged now')
        self._print(
            parsed, '\n'.join(lines),
            to_unmanage=[{'lv': source, 'volume': log.volume(source),
                          'snapshots': snapshots[source]}
                         for source in possible],
            problems=_as_json(blocked.values(), log))
        return _INCOMPLETE if blocked else 0


class RecoverAdoption(_Command):
    """Write a lost journal again, from what Cinder and its backends report.

    Apply and undo need the journal of a plan. A volume is recorded if its
    backend lists it as the volume that has the logical volume of the plan, by
    its UUID. Nothing else is changed.
    """

    _epilog: Any = """example::

  openstack volume adoption recover plan.yaml
""" + EXIT_STATUS

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        arguments.add_plan(parser)
        parser.add_argument('--dry-run', action='store_true',
                            help='only show what was found; write no file')
        parser.add_argument(
            '--unmarked', action='store_true',
            help='also record volumes without the property adopted_by_plan, '
                 'which their project can remove; they may have been adopted '
                 'without the plan')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        plan = Plan.load(parsed_args.plan)
        path = journal.path_of(parsed_args.plan)
        for location in plan.locations:
            check.require_service(self.api, location)
        found = recover.find(self.api, plan, parsed_args.unmarked)
        for line in problems.grouped(found.problems):
            self.app.stderr.write(f'{line}\n')
        if not parsed_args.dry_run and found.volumes:
            recover.write(path, plan, found)
        snapshots = sum(len(each.snapshots) for each in found.volumes)
        self._print(
            parsed_args,
            f'recovered: {len(found.volumes)}; snapshots: {snapshots}; not '
            f'adopted: {len(found.left)}; journal: '
            + ('not written' if parsed_args.dry_run or not found.volumes
               else str(path)),
            recovered=[{'lv': each.source, 'volume': each.id,
                        'state': each.state.value,
                        'snapshots': dict(each.snapshots)}
                       for each in found.volumes],
            not_adopted=found.left, problems=_as_json(found.problems))
        return 0


def _interrupt_of(work: Callable[[], object]) -> KeyboardInterrupt | None:
    """Do the work, and return the interrupt that ended it early, if any."""
    try:
        work()
    except KeyboardInterrupt as exc:
        return exc
    return None


def _as_json(found: Iterable[Problem], log: journal.Record | None = None
             ) -> list[dict[str, Any]]:
    return [{'lv': problem.source or None, 'reason': problem.text,
             'remedy': problem.remedy or None,
             **({'volume': log.volume(problem.source)} if log else {})}
            for problem in found]


def _unchanged(done: str, earlier: int) -> str:
    if not earlier:
        return 'Nothing was changed.'
    return (f"This run changed nothing. Earlier runs have {done} "
            f"{text.count(earlier, 'volume')}, or started to.")


def _matching(sources: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Return the LVs whose name matches, with or without their backend."""
    return [source for source in sources if any(
        fnmatch.fnmatchcase(name, glob) for glob in globs
        for name in (source, source.rpartition('/')[2]))]
