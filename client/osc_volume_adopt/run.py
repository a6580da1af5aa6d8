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

"""Run: works on many LVs at the same time, and reports what becomes of them.

adopt.py and undo.py say what is done with one LV.
"""

from __future__ import annotations

from collections import Counter
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

from osc_volume_adopt import check
from osc_volume_adopt import errors
from osc_volume_adopt import evidence
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.backends import ASK_AGAIN
from osc_volume_adopt.backends import Listings
from osc_volume_adopt.backends import Services
from osc_volume_adopt.errors import OutcomeUnknown
from osc_volume_adopt.errors import VolumeFailed
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.progress import Progress

_LONGEST_PAUSE = 3
# After one of these, no other volume would succeed.
_UNAUTHORIZED = (401, 403)
# Answers of a proxy, or of Cinder, while a service behind it is unavailable,
# or while there are too many requests.
_UNAVAILABLE = (429, 502, 503, 504)
T = TypeVar('T')


class Marked(NamedTuple):
    """Volumes or snapshots that have the property of an LV's plan.

    :ivar at: when all of them were known, by time.monotonic()
    """

    volumes: tuple[evidence.Volume, ...]
    at: float


class _NotStarted(Exception):
    """The run stopped before it processed an LV."""


@dataclasses.dataclass
class Outcome:
    """What became of each LV.

    :ivar unknown: those whose outcome Cinder has not reported
    :ivar left: those that the run did not start, because it stopped
    :ivar stopped: why it stopped; empty if it did not
    """

    done: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, Problem] = dataclasses.field(default_factory=dict)
    unknown: dict[str, Problem] = dataclasses.field(default_factory=dict)
    left: list[str] = dataclasses.field(default_factory=list)
    stopped: str = ''


