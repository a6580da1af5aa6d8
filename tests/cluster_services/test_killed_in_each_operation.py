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

"""A service of the cluster is killed during each operation that changes an LV.
"""

import contextlib

import pytest

from tests.cluster_services.operations import name_of
from tests.cluster_services.operations import OPERATIONS
from tests.cluster_services.operations import Request
from tests.lab.faulty_lvm import HALTS

_BEFORE, _AFTER = HALTS
_KILLS = [pytest.param(operation, kill, id='-'.join((
    operation.__name__, 'before' if kill.before else 'after', str(kill.step),
    operation.commands[kill.step - 1])))
    for operation in OPERATIONS for kill in operation.kills()]


class Stage:
    """What an operation is performed on, in all its tests."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._operation = None

    @contextlib.contextmanager
    def ready_for(self, kind):
        """Prepare for a test of an operation.

        After a test that failed, nothing is used again.
        """
        if kind.consumes or type(self._operation) is not kind:
            self.tear_down()
            operation = kind(self._cluster)
            operation.set_up()
        else:
            operation = self._operation
        self._operation = None
        try:
            yield operation
        except BaseException:
            self._cluster.clear()
            raise
        self._operation = operation

    def tear_down(self):
        if self._operation:
            self._operation.tear_down()
            self._operation = None


@pytest.fixture(scope='module')
def stage(cluster):
    stage = Stage(cluster)
    yield stage
    stage.tear_down()


@pytest.mark.parametrize('kind', OPERATIONS)
def test_the_commands_are_known(cluster, stage, kind):
    with stage.ready_for(kind) as operation:
        operation.prepare()
        for node in cluster.nodes.values():
            node.lvm.mend()
        Request(cluster, operation.request).join()
        operation.wait()
        calls, = filter(None, (node.lvm.calls for node in operation.nodes()))
        names = [name_of(call) for call in calls]
        if names[-1] == 'lvs':
            # After a removal, Cinder reports statistics.
            del names[-1]
        assert ' '.join(names) == ' '.join(operation.commands)
        operation.undo()
        operation.check()


@pytest.mark.parametrize(('kind', 'kill'), _KILLS)
def test_nothing_is_lost_and_nothing_left(cluster, stage, kind, kill):
    """The operator acts before the service is started again, or after it."""
    with stage.ready_for(kind) as operation:
        operation.prepare()
        for node in operation.nodes():
            node.lvm.break_at(kill.step, _BEFORE if kill.before else _AFTER,
                              '')
        request = Request(cluster, operation.request)
        killed = cluster.wait_until_halted()
        killed.kill()
        for node in cluster.nodes.values():
            node.lvm.resume()
        if operation.is_answered:
            request.join()
        active = {*cluster.lvm.active().values()} == {killed.name}
        repaired = (kill.before and (operation.acts_at_once or not active)
                    and operation.repair())
        assert repaired or active or not kill.before
        killed.start()
        assert repaired or operation.repair()
        operation.check()
        operation.end()
