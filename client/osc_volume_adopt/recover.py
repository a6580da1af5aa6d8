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

"""Rebuilds a lost journal from Cinder's volumes and the backends' listings.

The property adopted_by_plan says which volumes to look at. Projects can write
it, so a volume counts only if its backend lists it as the one that has the LV
of the plan, by the LV's UUID; see evidence.py.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import pathlib
from typing import Any

from osc_volume_adopt import evidence
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.errors import JournalError
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.evidence import Volume
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import marker_of
from osc_volume_adopt.plan import METADATA_KEY
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.snapshots import Snapshot


@dataclasses.dataclass(frozen=True)
class Recovered:
    """A volume of the plan.

    :ivar id: the volume's
    :ivar lv: what the journal records of the LV
    :ivar snapshots: IDs of the snapshots that were adopted with it, by the
        names of their LVs
    """

    source: str
    id: str
    state: State
    lv: Mapping[str, str]
    snapshots: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Found:
    """What is known of the LVs of a plan.

    :ivar problems: volumes for a person to look at, which are not recorded
    :ivar left: LVs that were not adopted
    """

    volumes: list[Recovered] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)


def find(api: CinderApi, plan: Plan, unmarked: bool) -> Found:
    """Return the volumes that were adopted with the plan.

    :param unmarked: also count volumes without the plan's property
    """
    return _Search(api, plan, unmarked).find()


def write(path: pathlib.Path, plan: Plan, found: Found) -> None:
    """Write the journal.

    :raises JournalError: there is one
    """
    if path.exists():
        raise JournalError(f'{path} already exists. Move it away, then retry.')
    with RunJournal(path, plan.id) as log:
        for each in found.volumes:
            log.record(each.source, each.state, volume=each.id, lv=each.lv)
            for name, snapshot_id in each.snapshots.items():
                log.record(each.source, State.ADOPTED, name,
                           volume=snapshot_id)


class _Search:

    def __init__(self, api: CinderApi, plan: Plan, unmarked: bool) -> None:
        self._api = api
        self._plan = plan
        self._unmarked = unmarked
        self._own_project = api.own_project()
        self._project_id = functools.cache(api.project_id)
        self._volumes: dict[str, dict[str, Any]] = {
            volume['id']: volume for volume in api.all_volumes()}
        self._marked: dict[str, list[Volume]] = {}
        for volume in self._volumes.values():
            mark = volume['metadata'].get(METADATA_KEY, '')
            self._marked.setdefault(mark, []).append(volume)
        self._listed: dict[Location, dict[str, Manageable]] = {
            location: {lv.source_id: lv for lv in api.manageable(location)
                       if lv.source_id}
            for location in plan.locations}
        self._snapshots: dict[Location, dict[str, Snapshot]] = {
            location: {each.lv.source_id: each
                       for each in api.manageable_snapshots(location)}
            for location in {entry.location for entry in plan.volumes
                             if entry.snapshots}}

    def find(self) -> Found:
        found = Found()
        known: set[str] = set()
        for entry in self._plan.volumes:
            volume = self._volume(entry, found)
            if volume is None:
                found.left.append(entry.source)
            else:
                known.add(volume['id'])
                found.volumes.append(self._recovered(entry, volume))
        # Volumes of LVs that are not in the plan, or no longer.
        prefix = marker_of(self._plan.id, '')[METADATA_KEY]
        planned = {marker_of(self._plan.id, entry.source)[METADATA_KEY]
                   for entry in self._plan.volumes}
        for mark, volumes in self._marked.items():
            if mark.startswith(prefix) and mark not in planned:
                found.problems.extend(
                    Problem(evidence.stranger(volume, {METADATA_KEY: mark}))
                    for volume in volumes if volume['id'] not in known)
        return found

    def _volume(self, entry: Entry, found: Found) -> Volume | None:
        """Return the entry's volume, if one is confirmed."""
        lv = Lv.of(entry)
        marker = marker_of(self._plan.id, entry.source)
        listed = self._listed[entry.location].get(lv.uuid)
        holder = listed.cinder_id if listed else None
        marked = self._marked.get(marker[METADATA_KEY], [])
        finding = evidence.judge(lv, marked, holder, self._own_project)
        found.problems.extend(
            Problem(evidence.stranger(volume, marker))
            for volume in finding.strangers)
        confirmed = finding.confirmed or finding.pending
        if len(confirmed) > 1:
            found.problems.append(Problem(
                'several volumes may have the LV', entry.source,
                ', '.join(each['id'] for each in confirmed)))
            return None
        if confirmed:
            return confirmed[0]
        if holder is None or holder not in self._volumes:
            return None
        if self._unmarked:
            return self._volumes[holder]
        found.problems.append(Problem(
            f'its LV has a volume without the property {METADATA_KEY} of '
            'this plan: it was adopted without the plan, or its project has '
            'removed the property', entry.source,
            f'see volume {holder}; --unmarked records it'))
        return None

    def _recovered(self, entry: Entry, volume: Volume) -> Recovered:
        snapshots = self._snapshots.get(entry.location, {})
        adopted = {
            each.lv_name: found.lv.cinder_id for each in entry.snapshots
            if (found := snapshots.get(each.source_id))
            and found.lv.cinder_id}
        return Recovered(
            entry.source, volume['id'],
            self._state(entry, volume, len(adopted)),
            Lv.of(entry).as_dict, adopted)

    def _state(self, entry: Entry, volume: Volume, snapshots: int) -> State:
        """Return how far the adoption came; apply continues from there."""
        if volume['status'] == 'awaiting-transfer':
            return State.TRANSFERRING
        project = evidence.project_of(volume)
        to_be_transferred = (
            entry.project and project == self._own_project
            and self._project_id(entry.project) not in (None, project))
        if (volume['status'] == 'creating'
                or volume['status'].startswith('error') or to_be_transferred
                or snapshots < len(entry.snapshots)):
            return State.MANAGING
        return State.ADOPTED