@dataclasses.dataclass
class Run:
    """A run over many LVs.

    :ivar parallel: how many LVs are processed at the same time
    :ivar timeout: seconds to wait for each volume, and for a network or a
        service to be available again
    :ivar stop_after: start no other volume after so many have failed for the
        same reason; 0 to go on
    :ivar arrival: seconds after which a lost request is assumed not to reach
        Cinder any more
    """

    api: CinderApi
    log: RunJournal
    shown: Progress
    parallel: int
    timeout: int
    stop_after: int = 0
    arrival: float = 20

    def __post_init__(self) -> None:
        self.outcome = Outcome()
        # With the first, no volume is started; with the second, none is
        # waited for either.
        self._ending = threading.Event()
        self._stopped = threading.Event()
        self._listings = Listings(self.api)
        self._services = Services(self.api)
        self._named: set[str] = set()
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()

    def process(self, doing: str, sources: Iterable[str], done: str,
                work: Callable[[str], None]) -> Outcome:
        """Do the work for each LV, and report what becomes of it.

        :param doing: like 'adopting'
        :param done: what is reported of an LV that succeeded
        :raises KeyboardInterrupt: as soon as no request is under way; the
            outcome so far is in self.outcome
        """
        sources = list(sources)
        self.shown.start(doing, len(sources), self.parallel)
        interrupted: KeyboardInterrupt | None = None
        with futures.ThreadPoolExecutor(self.parallel) as pool:
            working = {pool.submit(self._one, work, source): source
                       for source in sources}
            left = set(working)
            while left:
                try:
                    for future in futures.as_completed(left):
                        left.discard(future)
                        self._collect(working[future], future, done)
                except KeyboardInterrupt as exc:
                    if interrupted:
                        raise
                    interrupted = exc
                    self._stop('interrupted')
                    self.shown.say('Interrupted: no other volume is started. '
                                   'Waiting for the answers to the requests '
                                   'under way')
                except BaseException:
                    self._stop('an error occurred')
                    raise
        if interrupted:
            raise interrupted
        return self.outcome

    def _collect(self, source: str, future: futures.Future[None],
                 done: str) -> None:
        outcome = self.outcome
        try:
            future.result()
        except _NotStarted:
            outcome.left.append(source)
        except VolumeFailed as exc:
            self._failed(outcome.failed, 'failed',
                         Problem(str(exc), source, exc.remedy))
        except OutcomeUnknown as exc:
            self._failed(outcome.unknown, 'outcome unknown',
                         Problem(str(exc), source, exc.remedy))
        else:
            outcome.done.append(source)
            self.shown.done(source, done)

    def _failed(self, kind: dict[str, Problem], word: str,
                problem: Problem) -> None:
        equal = [each.source for each in kind.values()
                 if each.text == problem.text]
        kind[problem.source] = problem
        report = (self.shown.failed if kind is self.outcome.failed
                  else self.shown.unknown)
        report(problem.source,
               f'{word}, for the same reason as {equal[0]}' if equal
               else f'{word}: {problem.explained}')

    def _stop(self, why: str) -> None:
        self.outcome.stopped = self.outcome.stopped or why
        self._ending.set()
        self._stopped.set()

    def _one(self, work: Callable[[str], None], source: str) -> None:
        if self._ending.is_set():
            raise _NotStarted
        try:
            self._translated(work, source)
        except errors.OneVolumeError as exc:
            # Here, before this worker starts another volume.
            with self._lock:
                self._failures[str(exc)] += 1
                if (self._failures[str(exc)] == self.stop_after
                        and not self._ending.is_set()):
                    self.outcome.stopped = (f'{self.stop_after} volumes '
                                            'failed for the same reason')
                    self._ending.set()
            raise

    def _translated(self, work: Callable[[str], None], source: str) -> None:
        """Do the work.

        :raises OneVolumeError: whatever the APIs or the journal raise
        """
        try:
            work(source)
        except exceptions.HttpException as exc:
            status = exc.status_code or 0
            if status in _UNAUTHORIZED:
                self._stop('Cinder or Keystone refuses the credentials')
            if 400 <= status < 500:
                raise VolumeFailed(errors.explain(exc)) from exc
            raise OutcomeUnknown(errors.explain(exc)) from exc
        except errors.JournalError as exc:
            self._stop('the journal cannot be written')
            raise OutcomeUnknown(str(exc)) from exc
        except errors.API_ERRORS as exc:
            if isinstance(exc, (connection_errors.ConnectionError,
                                connection_errors.Unauthorized)):
                self._stop('Cinder or Keystone cannot be reached')
            raise OutcomeUnknown(errors.explain(exc)) from exc

    def find(self, what: Subject, lv: Lv, marker: Mapping[str, str],
             ask: Callable[[], Iterable[evidence.Volume]],
             marked: Marked | None = None) -> str | None:
        """Return the ID of what a request whose answer was lost has created.

        :param marker: the metadata of the request
        :param ask: returns all volumes or snapshots with this metadata
        :param marked: an earlier answer to that, if there is one
        """
        arrived = (self.log.since(what.source, what.snapshot) + self.arrival)
        deadline = time.monotonic() + self.timeout
        while True:
            # An answer without volumes may have come before them.
            if not (marked and marked.volumes):
                marked = self.ask_for([(what, ask)])[0]
            found = self._sort_out(what, lv, marked)
            marked = None
            self._name_strangers(found.strangers, marker)
            if len(found.confirmed) > 1:
                ids = ', '.join(each['id'] for each in found.confirmed)
                raise OutcomeUnknown(
                    f'several {what.noun}s may have the LV',
                    f'they are {ids}; find out which one has the LV, and '
                    f'remove the property {next(iter(marker))} from the '
                    'others')
            if found.confirmed:
                return str(found.confirmed[0]['id'])
            if found.pending and time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f'Cinder is still creating a {what.noun} that may get '
                    'the LV', f"it is {found.pending[0]['id']}")
            if not found.pending and time.time() >= arrived:
                return None
            self.shown.wait(what.source, 'a request was not answered')
            self._pause(1)

    def ask_for(self, searches: Iterable[tuple[
            Subject, Callable[[], Iterable[evidence.Volume]]]]
            ) -> list[Marked]:
        """Return the answers to several searches for marked volumes.

        One listing of a backend, made after the last answer, serves all.
        """
        answers = [tuple(self.retrying(what.source, ask))
                   for what, ask in searches]
        now = time.monotonic()
        return [Marked(volumes, now) for volumes in answers]

    def _sort_out(self, what: Subject, lv: Lv, marked: Marked
                  ) -> evidence.Finding:
        listed = (self._listings.snapshots if what.snapshot
                  else self._listings.volumes)
        return self.retrying(what.source, lambda: evidence.sort_out(
            self.api, lv, marked.volumes,
            lambda location: listed(location, marked.at)))

    def _name_strangers(self, volumes: Iterable[evidence.Volume],
                        marker: Mapping[str, str]) -> None:
        for volume in volumes:
            if volume['id'] not in self._named:
                self._named.add(volume['id'])
                self.shown.say(evidence.stranger(volume, marker))

    def remove_failed(self, what: Subject, why: str = '') -> None:
        """Unmanage what a failed manage has left in Cinder.

        Deleting it would, with some drivers, delete the data.
        """
        volume_id = what.id
        try:
            what.unmanage()
        except exceptions.NotFoundException:
            pass
        except exceptions.BadRequestException as exc:
            raise VolumeFailed(
                f'{why}the failed {what.noun} cannot be removed: '
                f'{errors.explain(exc)}', f'see {what.noun} {volume_id}'
                ) from exc
        # Cinder records the error of a manage twice. The second may come after
        # the request, which leads to another status if it fails.
        volume = self.wait(what, f'Cinder is removing the failed {what.noun}',
                           error='error_')
        if volume:
            raise VolumeFailed(
                f'{why}the failed {what.noun} could not be removed: its '
                f"status is {volume['status']}",
                f'do not delete {what.noun} {volume_id} before you know which '
                'LV it has')
        what.record(State.FAILED, volume=None)

    def wait(self, what: Subject, doing: str, *statuses: str,
             error: str = 'error') -> dict[str, Any] | None:
        """Return the volume when it has one of these statuses or failed.

        Return None if it is gone.

        :param doing: what Cinder is doing meanwhile, for people
        :param error: what the status of a volume that failed begins with
        """
        started = time.monotonic()
        pause = 0.2
        while True:
            volume = self.retrying(what.source, what.ask)
            if (volume is None or volume['status'] in statuses
                    or volume['status'].startswith(error)):
                return volume
            waited = time.monotonic() - started
            down = self._services.problem(volume) if waited > ASK_AGAIN else ''
            if waited > self.timeout or (down and self._ending.is_set()):
                raise OutcomeUnknown(
                    down or f'the {what.noun} still has status '
                            f"{volume['status']} after {self.timeout} seconds",
                    f'see {what.noun} {what.id}')
            self.shown.wait(what.source, down or doing)
            self._pause(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def retrying(self, source: str, ask: Callable[[], T]) -> T:
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
                self.shown.wait(source, 'Cinder cannot be reached')
            self._pause(_LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise OutcomeUnknown('the run stopped before it was complete')

    def reasons(self, what: Subject, lv: Lv) -> tuple[str, str]:
        """Return why an LV cannot be managed now, and what to do about it."""
        listed = (self._listings.snapshots if what.snapshot
                  else self._listings.volumes)
        try:
            check.require_service(self.api, lv.location)
            lvs = listed(lv.location)
        except (errors.AdoptionError, *errors.API_ERRORS) as exc:
            return f'the reason is unknown: {errors.explain(exc)}', ''
        found = next((each for each in lvs if (
            each.source_id == lv.uuid if lv.uuid else each.name == lv.name)),
            None)
        if found is None:
            return f'the LV no longer exists on {lv.location}', ''
        return ('; '.join(reason.statement for reason in found.reasons),
                '; '.join(reason.remedy for reason in found.reasons
                          if reason.remedy))


@dataclasses.dataclass(frozen=True)
class Subject:
    """The volume of an LV, or a snapshot of it.

    :ivar snapshot: the name of the snapshot's LV; empty for the volume
    """

    run: Run
    source: str
    snapshot: str = ''

    @property
    def noun(self) -> str:
        """What it is, for people."""
        return 'snapshot' if self.snapshot else 'volume'

    @property
    def state(self) -> State | None:
        """Its state in the journal."""
        return self.run.log.state(self.source, self.snapshot)

    @property
    def id(self) -> str:
        """Its ID; empty if it has none."""
        return self.run.log.volume(self.source, self.snapshot) or ''

    @property
    def lv(self) -> Lv:
        """Its LV, as the journal identifies it."""
        return Lv.from_journal(self.run.log.lv(self.source, self.snapshot))

    def record(self, state: State, **more: Any) -> None:
        """Write its state to the journal."""
        self.run.log.record(self.source, state, self.snapshot, **more)

    def ask(self) -> dict[str, Any] | None:
        """Return it as Cinder has it; None if it is gone."""
        api = self.run.api
        return (api.snapshot if self.snapshot else api.volume)(self.id)

    def unmanage(self) -> None:
        """Have Cinder unmanage it."""
        api = self.run.api
        (api.unmanage_snapshot if self.snapshot else api.unmanage)(self.id)
