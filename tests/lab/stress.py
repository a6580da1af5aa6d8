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

`python -m tests.lab.stress [LVS]`, as root, prints for one round after another
how long the API took to answer and how much memory Cinder and its privileged
daemon have then. Exits with 1 where an answer is no page, comes later than
Cinder's services wait for each other, or memory grows from round to round.
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
SECONDS = 60
# Of the second round's memory; in the first, modules and pools are made.
GROWTH = 1.1


class Round(NamedTuple):
    """What a round has shown.

    :ivar seconds: of each page, sorted
    :ivar listed: LVs that each listing has shown
    :ivar memory: bytes resident afterwards, of Cinder and of its daemon
    """

    seconds: list[float]
    listed: list[int]
    memory: tuple[int, int]


def _round(cinder: CinderDeployment, adopt: list[str]) -> Round:
    with futures.ThreadPoolExecutor(PARALLEL + 1) as pool:
        adopting = pool.submit(_adopt, cinder, adopt)
        pages = [pool.submit(_list, cinder) for _ in range(PARALLEL)]
        adopting.result()
        listings = [each.result() for each in pages]
    return Round(sorted(second for seconds, _ in listings
                        for second in seconds),
                 [count for _, count in listings], _memory(cinder))


def _list(cinder: CinderDeployment) -> tuple[list[float], int]:
    seconds = []
    count = 0
    while count % PAGE == 0:
        started = time.monotonic()
        reply = cinder.api.manageable_volumes(
            detail=True, limit=PAGE, offset=count, sort='reference:asc')
        seconds.append(time.monotonic() - started)
        if reply.status != 200:
            raise RuntimeError(f'a listing was answered with {reply}')
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


def rounds(lvs: int) -> Iterator[Round]:
    """A Cinder of its own on so many LVs, under stress."""
    with ScratchVolumeGroup('stress') as group:
        group.populate(lvs)
        with CinderDeployment(Backend(group, {
                'lvm_manage_without_device_mapper': 'true'})) as cinder:
            for number in range(ROUNDS):
                yield _round(cinder, [f'lv-{number * ADOPTIONS + each:05}'
                                      for each in range(ADOPTIONS)])


def faults(lvs: int, done: list[Round]) -> list[str]:
    """What is wrong with these rounds."""
    found = []
    if any(each.seconds[-1] > SECONDS for each in done):
        found.append(f'a page took more than {SECONDS} seconds')
    if any(set(each.listed) != {lvs} for each in done):
        found.append(f'a listing has not shown {lvs} LVs')
    if any(after > GROWTH * before for before, after in zip(
            done[1].memory, done[-1].memory, strict=True)):
        found.append('memory grows')
    return found


def main(lvs: int) -> int:
    """The exit status."""
    print(f'{lvs} LVs, listed {PARALLEL} times at once in pages of {PAGE}, '
          f'{ADOPTIONS} adopted and given back meanwhile', flush=True)
    done = []
    for each in rounds(lvs):
        _print(each)
        done.append(each)
    found = faults(lvs, done)
    print('; '.join(found) or 'nothing is wrong')
    return int(bool(found))


def _print(done: Round) -> None:
    service, daemon = (size / 2 ** 20 for size in done.memory)
    print(f'{len(done.seconds)} pages: median '
          f'{statistics.median(done.seconds):.1f} s, slowest '
          f'{done.seconds[-1]:.1f} s; memory: Cinder {service:.0f} MiB, '
          f'daemon {daemon:.0f} MiB', flush=True)


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else LVS))
