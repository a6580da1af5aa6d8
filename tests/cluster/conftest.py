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

"""Two hosts that share a volume group, with a Cinder on both."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import pathlib

import pytest
import tabulate  # type: ignore[import-untyped]

from tests.lab import cluster_hosts
from tests.lab import nodes
from tests.lab.attempts import Attempts
from tests.lab.cluster_hosts import Cluster
from tests.lab.nodes import Node
from tests.lab.server import Server
from tests.lab.used_volume import UsedVolume


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--machines', action='store_true',
                     help='hosts are virtual machines with a watchdog, not '
                          'User-Mode Linux')


def pytest_ignore_collect(collection_path: pathlib.Path,
                          config: pytest.Config) -> bool | None:
    # User-Mode Linux has no watchdog.
    if (collection_path.name == 'test_watchdog.py'
            and not config.getoption('--machines')):
        return True
    return None


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder for the files of all hosts."""
    # RabbitMQ and MariaDB run as users of their own.
    path = tmp_path_factory.mktemp('cluster')
    path.chmod(0o755)
    return path


@pytest.fixture(scope='session')
def hosts(folder: pathlib.Path, request: pytest.FixtureRequest
          ) -> Iterator[Sequence[Node]]:
    """Two hosts with an empty shared volume group."""
    machines = request.config.getoption('--machines')
    kind = nodes.VIRTUAL_MACHINE if machines else nodes.USER_MODE_LINUX
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(nodes.network())
        disk = cleanup.enter_context(nodes.shared_disk(folder))
        both = [Node(number, folder, disk, kind) for number in (1, 2)]
        cluster_hosts.on_each(cleanup.enter_context, both)
        cluster_hosts.on_each(cluster_hosts.start_lock_manager, both)
        cluster_hosts.create_group(both[0])
        cluster_hosts.join_group(both[1])
        yield both


@pytest.fixture(scope='session')
def cinder(folder: pathlib.Path, hosts: Sequence[Node]) -> Iterator[Cluster]:
    """A Cinder with a service on each host."""
    with cluster_hosts.running(folder, hosts) as running:
        yield running


@pytest.fixture(scope='session')
def attempts(cinder: Cluster) -> Attempts:
    return Attempts(cinder)


@pytest.fixture(scope='session')
def server(hosts: Sequence[Node], folder: pathlib.Path) -> Iterator[Server]:
    """A host that is not in the cluster."""
    # Its kernel does not matter, and this one is faster than a machine.
    with Node(len(hosts) + 1, folder, None, nodes.USER_MODE_LINUX) as node:
        yield Server(node)


@pytest.fixture
def used(attempts: Attempts, server: Server) -> Iterator[UsedVolume]:
    """A volume to which the server writes."""
    volume = UsedVolume(attempts, server)
    yield volume
    volume.remove()


class Table:
    """Rows of operations, with a column for each state of a volume.

    The last result of an operation in a state counts.
    """

    columns = ('free', 'exported here', 'exported there', 'service dead',
               'host dead', 'host dead, with the lock of the group')

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, str]] = {}

    def note(self, operation: str, column: str, what: object) -> None:
        """Add how an operation ended in this state of the volume."""
        assert column in self.columns
        self._rows.setdefault(operation, {})[column] = str(what)
        print(f'{operation}, {column}: {what}', flush=True)

    def __str__(self) -> str:
        text: str = tabulate.tabulate(
            [[operation, *(cells.get(column, '') for column in self.columns)]
             for operation, cells in self._rows.items()],
            headers=['operation', *self.columns])
        return text


_TABLE = pytest.StashKey[Table]()


@pytest.fixture(scope='session')
def table(request: pytest.FixtureRequest) -> Table:
    """The table to which tests add what they measure."""
    return request.config.stash.setdefault(_TABLE, Table())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter,
                            config: pytest.Config) -> None:
    """Print what the tests measured, also if they passed."""
    if _TABLE in config.stash:
        terminalreporter.write_sep('=', 'operations, by the state of the '
                                   'volume')
        terminalreporter.write_line(str(config.stash[_TABLE]))
