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

"""Run: adopting the volumes of a plan, and unmanaging them again."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent import futures
import dataclasses
import threading
import time
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions

from osc_volume_adopt import errors
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.check import Receivers
from osc_volume_adopt.errors import OutcomeUnknown
from osc_volume_adopt.errors import VolumeFailed
from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import marker_of
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.problems import Problem

_LONGEST_PAUSE = 3
# With these it is pointless to start another volume.
_UNAUTHORIZED = (401, 403)
# Answers of a proxy, or of Cinder, while a service behind it is unavailable.
_UNAVAILABLE = (502, 503, 504)
# The statuses of a volume that is being unmanaged: the API shows the second
# one if the volume was in error before.
_BEING_UNMANAGED = ('unmanaging', 'deleting')

# What is reported of an LV that succeeded.
ADOPTED = 'adopted'
UNMANAGED = 'unmanaged'

T = TypeVar('T')

# Called with an LV and what became of it.
Report = Callable[[str, str], None]


class Outcome(NamedTuple):
    """What became of each LV.

    :ivar unknown: those for which Cinder has not reported it
    """

    done: list[str]
    failed: dict[str, Problem]
    unknown: dict[str, Problem]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run over many LVs.

    :ivar parallel: how many LVs are processed at the same time
    :ivar timeout: seconds to wait for each volume, and for a network or a
        service to be available again
    :ivar arrival: seconds after which a lost request is assumed not to reach
        Cinder any more
    """

    api: CinderApi
    log: RunJournal
    report: Report
    parallel: int
    timeout: int
    arrival: float = 20
    stopped: threading.Event = dataclasses.field(
        default_factory=threading.Event)

    def find_requested(self) -> None:
        """Look for the volumes of requests whose answer was lost."""
        for source in self.log.sources(State.REQUESTED):
            self._look_for(source)

    def adopt(self, plan: Plan, receivers: Receivers) -> Outcome:
        """Adopt all entries that are not adopted yet.

        :param receivers: access to the projects that the plan names
        """
        entries = {entry.source: entry for entry in plan.volumes
                   if self.log.state(entry.source) is not State.ADOPTED}
        outcome = self._process(entries, ADOPTED, lambda source: self._adopt(
            plan, entries[source], receivers))
        if outcome.failed:
            self._explain(plan, outcome.failed)
        return outcome

    def unmanage(self, sources: Iterable[str]) -> Outcome:
        """Unmanage the volumes of these LVs."""
        return self._process(sources, UNMANAGED, self._unmanage)

    def _process(self, sources: Iterable[str], done: str,
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
                    except VolumeFailed as exc:
                        outcome.failed[source] = Problem(
                            str(exc), source, exc.remedy)
                        self.report(source, f'failed: {exc}')
                    except OutcomeUnknown as exc:
                        outcome.unknown[source] = Problem(str(exc), source)
                        self.report(source, f'outcome unknown: {exc}')
                    else:
                        outcome.done.append(source)
                        self.report(source, done)
            except BaseException:
                # Ctrl-C: no worker waits any longer or starts another volume.
                self.stopped.set()
                raise
        return outcome

    def _one(self, work: Callable[[str], None], source: str) -> None:
        if self.stopped.is_set():
            raise OutcomeUnknown('the run stopped before it was processed')
        try:
            work(source)
        except exceptions.HttpException as exc:
            status = exc.status_code or 0
            if status in _UNAUTHORIZED:
                self.stopped.set()
            if 400 <= status < 500:
                raise VolumeFailed(errors.explain(exc)) from exc
            raise OutcomeUnknown(errors.explain(exc)) from exc
        except errors.JournalError as exc:
            self.stopped.set()
            raise OutcomeUnknown(str(exc)) from exc
        except errors.API_ERRORS as exc:
            if isinstance(exc, (connection_errors.ConnectionError,
                                connection_errors.Unauthorized)):
                self.stopped.set()
            raise OutcomeUnknown(errors.explain(exc)) from exc

    def _adopt(self, plan: Plan, entry: Entry, receivers: Receivers) -> None:
        source = entry.source
        state = self.log.state(source)
        volume_id = self.log.volume(source)
        if state is State.FAILED and volume_id:
            # Otherwise the volume of the last attempt would remain.
            self._remove_failed(source, volume_id)
        if state not in (State.MANAGING, State.TRANSFERRING):
            volume_id = self._request(plan, entry)
        volume_id = volume_id or ''
        volume = self._wait(volume_id, 'available', 'awaiting-transfer')
        if volume is None:
            self.log.record(source, State.FAILED, volume=None)
            raise VolumeFailed('the volume was removed by somebody else',
                               f'its ID was {volume_id}')
        if volume['status'].startswith('error'):
            failure = f"Cinder set the volume to status {volume['status']}"
            self.log.record(source, State.FAILED, why=failure)
            self._remove_failed(source, volume_id, f'{failure}; ')
            raise VolumeFailed(failure, 'see the logs of cinder-volume and '
                                        f'cinder-scheduler for {volume_id}')
        if entry.image_properties:
            self._set_image_properties(volume_id, entry.image_properties)
        if entry.project:
            self._transfer(source, volume, *receivers[entry.project])
        self.log.record(source, State.ADOPTED)

    def _request(self, plan: Plan, entry: Entry) -> str:
        """Have Cinder manage the LV; return the ID of the volume."""
        source = entry.source
        self.log.record(source, State.REQUESTED, volume=None)
        try:
            volume_id = self.api.manage(
                entry.location, entry.managed_by, _fields(plan, entry))
        except exceptions.HttpException as exc:
            why = errors.explain(exc)
            if 400 <= (exc.status_code or 0) < 500:
                self.log.record(source, State.FAILED, why=why)
                raise
            found = self._look_for(source)
            if found is None:
                self.log.record(source, State.FAILED, why=why)
                raise VolumeFailed(why) from exc
            return found
        except connection_errors.ClientException as exc:
            found = self._look_for(source)
            if found is None:
                raise OutcomeUnknown(f'{exc}; no volume was created'
                                     ) from exc
            return found
        self.log.record(source, State.MANAGING, volume=volume_id)
        return volume_id

    def _look_for(self, source: str) -> str | None:
        """Return the ID of the volume of a request whose answer was lost."""
        marker = marker_of(str(self.log.plan_id), source)
        arrived = self.log.since(source) + self.arrival
        while True:
            found = [volume['id'] for volume in self._retrying(
                lambda: self.api.volumes_with(marker))]
            if len(found) > 1:
                raise OutcomeUnknown(
                    f'{len(found)} volumes have the metadata {marker}: '
                    f"{', '.join(found)}. Find out which one has the LV, and "
                    'remove the metadata from the others.')
            if found:
                self.log.record(source, State.MANAGING, volume=found[0])
                return str(found[0])
            if time.time() >= arrived:
                return None
            self._pause(1)

    def _remove_failed(self, source: str, volume_id: str,
                       why: str = '') -> None:
        """Unmanage what a failed manage has left in Cinder.

        Deleting it would, with some drivers, delete the data.
        """
        try:
            self.api.unmanage(volume_id)
        except exceptions.NotFoundException:
            pass
        except exceptions.BadRequestException as exc:
            raise VolumeFailed(
                f'{why}the failed volume cannot be removed: '
                f'{errors.explain(exc)}', f'see volume {volume_id}') from exc
        volume = self._wait(volume_id, 'error')
        if volume:
            raise VolumeFailed(
                f'{why}the failed volume could not be removed: its status is '
                f"{volume['status']}",
                f'do not delete volume {volume_id} before you know which LV '
                'it has')
        self.log.record(source, State.FAILED, volume=None)

    def _set_image_properties(self, volume_id: str,
                              properties: Mapping[str, str]) -> None:
        try:
            self.api.set_image_properties(volume_id, properties)
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                raise VolumeFailed(
                    'the volume is adopted, but its image properties could '
                    f'not be set: {errors.explain(exc)}',
                    f'volume {volume_id}') from exc
            raise

    def _transfer(self, source: str, volume: Mapping[str, Any],
                  project_id: str, receiver: CinderApi) -> None:
        if volume.get('os-vol-tenant-attr:tenant_id') == project_id:
            return
        self.log.record(source, State.TRANSFERRING)
        try:
            self.api.transfer(volume['id'], receiver)
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                raise VolumeFailed(
                    'the volume is adopted, but remains in your project: '
                    f'{errors.explain(exc)}', f"volume {volume['id']}"
                    ) from exc
            raise

    def _unmanage(self, source: str) -> None:
        volume_id = self.log.volume(source) or ''
        volume = self._wait(volume_id, 'available', 'awaiting-transfer',
                            *_BEING_UNMANAGED)
        if volume and volume['status'] == 'awaiting-transfer':
            self.api.cancel_transfer(volume_id)
        if volume and volume['status'] not in _BEING_UNMANAGED:
            self.log.record(source, State.UNMANAGING)
            self.api.unmanage(volume_id)
        volume = self._wait(volume_id, 'available')
        if volume:
            raise VolumeFailed(
                f"the volume has status {volume['status']} after the request "
                'to unmanage it',
                f'see the log of cinder-volume for {volume_id}')
        self.log.record(source, State.UNMANAGED)

    def _wait(self, volume_id: str, *statuses: str) -> dict[str, Any] | None:
        """Return the volume when it has one of these statuses or failed.

        Return None if it is gone.
        """
        deadline = time.monotonic() + self.timeout
        pause = 0.2
        while True:
            volume = self._retrying(lambda: self.api.volume(volume_id))
            if (volume is None or volume['status'] in statuses
                    or volume['status'].startswith('error')):
                return volume
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'timed out after {self.timeout} seconds; volume '
                    f"{volume_id} still has status {volume['status']}")
            self._pause(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _retrying(self, ask: Callable[[], T]) -> T:
        """Return the result of a request, repeated while Cinder is away.

        It is repeated up to the timeout, so it must change nothing.
        """
        deadline: float | None = None
        while True:
            try:
                return ask()
            except (connection_errors.ConnectionError,
                    exceptions.HttpException) as exc:
                if (isinstance(exc, exceptions.HttpException)
                        and exc.status_code not in _UNAVAILABLE):
                    raise
                deadline = deadline or time.monotonic() + self.timeout
                if time.monotonic() >= deadline:
                    raise
            self._pause(_LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise OutcomeUnknown('the run stopped before it was complete')

    def _explain(self, plan: Plan, failed: dict[str, Problem]) -> None:
        """Add to these problems the reasons that the listing shows now."""
        entries = {entry.source: entry for entry in plan.volumes
                   if entry.source in failed}
        try:
            lvs = {(lv.location, lv.name): lv for location in {
                       entry.location for entry in entries.values()}
                   for lv in self.api.manageable(location)}
        except (errors.AdoptionError, *errors.API_ERRORS) as exc:
            for source, problem in failed.items():
                failed[source] = dataclasses.replace(
                    problem, text=f'{problem.text}; the reason is unknown, '
                                  f'because listing the LVs failed: '
                                  f'{errors.explain(exc)}')
            return
        for source, problem in failed.items():
            entry = entries[source]
            lv = lvs.get((entry.location, entry.lv_name))
            if lv and lv.reasons:
                failed[source] = dataclasses.replace(
                    problem, text='; '.join([problem.text, *(
                        reason.statement for reason in lv.reasons)]))


def find_started(plan: Plan, record: Record, api: CinderApi) -> set[str]:
    """Return the LVs of a plan that have a volume in Cinder.

    Those whose request was not answered are looked for, once.
    """
    return {entry.source for entry in plan.volumes
            if record.state(entry.source) in (
                State.MANAGING, State.TRANSFERRING, State.ADOPTED)
            or (record.state(entry.source) is State.REQUESTED
                and api.volumes_with(marker_of(plan.id, entry.source)))}


def to_unmanage(record: Record) -> list[str]:
    """Return the LVs that have a volume in Cinder."""
    return record.sources(
        State.ADOPTED, State.MANAGING, State.TRANSFERRING, State.UNMANAGING
        ) + [source for source in record.sources(State.FAILED)
             if record.volume(source)]


def volumes_of(api: CinderApi, record: Record
               ) -> dict[str, dict[str, Any] | None]:
    """Return the volumes that an undo concerns, by LV; None if it is gone."""
    return {source: api.volume(record.volume(source) or '')
            for source in to_unmanage(record)}


def undo_problems(api: CinderApi, record: Record,
                  volumes: Mapping[str, dict[str, Any] | None]
                  ) -> list[Problem]:
    """Return why these volumes cannot be unmanaged now."""
    found = []
    for source, volume in volumes.items():
        volume_id = record.volume(source) or ''
        state = record.state(source)
        if volume is None:
            # Unless an interrupted undo has come that far.
            if state is not State.UNMANAGING:
                found.append(Problem('its volume no longer exists', source,
                                     f'its ID was {volume_id}'))
        elif volume['attachments']:
            found.append(Problem(
                f'its volume is attached to {_users(volume["attachments"])}',
                source, f'detach volume {volume_id}'))
        elif not _can_be_unmanaged(state, volume['status']):
            found.append(Problem(
                f"its volume has status {volume['status']}", source,
                f'see volume {volume_id}'))
        elif snapshots := api.snapshots(volume_id):
            names = ', '.join(each['name'] or each['id']
                              for each in snapshots)
            found.append(Problem(
                f'its volume has snapshots: {names}', source,
                f'delete or unmanage the snapshots of volume {volume_id}'))
    return found


def _users(attachments: Collection[Mapping[str, Any]]) -> str:
    return ', '.join(
        f"server {each['server_id']}" if each.get('server_id')
        else f"host {each.get('host_name') or 'unknown'}"
        for each in attachments)


def _can_be_unmanaged(state: State | None, status: str) -> bool:
    # Cinder completes what an interrupted run had requested.
    return status in ('available', 'error') or (state, status) in (
        (State.MANAGING, 'creating'),
        (State.TRANSFERRING, 'awaiting-transfer'),
        *((unmanaging, status)
          for unmanaging in (State.UNMANAGING, State.FAILED)
          if status in _BEING_UNMANAGED))


def _fields(plan: Plan, entry: Entry) -> dict[str, Any]:
    fields = {'name': entry.name, 'volume_type': entry.volume_type,
              'availability_zone': entry.availability_zone}
    return {name: value for name, value in fields.items() if value} | {
        'bootable': entry.bootable,
        'metadata': {**entry.metadata, **marker_of(plan.id, entry.source)}}
