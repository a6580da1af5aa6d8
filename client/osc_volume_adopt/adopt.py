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

"""The adoption of one LV: manage it, then its snapshots, then transfer it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions

from osc_volume_adopt import errors
from osc_volume_adopt import evidence
from osc_volume_adopt import projects
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.errors import OutcomeUnknown
from osc_volume_adopt.errors import VolumeFailed
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import marker_of
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.plan import SnapshotEntry
from osc_volume_adopt.projects import Projects
from osc_volume_adopt.run import Marked
from osc_volume_adopt.run import Outcome
from osc_volume_adopt.run import Run
from osc_volume_adopt.run import Subject

# The statuses of a volume whose manage failed; the last one if deleting it
# failed too. A volume that was managed can get into other errors later.
_FAILED_TO_MANAGE = ('error', 'error_managing', 'error_managing_deleting')


def adopt(run: Run, plan: Plan, access: Projects) -> Outcome:
    """Adopt all entries that are not adopted yet.

    :param access: to the projects that the plan names
    """
    entries = {entry.source: entry for entry in plan.volumes
               if run.log.state(entry.source) is not State.ADOPTED}
    return run.process('adopting', entries, 'adopted', lambda source:
                       _Adoption(run, plan, entries[source], access).run())


def find_requested(run: Run) -> None:
    """Look for the volumes and snapshots of requests without an answer."""
    subjects = [
        *(Subject(run, source)
          for source in run.log.sources(State.REQUESTED)),
        *(Subject(run, source, snapshot)
          for source in run.log.sources(*State)
          for snapshot in run.log.snapshots(source, State.REQUESTED))]
    if subjects:
        run.shown.say('Looking for what was created by requests without an '
                      f'answer: {len(subjects)}')
    marked = run.ask_for((subject, functools.partial(_marked, subject))
                         for subject in subjects)
    for subject, theirs in zip(subjects, marked, strict=True):
        _look_for(subject, subject.lv, theirs)


def _marker_of(what: Subject) -> dict[str, str]:
    return marker_of(str(what.run.log.plan_id), what.snapshot or what.source)


def _marked(what: Subject) -> list[dict[str, Any]]:
    """Return the volumes or snapshots that are marked as what it is."""
    api, marker = what.run.api, _marker_of(what)
    if not what.snapshot:
        return api.volumes_with(marker)
    volume_id = what.run.log.volume(what.source) or ''
    return [each for each in api.snapshots(volume_id)
            if marker.items() <= each['metadata'].items()]


def _look_for(what: Subject, lv: Lv, marked: Marked | None = None
              ) -> str | None:
    """Return the ID of what a request whose answer was lost has created.

    :param marked: what _marked() has returned for it, if it was called
    """
    found = what.run.find(what, lv, _marker_of(what), lambda: _marked(what),
                          marked)
    if found:
        what.record(State.MANAGING, volume=found)
    return found


def find_started(plan: Plan, record: Record, api: CinderApi) -> set[str]:
    """Return the LVs of a plan that have a volume in Cinder.

    Those whose request was not answered are looked for, once.
    """
    requested = [(entry, api.volumes_with(marker_of(plan.id, entry.source)))
                 for entry in plan.volumes
                 if record.state(entry.source) is State.REQUESTED]
    # One listing of a backend, made after these answers, serves all.
    listed = functools.cache(lambda location: tuple(api.manageable(location)))
    found = {entry.source: evidence.sort_out(api, Lv.of(entry), marked, listed)
             for entry, marked in requested}
    return {entry.source for entry in plan.volumes
            if record.state(entry.source) in (
                State.MANAGING, State.TRANSFERRING, State.ADOPTED)
            or (record.state(entry.source) is State.UNMANAGING
                and api.volume(record.volume(entry.source) or ''))
            or (entry.source in found
                and (found[entry.source].confirmed
                     or found[entry.source].pending))}


@dataclasses.dataclass(frozen=True)
class _Adoption:
    """What is done with one entry, from where the journal says it is."""

    work: Run
    plan: Plan
    entry: Entry
    access: Projects

    def run(self) -> None:
        """Adopt the LV of the entry.

        :raises OneVolumeError, openstack.exceptions.SDKException,
            keystoneauth1.exceptions.ClientException: it is not adopted
        """
        volume = Subject(self.work, self.entry.source)
        found = self._managed(volume, Lv.of(self.entry), self._request)
        for snapshot in self.entry.snapshots:
            self._adopt_snapshot(found, snapshot)
        if self.entry.image_properties:
            self._set_image_properties(found)
        self._transfer(volume, found)
        volume.record(State.ADOPTED)

    def _managed(self, what: Subject, lv: Lv,
                 request: Callable[[], None]) -> dict[str, Any]:
        """Return the volume or snapshot, when Cinder has managed its LV.

        :param request: has Cinder manage the LV
        """
        if what.state is State.FAILED and what.id:
            # Otherwise the volume of the last attempt would remain.
            self.work.remove_failed(what)
        if what.state is State.UNMANAGING and self.work.wait(
                what, f'Cinder is unmanaging the {what.noun}', 'available',
                'in-use'):
            # An undo was interrupted before its request was sent.
            what.record(State.MANAGING)
        if what.state not in (State.MANAGING, State.TRANSFERRING):
            request()
        found = self.work.wait(what, 'Cinder is managing the LV', 'available',
                               'in-use', 'awaiting-transfer')
        if found is None:
            volume_id = what.id
            what.record(State.FAILED, volume=None)
            raise VolumeFailed(f'the {what.noun} was removed by somebody else',
                               f'its ID was {volume_id}')
        if found['status'].startswith('error'):
            if (what.state is State.TRANSFERRING
                    or found['status'] not in _FAILED_TO_MANAGE):
                raise VolumeFailed(
                    f'the {what.noun} was managed, but has status '
                    f"{found['status']} now", f'see {what.noun} {what.id}')
            self._fail(what, lv)
        return found

    def _fail(self, what: Subject, lv: Lv) -> None:
        """Remove what a failed manage has left, and say why it failed."""
        volume_id = what.id
        failure = (f'Cinder could not manage its snapshot {what.snapshot}'
                   if what.snapshot else 'Cinder could not manage the LV')
        what.record(State.FAILED, why=failure)
        self.work.remove_failed(what, f'{failure}; ')
        reasons, remedy = self.work.reasons(what, lv)
        logs = ('see the logs of cinder-volume and cinder-scheduler for '
                f'{what.noun} {volume_id}')
        text = (f'{failure}: {reasons}' if reasons else
                f'{failure}, although its listing has no reason against it')
        what.record(State.FAILED, why=text)
        raise VolumeFailed(text, remedy or logs)

    def _request(self) -> None:
        """Have Cinder manage the LV, in its project if that is allowed."""
        entry = self.entry
        what = Subject(self.work, entry.source)
        lv = Lv.of(entry)
        what.record(State.REQUESTED, volume=None, lv=lv.as_dict)
        access = projects.direct(entry, self.access)
        if access:
            try:
                self._send(what, lv, lambda: access.api.manage(
                    entry.location, entry.managed_by, self._fields))
            except exceptions.ForbiddenException:
                # Cinder's policies differ from their defaults.
                what.record(State.REQUESTED)
            else:
                return
        self._send(what, lv, lambda: self.work.api.manage(
            entry.location, entry.managed_by, self._fields))

    def _send(self, what: Subject, lv: Lv, manage: Callable[[], str]) -> None:
        """Send a request, and record what it has created.

        :raises HttpException: Cinder refuses it
        """
        try:
            created = manage()
        except exceptions.HttpException as exc:
            why = errors.explain(exc)
            if 400 <= (exc.status_code or 0) < 500:
                what.record(State.FAILED, why=why)
                raise
            if _look_for(what, lv) is None:
                what.record(State.FAILED, why=why)
                raise VolumeFailed(why) from exc
        except connection_errors.ClientException as exc:
            if _look_for(what, lv) is None:
                raise OutcomeUnknown(
                    f'{exc}; no {what.noun} was created') from exc
        else:
            what.record(State.MANAGING, volume=created)

    def _adopt_snapshot(self, volume: Mapping[str, Any],
                        snapshot: SnapshotEntry) -> None:
        what = Subject(self.work, self.entry.source, snapshot.lv_name)
        # It is gone if somebody has unmanaged the volume.
        if what.state is State.ADOPTED and what.ask():
            return
        lv = Lv.of_snapshot(self.entry, snapshot)

        def request() -> None:
            what.record(State.REQUESTED, volume=None, lv=lv.as_dict)
            self._send(what, lv, lambda: self._api_of(volume).manage_snapshot(
                volume['id'], snapshot.managed_by, {
                    'name': snapshot.name,
                    'metadata': marker_of(self.plan.id, snapshot.lv_name)}))
        self._managed(what, lv, request)
        what.record(State.ADOPTED)

    def _api_of(self, volume: Mapping[str, Any]) -> CinderApi:
        """Return the API with a token for the volume's project.

        A snapshot gets into the project of the token.
        """
        access = self.access.get(self.entry.project or '')
        return (access.api if access
                and access.id == evidence.project_of(volume)
                else self.work.api)

    def _set_image_properties(self, volume: Mapping[str, Any]) -> None:
        try:
            self.work.api.set_image_properties(volume['id'],
                                               self.entry.image_properties)
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                raise VolumeFailed(
                    'the volume is adopted, but its image properties could '
                    f'not be set: {errors.explain(exc)}',
                    f"volume {volume['id']}") from exc
            raise

    def _transfer(self, what: Subject, volume: Mapping[str, Any]) -> None:
        access = self.access.get(self.entry.project or '')
        own = self.work.api.own_project()
        # A volume that has left it was transferred, although the answer was
        # lost; its project may have given it to another one since.
        if (access is None or access.id == own
                or evidence.project_of(volume) not in ('', own)):
            return
        what.record(State.TRANSFERRING)
        try:
            self.work.api.transfer(volume['id'], access.api)
        except exceptions.HttpException as exc:
            if 400 <= (exc.status_code or 0) < 500:
                raise VolumeFailed(
                    'the volume is adopted, but remains in your project: '
                    f'{errors.explain(exc)}', f"volume {volume['id']}"
                    ) from exc
            raise

    @property
    def _fields(self) -> dict[str, Any]:
        entry = self.entry
        fields = {'name': entry.name, 'volume_type': entry.volume_type,
                  'availability_zone': entry.availability_zone}
        return {name: value for name, value in fields.items() if value} | {
            'bootable': entry.bootable,
            'metadata': {**entry.metadata,
                         **marker_of(self.plan.id, entry.source)}}
