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

"""What became of each entry of a plan, as the journal and Cinder say."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
from typing import Any

from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan


class Condition(enum.Enum):
    """How far an entry has come."""

    DONE = 'done'
    RUNNING = 'running'
    # A run has started it, and ended before it was complete.
    INTERRUPTED = 'interrupted'
    FAILED = 'failed'
    LEFT = 'left'
    UNDONE = 'undone'


@dataclasses.dataclass(frozen=True)
class EntryStatus:
    """What became of an entry.

    :ivar why: what failed, or what is being done; empty if there is nothing
        to say
    :ivar volume_id: as the journal has it; empty if there is no volume
    :ivar volume: what Cinder's API says of it; None if there is none
    :ivar since: when it reached the condition, in seconds since the epoch; 0
        if it was not started
    """

    entry: Entry
    condition: Condition
    why: str = ''
    volume_id: str = ''
    volume: Mapping[str, Any] | None = None
    since: float = 0


def of(plan: Plan, record: Record, is_running: bool,
       volumes: Mapping[str, Mapping[str, Any]]) -> list[EntryStatus]:
    """Return what became of the entries, in their order.

    :param is_running: whether a run is using the journal now
    :param volumes: Cinder's, by ID
    """
    return [_status(entry, record, is_running, volumes)
            for entry in plan.volumes]


def _status(entry: Entry, record: Record, is_running: bool,
            volumes: Mapping[str, Mapping[str, Any]]) -> EntryStatus:
    state = record.state(entry.source)
    if state is None:
        return EntryStatus(entry, Condition.LEFT)
    volume_id = record.volume(entry.source) or ''
    volume = volumes.get(volume_id)
    condition, why = _condition(state, record.why(entry.source), is_running,
                                volume_id, volume)
    return EntryStatus(entry, condition, why, volume_id, volume,
                       record.since(entry.source))


def _condition(state: State, why: str, is_running: bool, volume_id: str,
               volume: Mapping[str, Any] | None) -> tuple[Condition, str]:
    if state is State.FAILED:
        return Condition.FAILED, why
    if state is State.UNMANAGED:
        return Condition.UNDONE, ''
    # Before that, the volume may still be in any status.
    if state is State.ADOPTED:
        if volume is None:
            return Condition.FAILED, 'the volume no longer exists in Cinder'
        if volume['status'].startswith('error'):
            return (Condition.FAILED,
                    f"the volume has status {volume['status']}")
        return Condition.DONE, ''
    return (Condition.RUNNING if is_running else Condition.INTERRUPTED,
            f'{state.value}, volume {volume_id} has status '
            f"{volume['status']}" if volume else state.value)


def count(statuses: Iterable[EntryStatus], condition: Condition) -> int:
    """Return how many entries are in this condition."""
    return sum(status.condition is condition for status in statuses)
