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

"""RunJournal: what a run has started and completed, in a file beside the plan.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
import pathlib
import threading
import time
import types
from typing import Any
from typing import TextIO

from osc_volume_adopt.errors import JournalError


class State(enum.Enum):
    """How far the adoption of an LV, or its undo, has come."""

    # Recorded before the request to Cinder is sent: if the answer is lost,
    # the volume can be looked for.
    REQUESTED = 'requested'
    # From here on, the volume is known.
    MANAGING = 'managing'
    TRANSFERRING = 'transferring'
    ADOPTED = 'adopted'
    # It has a volume until the failed one is removed from Cinder.
    FAILED = 'failed'
    UNMANAGING = 'unmanaging'
    UNMANAGED = 'unmanaged'


class Record:
    """The content of a journal, as far as it has been read or written.

    Each method is about the volume of an LV, or about one of its snapshots.
    LVs are named as in the plan, snapshots by the name of their own LV.

    :ivar plan_id: the plan's ID
    """

    def __init__(self, plan_id: str | None) -> None:
        self.plan_id = plan_id
        self._last: dict[tuple[str, str], dict[str, Any]] = {}

    def state(self, source: str, snapshot: str = '') -> State | None:
        """Return the last state; None if it was never requested."""
        last = self._last.get((source, snapshot))
        return State(last['state']) if last else None

    def volume(self, source: str, snapshot: str = '') -> str | None:
        """Return the ID of the volume or snapshot, if there is one."""
        found: str | None = self._last.get((source, snapshot), {}).get(
            'volume')
        return found

    def since(self, source: str, snapshot: str = '') -> float:
        """Return when it reached its state, in seconds since the epoch."""
        at: float = self._last[source, snapshot].get('at', 0.0)
        return at

    def lv(self, source: str, snapshot: str = '') -> dict[str, Any]:
        """Return what identifies the LV, as recorded; empty if it is not."""
        found: dict[str, Any] = self._last.get((source, snapshot), {}).get(
            'lv', {})
        return found

    def why(self, source: str) -> str:
        """Return why the LV's last attempt failed, if it did."""
        why: str = self._last.get((source, ''), {}).get('why', '')
        return why

    def sources(self, *states: State) -> list[str]:
        """Return the LVs whose volumes are in one of these states."""
        return [source for (source, snapshot), last in self._last.items()
                if not snapshot and State(last['state']) in states]

    def snapshots(self, source: str, *states: State) -> list[str]:
        """Return the LV's snapshots that are in one of these states."""
        return [snapshot for (of, snapshot), last in self._last.items()
                if snapshot and of == source
                and State(last['state']) in states]

    def _add(self, line: dict[str, Any]) -> None:
        State(line['state'])
        of = line['source'], line.get('snapshot', '')
        self._last[of] = self._last.get(of, {}) | line

    def _parse(self, text: str, path: pathlib.Path) -> str:
        """Take over the complete lines of a journal, and return them.

        :raises JournalError: it is the journal of another plan
        """
        # A step begins after its line is on the disk, so no step belongs to
        # a line that was cut off.
        complete = text[:text.rfind('\n') + 1]
        if not complete and self.plan_id and (
                _first_line(self.plan_id).startswith(text)):
            return ''
        head, *lines = [json.loads(line) for line in complete.splitlines()]
        if self.plan_id not in (None, head['plan']):
            raise JournalError(
                f'{path} is the journal of another plan, {head["plan"]}. Move '
                'it away, or apply the plan that it belongs to.')
        self.plan_id = head['plan']
        for line in lines:
            self._add(line)
        return complete


class RunJournal(Record):
    """A journal that can be written to; a context manager.

    Within it, no other run can use the file. The file has one JSON object a
    line: the plan's ID in the first one; source, state, at (seconds since the
    epoch) and more in the others, and snapshot if the line is about one. The
    last line about a volume or snapshot counts.
    """

    def __init__(self, path: pathlib.Path, plan_id: str | None = None) -> None:
        """Describe the journal.

        :param plan_id: ID of the plan; None for a journal that must exist
        """
        super().__init__(plan_id)
        self._path = path
        self._lock = threading.Lock()
        self._empty = False

    def __enter__(self) -> RunJournal:
        """:raises JournalError: it is missing, in use, or of another plan"""
        try:
            # Without newline='', the size below would not be that of a file
            # with the line ends of Windows, whose last lines would be lost.
            self._file = self._path.open('a+' if self.plan_id else 'r+',
                                         encoding='utf-8', newline='')
        except OSError as exc:
            raise JournalError(f'Cannot open the journal: {exc}') from exc
        try:
            _lock(self._file, self._path, fcntl.LOCK_EX)
            complete = _read(self, self._file, self._path)
            self._file.truncate(len(complete.encode()))
            self._file.seek(0, os.SEEK_END)
            self._empty = not complete
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 value: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        # A run that started nothing leaves no file.
        if self._empty:
            self._path.unlink()
        # If the disk is full, it fails to write again what record() reported,
        # and closes the file.
        with contextlib.suppress(OSError):
            self._file.close()

    def record(self, source: str, state: State, snapshot: str = '',
               **more: Any) -> None:
        """Write a state; when this returns, it is on the disk."""
        line = {'source': source,
                **({'snapshot': snapshot} if snapshot else {}),
                'state': state.value, 'at': time.time(), **more}
        with self._lock:
            if self._empty:
                self._write(_first_line(self.plan_id or ''))
                _sync_folder(self._path)
                self._empty = False
            self._write(json.dumps(line))
            self._add(line)

    def _write(self, line: str) -> None:
        try:
            self._file.write(line + '\n')
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise JournalError(f'Cannot write to the journal {self._path}: '
                               f'{exc}') from exc


def path_of(plan: pathlib.Path) -> pathlib.Path:
    """Return the path of the journal of a plan, which is beside it."""
    return plan.with_name(f'{plan.name}.journal')


def read(path: pathlib.Path, plan_id: str) -> Record:
    """Return what a plan's journal says, and write nothing.

    :raises JournalError: it is in use, or of another plan
    """
    record = Record(plan_id)
    try:
        with path.open(encoding='utf-8') as file:
            _lock(file, path, fcntl.LOCK_SH)
            _read(record, file, path)
    except FileNotFoundError:
        return record
    except OSError as exc:
        raise JournalError(f'Cannot open the journal: {exc}') from exc
    return record


def peek(path: pathlib.Path, plan_id: str) -> tuple[Record, bool]:
    """Return what a plan's journal says now, and whether a run uses it.

    :raises JournalError: it is of another plan, or cannot be read
    """
    record = Record(plan_id)
    try:
        with path.open(encoding='utf-8') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                is_running = True
            else:
                is_running = False
            _read(record, file, path)
    except FileNotFoundError:
        return record, False
    except OSError as exc:
        raise JournalError(f'Cannot open the journal: {exc}') from exc
    return record, is_running


def _lock(file: TextIO, path: pathlib.Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        # The run that had the file may have removed it in the end.
        is_current = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_current = False
    if not is_current:
        raise JournalError(f'{path} is in use by another run. Wait until it '
                           'is complete, then retry.')


def _read(record: Record, file: TextIO, path: pathlib.Path) -> str:
    file.seek(0)
    try:
        return record._parse(file.read(), path)
    except (ValueError, KeyError, TypeError) as exc:
        raise JournalError(f'{path} is not a journal: {exc!r}') from exc


def _first_line(plan_id: str) -> str:
    return json.dumps({'plan': plan_id})


def _sync_folder(path: pathlib.Path) -> None:
    """Ensure that a new file's name is on the disk, too."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
