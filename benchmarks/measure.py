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

"""Functions for benchmarks: measuring in turns, and publishing the results.

A result is printed as a table, and written to the folder results, as that
table and as JSON with a description of the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import datetime
from importlib import metadata
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import time
from typing import Any
from typing import NamedTuple
from unittest import mock

from oslo_concurrency import processutils
from oslo_config import cfg
import psutil  # type: ignore[import-untyped]
import tabulate  # type: ignore[import-untyped]

from cinder_lvm_manage.volume_group import VolumeGroup

RESULTS = pathlib.Path(__file__).parent / 'results'
_MIB = 2 ** 20

Row = dict[str, Any]


class Cost(NamedTuple):
    """The cost of one piece of work.

    :ivar seconds: by the clock
    :ivar service: CPU seconds of this process, which stands for cinder-volume
    :ivar daemon: CPU seconds of the privileged daemon
    :ivar lvm: CPU seconds of LVM's commands
    :ivar service_memory: the most bytes that were resident in this process
    :ivar daemon_memory: likewise in the daemon
    """

    seconds: float
    service: float
    daemon: float
    lvm: float
    service_memory: int
    daemon_memory: int


def turns(rounds: int, **works: Callable[[], Any]) -> dict[str, list[Any]]:
    """Return the results of each function, called in turn in each round."""
    found: dict[str, list[Any]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost(work: Callable[[], object]) -> Cost:
    """Return what the work costs this process and its privileged daemon."""
    service = psutil.Process()
    daemons = [process for process in psutil.process_iter(['cmdline'])
               if 'privsep' in ' '.join(process.info['cmdline'] or ())
               and cfg.CONF.config_file[0] in process.info['cmdline']]
    for process in (service, *daemons):
        # Resets the peak, VmHWM: proc(5), /proc/pid/clear_refs.
        pathlib.Path(f'/proc/{process.pid}/clear_refs').write_text('5')
    before = _used(daemons)
    taken = seconds(work)
    after = _used(daemons)
    used = [late - early for early, late in zip(before, after, strict=True)]
    return Cost(taken, used[0], used[1], used[2],
                _peak(service), sum(map(_peak, daemons)))


def _used(daemons: Sequence[psutil.Process]) -> tuple[float, float, float]:
    """Return CPU seconds of this process, of the daemons, and of commands."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own, commands = 0.0, children.ru_utime + children.ru_stime
    for daemon in daemons:
        times = daemon.cpu_times()
        own += times.user + times.system
        commands += times.children_user + times.children_system
    return time.process_time(), own, commands


def _peak(process: psutil.Process) -> int:
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    line = next(line for line in status.splitlines()
                if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def counted_commands() -> Iterator[Callable[[], int]]:
    """Count the LVM commands that a driver of either kind runs.

    :returns: a function that returns the number so far
    """
    with (mock.patch.object(VolumeGroup, '_run_privileged',
                            side_effect=VolumeGroup._run_privileged,
                            autospec=True) as through_daemon,
          mock.patch.object(processutils, 'execute',
                            side_effect=processutils.execute) as direct):
        yield lambda: through_daemon.call_count + direct.call_count


def ratio(ours: Sequence[float], floor: Sequence[float]) -> Row:
    """Return the columns for a ratio of seconds, measured in turns."""
    ratios = [our / low for our, low in zip(ours, floor, strict=True)]
    return {'times floor': round(statistics.median(ratios), 2),
            'spread': f'{min(ratios):.2f}..{max(ratios):.2f}',
            'seconds': round(statistics.median(ours), 3),
            'floor': round(statistics.median(floor), 3)}


def mean_use(costs: Sequence[Cost]) -> Row:
    """Return the columns for CPU time and memory.

    The kernel counts a daemon's CPU time in hundredths of a second, so the
    mean of many rounds is more precise than one of them.
    """
    return {**{f'CPU {name}': round(statistics.mean(
        getattr(each, name) for each in costs), 3)
        for name in ('service', 'daemon', 'lvm')},
        **{f'MiB {name}': round(max(
            getattr(each, f'{name}_memory') for each in costs) / _MIB)
            for name in ('service', 'daemon')}}


def publish(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print these rows, and write them to results/NAME.json and .txt."""
    table = tabulate.tabulate([list(row.values()) for row in rows],
                              headers=list(rows[0]), tablefmt='simple',
                              missingval='-', disable_numparse=False)
    print(f'{title}\n\n{table}\n', flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f'{name}.txt').write_text(f'{table}\n')
    (RESULTS / f'{name}.json').write_text(json.dumps(
        {'title': title, 'machine': machine(), 'rows': rows}, indent=1)
        + '\n')


def machine() -> dict[str, str]:
    """Return a description of this machine and its software."""
    model = next((line.partition(':')[2].strip() for line
                  in pathlib.Path('/proc/cpuinfo').read_text().splitlines()
                  if line.startswith('model name')), platform.machine())
    lvm = subprocess.run(['lvm', 'version'], capture_output=True, text=True,
                         check=True).stdout.splitlines()[0]
    return {'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
            'processor': f'{os.cpu_count()} x {model}',
            'memory': f'{psutil.virtual_memory().total / 2 ** 30:.1f} GiB',
            'kernel': platform.release(),
            'python': platform.python_version(),
            'lvm': lvm.partition(':')[2].strip(),
            **{name: metadata.version(name) for name in (
                'cinder', 'os-brick', 'oslo.privsep', 'cinder_lvm_manage')}}
