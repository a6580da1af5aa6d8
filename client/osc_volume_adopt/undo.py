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

"""The undo of a run: unmanages each volume, after its snapshots."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from osc_volume_adopt import text
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.errors import VolumeFailed
from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import State
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.run import Outcome
from osc_volume_adopt.run import Run
from osc_volume_adopt.run import Subject

# The statuses of a volume that is being unmanaged: the API shows the second
# one if the volume was in error before.
_BEING_UNMANAGED = ('unmanaging', 'deleting')
# The states in which a run may have requested that.
_MAY_BE_BEING_UNMANAGED = (State.UNMANAGING, State.FAILED)
# The states in which Cinder has a volume, or may have one.
_IN_CINDER = (State.ADOPTED, State.MANAGING, State.TRANSFERRING,
              State.UNMANAGING)


def to_unmanage(record: Record) -> list[str]:
    """Return the LVs that have a volume in Cinder."""
    return record.sources(*_IN_CINDER) + [
        source for source in record.sources(State.FAILED)
        if record.volume(source)]


def snapshots_of(record: Record, source: str) -> list[str]:
    """Return the snapshots that the run has adopted."""
    return [name for name in record.snapshots(source, *_IN_CINDER,
                                              State.FAILED)
            if record.volume(source, name)]


def volumes_of(api: CinderApi, record: Record, sources: Iterable[str]
               ) -> dict[str, dict[str, Any] | None]:
    """Return the volumes of these LVs; None if one is gone."""
    return {source: api.volume(record.volume(source) or '')
            for source in sources}


def problems(api: CinderApi, record: Record,
             volumes: Mapping[str, dict[str, Any] | None]
             ) -> dict[str, Problem]:
    """Return why volumes cannot be unmanaged now, by their LVs."""
    return {source: problem for source, volume in volumes.items()
            if (problem := _problem(api, record, source, volume))}


def _problem(api: CinderApi, record: Record, source: str,
             volume: Mapping[str, Any] | None) -> Problem | None:
    volume_id = record.volume(source) or ''
    state = record.state(source)
    if volume is None:
        # Unless an interrupted undo has come that far.
        return (None if state is State.UNMANAGING else Problem(
            'its volume no longer exists', source, f'its ID was {volume_id}'))
    if volume['attachments']:
        return Problem(
            f'its volume is attached to {_users(volume["attachments"])}',
            source, f'detach volume {volume_id}')
    if not _can_be_unmanaged(state, volume['status']):
        return Problem(f"its volume has status {volume['status']}", source,
                       f'see volume {volume_id}')
    own = {record.volume(source, name)
           for name in snapshots_of(record, source)}
    others = [text.printable(each['name'] or each['id'])
              for each in api.snapshots(volume_id) if each['id'] not in own]
    if others:
        return Problem(
            f"its volume has snapshots: {', '.join(others)}", source,
            f'delete or unmanage the snapshots of volume {volume_id}')
    return None


def _users(attachments: Collection[Mapping[str, Any]]) -> str:
    return ', '.join(
        f"server {each['server_id']}" if each.get('server_id')
        else f"host {text.printable(each.get('host_name') or 'unknown')}"
        for each in attachments)


def _can_be_unmanaged(state: State | None, status: str) -> bool:
    # Cinder completes what an interrupted run had requested.
    return status in ('available', 'error') or (state, status) in (
        (State.MANAGING, 'creating'),
        (State.TRANSFERRING, 'awaiting-transfer'),
        *((unmanaging, status)
          for unmanaging in _MAY_BE_BEING_UNMANAGED
          if status in _BEING_UNMANAGED))


def unmanage(run: Run, sources: Iterable[str]) -> Outcome:
    """Unmanage the volumes of these LVs, and their snapshots."""
    return run.process('unmanaging', sources, 'unmanaged', lambda source:
                       _unmanage(run, source))


def _unmanage(run: Run, source: str) -> None:
    for name in snapshots_of(run.log, source):
        _release(Subject(run, source, name), f'its snapshot {name}')
    _release(Subject(run, source), 'the volume')


def _release(what: Subject, called: str) -> None:
    run = what.run
    found = run.wait(what, 'Cinder is completing the adoption', 'available',
                     'in-use', 'awaiting-transfer', *_BEING_UNMANAGED)
    # What has changed since the check is not of this run.
    if found and found['status'] == 'in-use':
        raise VolumeFailed(f'{called} is in use now',
                           f'detach {what.noun} {what.id}')
    if (not what.snapshot and what.state not in _MAY_BE_BEING_UNMANAGED
            and (not found or found['status'] in _BEING_UNMANAGED)):
        raise VolumeFailed(f'{called} was removed by somebody else',
                           f'its ID was {what.id}')
    if found and found['status'] == 'awaiting-transfer':
        run.api.cancel_transfer(what.id)
    if found and found['status'] not in _BEING_UNMANAGED:
        what.record(State.UNMANAGING)
        what.unmanage()
    found = run.wait(what, f'Cinder is unmanaging the {what.noun}',
                     'available')
    if found:
        raise VolumeFailed(
            f"{called} has status {found['status']} after the request to "
            'unmanage it', f'see the log of cinder-volume for {what.id}')
    what.record(State.UNMANAGED)
