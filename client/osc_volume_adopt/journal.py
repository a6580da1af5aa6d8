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

"""Journal: what a run has begun and done, in a file that outlives it."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import threading
import time
import types
from typing import Any

# Of an LV: it is asked for before Cinder is, so that an answer that never came
# is looked for; the volume is known from managing on. A failed one has a
# volume as long as Cinder has something left of it.
ASKED = 'asked'
MANAGING = 'managing'
HANDING_OVER = 'handing over'
ADOPTED = 'adopted'
FAILED = 'failed'
GIVING_BACK = 'giving back'
GIVEN_BACK = 'given back'


class JournalError(Exception):
    """The journal cannot be used."""


class Journal:
    """A context manager: within it, no other run has the file.

    One JSON object a line: plan in the first; source, state, at (seconds since
    the epoch) and more in the others. The last one about an LV counts.

    :ivar plan_id: whose journal it is
    """

    def __init__(self, path: pathlib.Path, plan_id: str | None = None) -> None:
        """Describe the journal.

        :param plan_id: of the plan whose journal it is, or is to be; None for
            one that is there
        """
        self._path = path
        self.plan_id = plan_id
        self._lock = threading.Lock()
        self._states: dict[str, dict[str, Any]] = {}
        self._new = False

    def __enter__(self) -> Journal:
        """:raises JournalError: it is missing, in use, or of another plan"""
        try:
            self._file = self._path.open('a+' if self.plan_id else 'r+')
        except OSError as exc:
            raise JournalError(f'the journal cannot be opened: {exc}') from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._refuse_if_removed()
            self._read()
        except BlockingIOError as exc:
            self._file.close()
            raise JournalError(f'{self._path} is in use by another run'
                               ) from exc
        except (ValueError, KeyError, TypeError) as exc:
            self._file.close()
            raise JournalError(f'{self._path} is no journal: {exc!r}') from exc
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 value: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        # A run that began nothing leaves nothing.
        if self._new:
            self._path.unlink()
        self._file.close()

    def _refuse_if_removed(self) -> None:
        """Whoever had the file before may have removed it at last."""
        try:
            there = self._path.stat()
        except FileNotFoundError as exc:
            raise BlockingIOError from exc
        if not os.path.samestat(os.fstat(self._file.fileno()), there):
            raise BlockingIOError

    def record(self, source: str, state: str, **more: Any) -> None:
        """Write down a state; it is on the disk when this returns."""
        line = {'source': source, 'state': state, 'at': time.time(), **more}
        with self._lock:
            if self._new:
                self._write({'plan': self.plan_id})
                _sync_folder(self._path)
                self._new = False
            self._write(line)
            self._states[source] = self._states.get(source, {}) | line

    def state(self, source: str) -> str | None:
        """The last state of an LV; None if it was not begun."""
        state: str | None = self._states.get(source, {}).get('state')
        return state

    def volume(self, source: str) -> str | None:
        """The id of the volume that the LV is, or was, to be."""
        volume: str | None = self._states.get(source, {}).get('volume')
        return volume

    def since(self, source: str) -> float:
        """When the LV came to its state, in seconds since the epoch."""
        at: float = self._states[source].get('at', 0.0)
        return at

    def sources(self, *states: str) -> list[str]:
        """The LVs that are in one of these states."""
        return [source for source, last in self._states.items()
                if last['state'] in states]

    def _read(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        # A line that was cut off was not on the disk when it mattered.
        whole = text[:text.rfind('\n') + 1]
        first = {'plan': self.plan_id}
        if not whole and self.plan_id and json.dumps(first).startswith(text):
            self._file.truncate(0)
            self._new = True
            return
        head, *lines = [json.loads(line) for line in whole.splitlines()]
        if self.plan_id not in (None, head['plan']):
            raise JournalError(f'{self._path} is the journal of another plan, '
                               f"{head['plan']}")
        self.plan_id = head['plan']
        for line in lines:
            self._states[line['source']] = self._states.get(
                line['source'], {}) | line
        self._file.truncate(len(whole.encode()))
        self._file.seek(0, os.SEEK_END)

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + '\n')
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise JournalError(f'{self._path} cannot be written: {exc}'
                               ) from exc


def _sync_folder(path: pathlib.Path) -> None:
    """A new file's name is on the disk, too, when this returns."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
