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

"""`python -m benchmarks [NAME ...]`: these benchmarks, or all of them.

Each is a process of its own, so that none has the memory of another. Their
tables go to benchmarks/results, and plots are drawn of them there.
"""

from __future__ import annotations

import sys

from benchmarks import plots
from tests.lab import processes
from tests.lab import signals

NAMES = ('listing', 'api', 'adoption', 'privileges', 'adopt_many',
         'adopt_projects')


def main(names: list[str]) -> None:
    """Run them one after another; the first that fails is the last."""
    for name in names or NAMES:
        status = processes.run(sys.executable, '-m', f'benchmarks.{name}')
        if status:
            sys.exit(status)
    plots.main()


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(sys.argv[1:])
