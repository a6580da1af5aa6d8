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

"""What this driver and Cinder's own do with adopted LVs of any size.

`python -m tests.shows.life [SIZE...]`, as root, prints a table: each operation
of Cinder by each size, for both drivers. Needs device-mapper, and tgtd and
iscsid running.
"""

from __future__ import annotations

import sys

from tests.lab import signals
from tests.lab.life import BACKENDS
from tests.lab.life import Laboratory
from tests.lab.life import laboratory
from tests.lab.life import live
from tests.lab.life import NOT_TRIED
from tests.lab.life import SIZES
from tests.lab.service_conf import IN_TREE
from tests.lab.service_conf import OURS

# How the table shows what is no failure.
_CELLS = {'': 'ok', NOT_TRIED: '-'}


def main(*names: str) -> None:
    """Print a line for each step as it ends, then the table and the failures.

    :param names: of SIZES; none for all
    """
    names = names or tuple(SIZES)
    outcomes: dict[tuple[str, str, str], dict[str, str]] = {}
    for driver in (OURS, IN_TREE):
        print(driver)
        with laboratory(driver) as lab:
            for backend in BACKENDS:
                for name in names:
                    outcomes[driver, backend, name] = _outcome(lab, backend,
                                                               name)
    print(f"\n{'':21}{'ours':16}in-tree")
    for backend in BACKENDS:
        for operation in outcomes[OURS, backend, names[0]]:
            cells = [[_CELLS.get(outcomes[driver, backend, name].get(
                operation, NOT_TRIED), 'FAIL') for name in names]
                for driver in (OURS, IN_TREE)]
            print(f'{backend:6}{operation:22}'
                  + '   '.join(''.join(f'{cell:5}' for cell in row)
                               for row in cells))
    for (driver, backend, name), outcome in outcomes.items():
        for operation, failure in outcome.items():
            if failure not in _CELLS:
                print(driver.rpartition('.')[2], backend, name, operation,
                      failure, sep=': ')


def _outcome(lab: Laboratory, backend: str, name: str) -> dict[str, str]:
    """Return the failure of each operation, '' if it succeeded."""
    outcome: dict[str, str] = {}
    for step in live(lab, backend, SIZES[name]):
        print(f'{backend} {name} {step.operation} {step.seconds:.0f} s '
              f'{step.failure}', flush=True)
        outcome[step.operation] = outcome.get(step.operation) or step.failure
    return outcome


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(*sys.argv[1:])
