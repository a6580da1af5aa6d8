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

"""Runs benchmarks: `python -m benchmarks [NAME ...]`, by default all.

Each benchmark runs in a process of its own, because its memory is measured. It
writes its table to benchmarks/results, where plots are drawn from the tables.
"""

from __future__ import annotations

import sys

from benchmarks import plots
from tests.lab import processes
from tests.lab import signals

NAMES = ('listing', 'api', 'adoption', 'privileges', 'adopt_many',
         'adopt_projects')


def main(names: list[str]) -> None:
    """Run the benchmarks one after another, until one fails."""
    for name in names or NAMES:
        status = processes.run(sys.executable, '-m', f'benchmarks.{name}')
        if status:
            sys.exit(status)
    plots.main()


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(sys.argv[1:])
