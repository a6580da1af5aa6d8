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

"""Many listings at once of a volume group, while LVs are adopted."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
import time
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

PAGE = 1_000
PARALLEL = 20
ADOPTIONS = 10


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
    """Return the seconds of each page of a listing, and the number of LVs."""
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
        with CinderDeployment(
                Backend(group),
                # A slow page is a figure here, not an error.
                default_options={'rpc_response_timeout': '600'}) as cinder:
            for number in range(count):
                yield _round(cinder, lvs, [
                    f'lv-{number * ADOPTIONS + each:05}'
                    for each in range(ADOPTIONS)])
