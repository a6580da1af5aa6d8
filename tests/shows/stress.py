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

"""Many listings at once of a large volume group, while LVs are adopted.

`python -m tests.shows.stress [LVS]`, as root, prints the response times of
each round, and the memory that Cinder and its privileged daemon use after it.
These figures are for a person to judge: they depend on what else the machine
does. Only a wrong answer makes the program fail: an HTTP error, or a listing
that does not show every LV.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
import statistics
import sys
import time
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

LVS = 10_000
PAGE = 1_000
PARALLEL = 20
ROUNDS = 4
ADOPTIONS = 10
# Cinder's default for rpc_response_timeout.
RPC_SECONDS = 60


class Round(NamedTuple):
    """The figures of one round.

    :ivar seconds: response time of each page, sorted
    :ivar memory: resident bytes of Cinder and of its daemon after the round
    """

    seconds: list[float]
    memory: tuple[int, int]


def _round(cinder: CinderDeployment, lvs: int, adopt: list[str]) -> Round:
    with futures.ThreadPoolExecutor(PARALLEL + 1) as pool:
        adopting = pool.submit(_adopt, cinder, adopt)
        pages = [pool.submit(_list, cinder) for _ in range(PARALLEL)]
        adopting.result()
        listings = [each.result() for each in pages]
    if wrong := {count for _, count in listings} - {lvs}:
        raise RuntimeError(f'of {lvs} LVs, listings show {wrong}')
    return Round(sorted(second for seconds, _ in listings
                        for second in seconds), _memory(cinder))


def _list(cinder: CinderDeployment) -> tuple[list[float], int]:
    """The response times of a listing's pages, and how many LVs it shows."""
    seconds = []
    count = 0
    while count % PAGE == 0:
        started = time.monotonic()
        reply = cinder.api.manageable_volumes(
            detail=True, limit=PAGE, offset=count, sort='reference:asc')
        seconds.append(time.monotonic() - started)
        if reply.status != 200:
            raise RuntimeError(f'Cinder answered a listing with {reply}')
        shown = len(reply.body['manageable-volumes'])
        count += shown
        if not shown:
            break
    return seconds, count


def _adopt(cinder: CinderDeployment, lv_names: list[str]) -> None:
    for name in lv_names:
        volume = cinder.api.manage({'source-name': name}).body['volume']['id']
        cinder.api.wait(volume, 'available')
        cinder.api.unmanage(volume)
        cinder.api.wait_until_gone(volume)


def _memory(cinder: CinderDeployment) -> tuple[int, int]:
    daemons = [process for process in psutil.process_iter(['cmdline'])
               if str(cinder.conf_path) in (process.info['cmdline'] or ())
               and process.pid != cinder.pid]
    return (psutil.Process(cinder.pid).memory_info().rss,
            sum(daemon.memory_info().rss for daemon in daemons))


def rounds(lvs: int, count: int) -> Iterator[Round]:
    """Start a Cinder on that many LVs and stress it.

    :raises RuntimeError: Cinder gave a wrong answer
    """
    with ScratchVolumeGroup('stress') as group:
        group.populate(lvs)
        with CinderDeployment(Backend(group, {
                'lvm_manage_without_device_mapper': 'true'}),
                # A slow page is a figure here, not an error.
                default_options={'rpc_response_timeout': '600'}) as cinder:
            for number in range(count):
                yield _round(cinder, lvs, [
                    f'lv-{number * ADOPTIONS + each:05}'
                    for each in range(ADOPTIONS)])


def main(lvs: int) -> None:
    """Print a line of figures after each round."""
    print(f'{lvs} LVs, listed {PARALLEL} times at once in pages of {PAGE}, '
          f'while {ADOPTIONS} LVs are managed and unmanaged', flush=True)
    for done in rounds(lvs, ROUNDS):
        service, daemon = (size / 2 ** 20 for size in done.memory)
        late = sum(each > RPC_SECONDS for each in done.seconds)
        print(f'{len(done.seconds)} pages: median '
              f'{statistics.median(done.seconds):.1f} s, slowest '
              f'{done.seconds[-1]:.1f} s, {late} later than {RPC_SECONDS} s; '
              f'memory: Cinder {service:.0f} MiB, daemon {daemon:.0f} MiB',
              flush=True)


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(int(sys.argv[1]) if sys.argv[1:] else LVS)
