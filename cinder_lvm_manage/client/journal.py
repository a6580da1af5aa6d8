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
import types
from typing import Any

# Of an LV: it is asked for before Cinder is, so that an answer that never came
# is looked for; the volume is known from managing on.
ASKED = 'asked'
MANAGING = 'managing'
ADOPTED = 'adopted'
FAILED = 'failed'
GIVEN_BACK = 'given back'


class JournalError(Exception):
    """The journal cannot be used."""


class Journal:
    """A context manager: within it, no other run has the file.

    One JSON object a line: plan in the first; source, state and more in the
    others. The last one about an LV counts.
    """

    def __init__(self, path: pathlib.Path, plan_id: str | None = None) -> None:
        """Describe the journal.

        :param plan_id: of the plan whose journal it is, or is to be; None for
            one that is there
        """
        self._path = path
        self._plan_id = plan_id
        self._lock = threading.Lock()
        self._states: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Journal:
        """:raises JournalError: it is missing, in use, or of another plan"""
        try:
            self._file = self._path.open('a+' if self._plan_id else 'r+')
        except OSError as exc:
            raise JournalError(f'the journal cannot be opened: {exc}') from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        self._file.close()

    def record(self, source: str, state: str, **more: Any) -> None:
        """Write down a state; it is on the disk when this returns."""
        with self._lock:
            self._states[source] = self._states.get(source, {}) | {
                'state': state, **more}
            self._write({'source': source, 'state': state, **more})

    def state(self, source: str) -> str | None:
        """The last state of an LV; None if it was not begun."""
        state: str | None = self._states.get(source, {}).get('state')
        return state

    def volume(self, source: str) -> str | None:
        """The id of the volume that the LV is, or was, to be."""
        volume: str | None = self._states.get(source, {}).get('volume')
        return volume

    def sources(self, *states: str) -> list[str]:
        """The LVs that are in one of these states."""
        return [source for source, last in self._states.items()
                if last['state'] in states]

    def _read(self) -> None:
        self._file.seek(0)
        text = self._file.read()
        if not text and self._plan_id:
            self._write({'plan': self._plan_id})
            return
        # A line that was cut off was not on the disk when it mattered.
        whole = text[:text.rfind('\n') + 1]
        head, *lines = [json.loads(line) for line in whole.splitlines()]
        if self._plan_id not in (None, head['plan']):
            raise JournalError(f'{self._path} is the journal of another plan, '
                               f"{head['plan']}")
        for line in lines:
            self._states[line['source']] = self._states.get(
                line['source'], {}) | line
        self._file.truncate(len(whole.encode()))
        self._file.seek(0, os.SEEK_END)

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + '\n')
        self._file.flush()
        os.fsync(self._file.fileno())
