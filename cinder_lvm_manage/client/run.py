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

"""Adopting what a plan says, and giving it back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from concurrent import futures
import dataclasses
import threading
import time
from typing import Any
from typing import NamedTuple

from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions

from cinder_lvm_manage.client import journal
from cinder_lvm_manage.client.api import Manageable
from cinder_lvm_manage.client.api import VolumeApi
from cinder_lvm_manage.client.plan import Entry
from cinder_lvm_manage.client.plan import Plan

# Its value, the plan's id and the LV, finds the volume whose id was not heard.
_METADATA = 'adopted_by_plan'
_LONGEST_PAUSE = 3
_DENIED = (401, 403)

# Called with an LV and what has become of it.
Report = Callable[[str, str], None]


class Outcome(NamedTuple):
    """What a run has come to, by LV.

    :ivar unknown: those of which the answer is yet to come
    """

    done: list[str]
    failed: dict[str, str]
    unknown: dict[str, str]


class Undecided(Exception):
    """Cinder has not said what has become of it; asking again may help."""


class Refused(Exception):
    """Cinder has said no."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run over LVs; so many at once, each waited for so many seconds."""

    api: VolumeApi
    log: journal.Journal
    report: Report
    parallel: int
    timeout: int
    stopped: threading.Event = dataclasses.field(
        default_factory=threading.Event)

    def begun(self, plan: Plan) -> set[str]:
        """The LVs of the plan whose volume Cinder has, finished or not.

        Those whose volume's id was not heard are looked for.
        """
        for source in self.log.sources(journal.ASKED):
            for volume in self.api.volumes_with(_marker(plan, source)):
                if not volume['status'].startswith('error'):
                    self.log.record(source, journal.MANAGING,
                                    volume=volume['id'])
        return set(self.log.sources(journal.MANAGING, journal.ADOPTED))

    def adopt(self, plan: Plan) -> Outcome:
        """Adopt all entries that are not adopted already."""
        entries = {entry.source: entry for entry in plan.volumes
                   if self.log.state(entry.source) != journal.ADOPTED}
        outcome = self._all(entries, lambda source: self._adopt(
            plan, entries[source]))
        if outcome.failed:
            self._explain(plan, outcome.failed)
        return outcome

    def give_back(self, sources: Iterable[str]) -> Outcome:
        """Unmanage the volumes of these LVs."""
        return self._all(sources, self._give_back)

    def _all(self, sources: Iterable[str],
             work: Callable[[str], None]) -> Outcome:
        outcome = Outcome([], {}, {})
        with futures.ThreadPoolExecutor(self.parallel) as pool:
            working = {pool.submit(self._one, work, source): source
                       for source in sources}
            try:
                for future in futures.as_completed(working):
                    source = working[future]
                    try:
                        future.result()
                    except Refused as exc:
                        outcome.failed[source] = str(exc)
                        self.report(source, f'failed: {exc}')
                    except Undecided as exc:
                        outcome.unknown[source] = str(exc)
                        self.report(source, f'not known: {exc}')
                    else:
                        outcome.done.append(source)
                        self.report(source, 'done')
            except BaseException:
                # Ctrl-C: those that wait stop, the others do not begin.
                self.stopped.set()
                raise
        return outcome

    def _one(self, work: Callable[[str], None], source: str) -> None:
        if self.stopped.is_set():
            raise Undecided('the run was stopped before')
        try:
            work(source)
        except exceptions.HttpException as exc:
            status = exc.status_code or 0
            if status in _DENIED:
                # It would be so with all the others.
                self.stopped.set()
            if 400 <= status < 500:
                raise Refused(_said(exc)) from exc
            raise Undecided(_said(exc)) from exc
        except (connection_errors.ClientException,
                exceptions.SDKException) as exc:
            raise Undecided(str(exc)) from exc

    def _adopt(self, plan: Plan, entry: Entry) -> None:
        source = entry.source
        volume_id = (self.log.volume(source)
                     if self.log.state(source) == journal.MANAGING else None)
        if volume_id is None:
            self.log.record(source, journal.ASKED)
            try:
                volume_id = self.api.manage(
                    plan.location, entry.reference, _fields(plan, entry))
            except exceptions.HttpException as exc:
                if 400 <= (exc.status_code or 0) < 500:
                    self.log.record(source, journal.FAILED, why=_said(exc))
                raise
            self.log.record(source, journal.MANAGING, volume=volume_id)
        volume = self._wait(volume_id, 'available', 'awaiting-transfer')
        if volume is None or volume['status'].startswith('error'):
            why = (f"volume {volume_id} has the status {volume['status']}"
                   if volume else f'volume {volume_id} is gone')
            self.log.record(source, journal.FAILED, why=why)
            raise Refused(why)
        if entry.project:
            project_id = self.api.project_id(entry.project)
            if project_id is None:
                raise Refused(f'volume {volume_id} is adopted, but stays in '
                              f'your project: {entry.project} is not there')
            if volume.get('os-vol-tenant-attr:tenant_id') != project_id:
                self.api.transfer(volume_id, project_id)
        self.log.record(source, journal.ADOPTED)

    def _give_back(self, source: str) -> None:
        volume_id = self.log.volume(source) or ''
        self.api.unmanage(volume_id)
        volume = self._wait(volume_id)
        if volume:
            raise Refused(f"volume {volume_id} has the status "
                          f"{volume['status']}")
        self.log.record(source, journal.GIVEN_BACK)

    def _wait(self, volume_id: str, *statuses: str) -> dict[str, Any] | None:
        """The volume in one of these statuses or in error, or None if gone."""
        deadline = time.monotonic() + self.timeout
        pause = 0.2
        while True:
            volume = self.api.volume(volume_id)
            if (volume is None or volume['status'] in statuses
                    or volume['status'].startswith('error')):
                return volume
            if time.monotonic() > deadline:
                raise Undecided(f"volume {volume_id} is {volume['status']} "
                                f'after {self.timeout} seconds')
            if self.stopped.wait(pause):
                raise Undecided('the run was stopped')
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _explain(self, plan: Plan, failed: dict[str, str]) -> None:
        """Add what the listing says to why they failed."""
        try:
            rows: dict[str, Manageable] = {
                row.name: row for row in self.api.manageable(plan.location)}
        except (connection_errors.ClientException,
                exceptions.SDKException) as exc:
            for source in failed:
                failed[source] += f'; and the listing fails: {exc}'
            return
        for entry in plan.volumes:
            row = rows.get(entry.source)
            if entry.source in failed and row and row.reason:
                failed[entry.source] += f'; LV {row.name} {row.reason}'


def keeps_from_undo(api: VolumeApi, log: journal.Journal) -> dict[str, str]:
    """Why adopted LVs cannot be given back now."""
    found = {}
    for source in log.sources(journal.ADOPTED, journal.MANAGING):
        volume_id = log.volume(source) or ''
        volume = api.volume(volume_id)
        if volume is None:
            found[source] = f'volume {volume_id} is gone'
        elif volume['status'] != 'available':
            found[source] = f"volume {volume_id} is {volume['status']}"
        elif api.snapshots(volume_id):
            found[source] = f'volume {volume_id} has snapshots'
    return found


def _marker(plan: Plan, source: str) -> dict[str, str]:
    return {_METADATA: f'{plan.id}/{source}'}


def _fields(plan: Plan, entry: Entry) -> dict[str, Any]:
    fields = {'name': entry.name, 'volume_type': entry.volume_type,
              'availability_zone': entry.availability_zone}
    return {name: value for name, value in fields.items() if value} | {
        'bootable': entry.bootable,
        'metadata': {**entry.metadata, **_marker(plan, entry.source)}}


def _said(exc: exceptions.HttpException) -> str:
    return str(exc.details or exc.message)
