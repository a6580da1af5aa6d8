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

from osc_volume_adopt import journal
from osc_volume_adopt.api import Manageable
from osc_volume_adopt.api import VolumeApi
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import KEY_IN_METADATA
from osc_volume_adopt.plan import Plan

_LONGEST_PAUSE = 3
_DENIED = (401, 403)
# What a proxy or Cinder answers while something behind it is away.
_AWAY = (502, 503, 504)
# What the API shows of a volume that is being unmanaged; the latter of one
# that was in error.
_LEAVING = ('unmanaging', 'deleting')
_IN_CINDER = (journal.ADOPTED, journal.MANAGING, journal.HANDING_OVER,
              journal.GIVING_BACK)

T = TypeVar('T')

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
    """A run over LVs; so many at once, each waited for so many seconds.

    :ivar timeout: seconds to wait for a volume, and for a network to be back
    :ivar arrival: seconds after which a request that Cinder knows nothing of
        will not arrive any more
    """

    api: VolumeApi
    log: journal.Journal
    report: Report
    parallel: int
    timeout: int
    arrival: float = 20
    stopped: threading.Event = dataclasses.field(
        default_factory=threading.Event)

    def begun(self) -> set[str]:
        """The LVs whose volume Cinder has, finished or not.

        Those whose volume's id was not heard are looked for.
        """
        for source in self.log.sources(journal.ASKED):
            self._look_for(source)
        return set(self.log.sources(journal.MANAGING, journal.HANDING_OVER,
                                    journal.ADOPTED))

    def adopt(self, plan: Plan,
              receivers: Mapping[str, tuple[str, VolumeApi]]) -> Outcome:
        """Adopt all entries that are not adopted already.

        :param receivers: of each project that the plan names, its id and the
            API with a token for it
        """
        entries = {entry.source: entry for entry in plan.volumes
                   if self.log.state(entry.source) != journal.ADOPTED}
        outcome = self._all(entries, lambda source: self._adopt(
            plan, entries[source], receivers))
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
        except journal.JournalError as exc:
            self.stopped.set()
            raise Undecided(str(exc)) from exc
        except (connection_errors.ClientException,
                exceptions.SDKException) as exc:
            if isinstance(exc, (connection_errors.ConnectionError,
                                connection_errors.Unauthorized)):
                self.stopped.set()
            raise Undecided(str(exc)) from exc

    def _adopt(self, plan: Plan, entry: Entry,
               receivers: Mapping[str, tuple[str, VolumeApi]]) -> None:
        source = entry.source
        state = self.log.state(source)
        volume_id = self.log.volume(source)
        if state == journal.FAILED and volume_id:
            # What is left of the last attempt would stay for ever.
            self._clear_away(source, volume_id)
        if state not in (journal.MANAGING, journal.HANDING_OVER):
            volume_id = self._ask(plan, entry)
        volume_id = volume_id or ''
        volume = self._wait(volume_id, 'available', 'awaiting-transfer')
        if volume is None:
            why = f'volume {volume_id} is gone'
            self.log.record(source, journal.FAILED, why=why, volume=None)
            raise Refused(why)
        if volume['status'].startswith('error'):
            why = f"volume {volume_id} came to the status {volume['status']}"
            self.log.record(source, journal.FAILED, why=why)
            self._clear_away(source, volume_id, f'{why}; ')
            raise Refused(why)
        if entry.project:
            self._hand_over(source, volume, *receivers[entry.project])
        self.log.record(source, journal.ADOPTED)

    def _ask(self, plan: Plan, entry: Entry) -> str:
        """Have Cinder manage the LV: the id of the volume."""
        source = entry.source
        self.log.record(source, journal.ASKED, volume=None)
        try:
            volume_id = self.api.manage(
                plan.location, entry.manage_by,
                _fields(plan, entry))
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                self.log.record(source, journal.FAILED, why=_said(exc))
                raise
            found = self._look_for(source)
            if found is None:
                self.log.record(source, journal.FAILED, why=_said(exc))
                raise Refused(_said(exc)) from exc
            return found
        except connection_errors.ClientException as exc:
            found = self._look_for(source)
            if found is None:
                raise Undecided(f'{exc}; no volume came of it') from exc
            return found
        self.log.record(source, journal.MANAGING, volume=volume_id)
        return volume_id

    def _look_for(self, source: str) -> str | None:
        """The volume of a request that was not answered; None if none."""
        marker = _marker(str(self.log.plan_id), source)
        arrived = self.log.since(source) + self.arrival
        while True:
            found = [volume['id'] for volume in self._patiently(
                lambda: self.api.volumes_with(marker))]
            if len(found) > 1:
                raise Undecided('several volumes say that they are of it: '
                                + ', '.join(found))
            if found:
                self.log.record(source, journal.MANAGING, volume=found[0])
                return str(found[0])
            if time.time() >= arrived:
                return None
            self._pause(1)

    def _clear_away(self, source: str, volume_id: str,
                    why: str = '') -> None:
        """Remove what a failed manage has left in Cinder.

        By unmanaging: some drivers delete the data if the volume is deleted.
        """
        try:
            self.api.unmanage(volume_id)
        except exceptions.NotFoundException:
            pass
        except exceptions.BadRequestException as exc:
            raise Refused(f'{why}volume {volume_id} is left, for '
                          f'{_said(exc)}') from exc
        volume = self._wait(volume_id, 'error')
        if volume:
            raise Refused(
                f"{why}volume {volume_id} is left in the status "
                f"{volume['status']}: do not delete it before you know what "
                f'LV it has')
        self.log.record(source, journal.FAILED, volume=None)

    def _hand_over(self, source: str, volume: Mapping[str, Any],
                   project_id: str, receiver: VolumeApi) -> None:
        if volume.get('os-vol-tenant-attr:tenant_id') == project_id:
            return
        self.log.record(source, journal.HANDING_OVER)
        try:
            self.api.transfer(volume['id'], receiver)
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                raise Refused(
                    f"volume {volume['id']} is adopted, but stays in your "
                    f'project: {_said(exc)}') from exc
            raise

    def _give_back(self, source: str) -> None:
        volume_id = self.log.volume(source) or ''
        volume = self._wait(volume_id, 'available', 'awaiting-transfer',
                            *_LEAVING)
        if volume and volume['status'] == 'awaiting-transfer':
            self.api.withdraw(volume_id)
        if volume and volume['status'] not in _LEAVING:
            self.log.record(source, journal.GIVING_BACK)
            self.api.unmanage(volume_id)
        volume = self._wait(volume_id, 'available')
        if volume:
            raise Refused(f"volume {volume_id} has the status "
                          f"{volume['status']}")
        self.log.record(source, journal.GIVEN_BACK)

    def _wait(self, volume_id: str, *statuses: str) -> dict[str, Any] | None:
        """The volume in one of these statuses or in error, or None if gone."""
        deadline = time.monotonic() + self.timeout
        pause = 0.2
        while True:
            volume = self._patiently(lambda: self.api.volume(volume_id))
            if (volume is None or volume['status'] in statuses
                    or volume['status'].startswith('error')):
                return volume
            if time.monotonic() > deadline:
                raise Undecided(f"volume {volume_id} is {volume['status']} "
                                f'after {self.timeout} seconds')
            self._pause(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Its answer, for which a network or a service may have to be back.

        Only for what may be asked twice.
        """
        deadline: float | None = None
        while True:
            try:
                return ask()
            except (connection_errors.ConnectionError,
                    exceptions.HttpException) as exc:
                if (isinstance(exc, exceptions.HttpException)
                        and exc.status_code not in _AWAY):
                    raise
                deadline = deadline or time.monotonic() + self.timeout
                if time.monotonic() >= deadline:
                    raise
            self._pause(_LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise Undecided('the run was stopped')

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


def to_give_back(log: journal.Journal) -> list[str]:
    """The LVs of which Cinder has something."""
    return log.sources(*_IN_CINDER) + [
        source for source in log.sources(journal.FAILED)
        if log.volume(source)]


def keeps_from_undo(api: VolumeApi, log: journal.Journal) -> dict[str, str]:
    """Why LVs cannot be given back now."""
    found = {}
    for source in to_give_back(log):
        volume_id = log.volume(source) or ''
        volume = api.volume(volume_id)
        leaving = log.state(source) == journal.GIVING_BACK
        if volume is None:
            # An undo that was cut off may have come so far.
            if not leaving:
                found[source] = f'volume {volume_id} is gone'
        elif volume['attachments']:
            users = ', '.join(
                each.get('server_id') or each.get('host_name') or 'something'
                for each in volume['attachments'])
            found[source] = f'volume {volume_id} is attached to {users}'
        elif not _may_leave(log.state(source), volume['status']):
            found[source] = f"volume {volume_id} is {volume['status']}"
        elif snapshots := api.snapshots(volume_id):
            names = ', '.join(each['name'] or each['id']
                              for each in snapshots)
            found[source] = f'volume {volume_id} has snapshots: {names}'
    return found


def _may_leave(state: str | None, status: str) -> bool:
    # What a run was doing when it was cut off, Cinder goes on doing.
    return status in ('available', 'error') or (state, status) in (
        (journal.MANAGING, 'creating'),
        (journal.HANDING_OVER, 'awaiting-transfer'),
        *((leaving, status) for leaving in (
            journal.GIVING_BACK, journal.FAILED) if status in _LEAVING))


def _marker(plan_id: str, source: str) -> dict[str, str]:
    return {KEY_IN_METADATA: f'{plan_id}/{source}'}


def _fields(plan: Plan, entry: Entry) -> dict[str, Any]:
    fields = {'name': entry.name, 'volume_type': entry.volume_type,
              'availability_zone': entry.availability_zone}
    return {name: value for name, value in fields.items() if value} | {
        'bootable': entry.bootable,
        'metadata': {**entry.metadata, **_marker(plan.id, entry.source)}}


def _said(exc: exceptions.HttpException) -> str:
    return str(exc.details or exc.message)
