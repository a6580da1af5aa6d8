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
does. The program fails only on a wrong answer: an HTTP error, or a listing
that does not show every LV.
"""

from __future__ import annotations

import statistics
import sys

from tests.lab import signals
from tests.lab import stress

LVS = 10_000
ROUNDS = 4
# Cinder's default for rpc_response_timeout.
RPC_SECONDS = 60


def main(lvs: int) -> None:
    """Print a line of figures after each round."""
    print(f'{lvs} LVs, listed {stress.PARALLEL} times at once in pages of '
          f'{stress.PAGE}, while {stress.ADOPTIONS} LVs are managed and '
          'unmanaged', flush=True)
    for done in stress.rounds(lvs, ROUNDS):
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
