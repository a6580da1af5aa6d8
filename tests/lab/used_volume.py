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

"""UsedVolume: a volume of a cluster to which a server writes."""

from __future__ import annotations

from tests.lab import polling
from tests.lab import writer
from tests.lab.attempts import Attempts
from tests.lab.attempts import Outcome
from tests.lab.server import Server


class UsedVolume:
    """A volume that is attached to a server, which writes to it.

    :ivar id: Cinder's
    :ivar attachment: what Cinder knows of the attachment
    """

    def __init__(self, attempts: Attempts, server: Server) -> None:
        self._attempts = attempts
        self._server = server
        created = attempts.create('used')
        assert not created.error, created
        self.id: str = created.result
        attached = self.attach()
        assert not attached.error, attached
        server.begin_writing(server.connect(self._connection))
        polling.wait_for('a write to each block', lambda: len(server.writes())
                         > writer.BLOCKS)

    def attach(self) -> Outcome:
        """Attach it to the server, which does not connect yet."""
        attached = self._attempts.attach(self.id, self._server.connector)
        if not attached.error:
            self.attachment = attached.result
        return attached

    def detach(self) -> Outcome:
        """Delete the attachment, from which the server is disconnected."""
        return self._attempts.detach(self.attachment['id'])

    def check_that_it_is_written(self) -> None:
        """Check that the server can still write."""
        before = len(self._server.writes())
        polling.wait_for('another write', lambda: len(self._server.writes())
                         > before)

    def stop_writing(self) -> None:
        """Stop the writing, which may have failed, and disconnect."""
        self._acknowledged = self._server.stop_writing()
        self._server.disconnect(self._connection)

    def check_what_was_written(self) -> None:
        """Check that all acknowledged writes are there, and disconnect."""
        found = self._server.read(self._server.connect(self._connection))
        self._server.disconnect(self._connection)
        wanted = {number % writer.BLOCKS: number
                  for number in self._acknowledged}
        # The disk may have the last write although it was never acknowledged.
        unanswered = self._acknowledged[-1] + 1
        assert {block: (number, wanted[block])
                for block, number in enumerate(found)
                if number not in (wanted[block], unanswered)} == {}
        print(f'{len(self._acknowledged)} acknowledged writes are there',
              flush=True)

    def remove(self) -> None:
        """Delete the volume, which was detached."""
        deleted = self._attempts.delete(self.id)
        assert not deleted.error, deleted

    @property
    def _connection(self) -> dict[str, str]:
        connection: dict[str, str] = self.attachment['connection_info']
        return connection
