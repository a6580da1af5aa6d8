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

"""CinderDatabase: what tests read and break in the database of a Cinder."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import pathlib
import sqlite3


class CinderDatabase:
    """The SQLite database of a deployment, whose services have it open too."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def status(self, volume_id: str) -> str:
        """Return a volume's status as it is recorded.

        The API shows error for error_managing
        (cinder/api/v3/views/volumes.py).
        """
        with self._connected() as database:
            status, = database.execute(
                'SELECT status FROM volumes WHERE id = ?',
                (volume_id,)).fetchone()
        return str(status)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make all other connections wait before they can write."""
        with self._connected() as database:
            database.execute('BEGIN EXCLUSIVE')
            yield

    @contextlib.contextmanager
    def failing(self, event: str, when: str = '1') -> Iterator[None]:
        """Make certain writes fail.

        :param event: of SQLite's CREATE TRIGGER, such as UPDATE ON volumes
        :param when: a condition on OLD and NEW
        """
        self._run(f'CREATE TRIGGER failing BEFORE {event} WHEN {when} '
                  "BEGIN SELECT RAISE(ABORT, 'no disk'); END")
        try:
            yield
        finally:
            self._run('DROP TRIGGER failing')

    @contextlib.contextmanager
    def stopped_service(self, host: str) -> Iterator[None]:
        """Add the record of a cinder-volume that no longer reports its state.

        :param host: of the service, host@backend
        """
        self._run(
            'INSERT INTO services (host, binary, topic, availability_zone, '
            'disabled, report_count, deleted, created_at, updated_at) VALUES '
            "(?, 'cinder-volume', 'cinder-volume', 'nova', 0, 1, 0, "
            "'2026-01-01 00:00:00', '2026-01-01 00:00:00')", host)
        try:
            yield
        finally:
            self._run('DELETE FROM services WHERE host = ?', host)

    @contextlib.contextmanager
    def silent_service(self, host: str) -> Iterator[None]:
        """Make a running cinder-volume look as if it had stopped reporting.

        :param host: of the service, host@backend
        """
        long_ago = '2026-01-01 00:00:00'
        condition = (f"OLD.host = '{host}' AND OLD.binary = 'cinder-volume' "
                     f"AND NEW.updated_at != '{long_ago}'")
        self._run('CREATE TRIGGER silent BEFORE UPDATE ON services WHEN '
                  f'{condition} BEGIN SELECT RAISE(IGNORE); END')
        try:
            self._run('UPDATE services SET updated_at = ? WHERE host = ? AND '
                      "binary = 'cinder-volume'", long_ago, host)
            yield
        finally:
            self._run('DROP TRIGGER silent')

    def copy_volume(self, volume_id: str, copies: Iterable[str]) -> None:
        """Insert copies of a volume's record, with these ids."""
        with self._connected() as database:
            columns = ', '.join(
                name for _, name, *_ in database.execute(
                    'PRAGMA table_info(volumes)') if name != 'id')
            database.execute('BEGIN')
            database.executemany(
                f'INSERT INTO volumes (id, {columns}) '  # noqa: S608
                f'SELECT ?, {columns} FROM volumes WHERE id = ?',
                [(copy, volume_id) for copy in copies])
            database.execute('COMMIT')

    def _run(self, statement: str, *parameters: str) -> None:
        with self._connected() as database:
            database.execute(statement, parameters)

    def _connected(self) -> contextlib.closing[sqlite3.Connection]:
        # Without an isolation level the module begins no transaction.
        return contextlib.closing(sqlite3.connect(self._path,
                                                  isolation_level=None))
