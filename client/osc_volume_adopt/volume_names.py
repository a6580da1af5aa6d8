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

"""Whether the volumes of a plan have names that no other volume has.

Cinder accepts equal names, but a user who then refers to a volume by its name
is refused, or gets another disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from osc_volume_adopt.plan import Entry
from osc_volume_adopt.problems import Problem

_REMEDY = 'set another name in the plan, or null for none'


def problems(entries: Collection[Entry],
             project_of: Callable[[Entry], str | None],
             volumes_in: Callable[[str], Iterable[Mapping[str, Any]]]
             ) -> Iterator[Problem]:
    """Yield which names are not unique in their project.

    :param entries: those whose adoption has not started
    :param project_of: returns the ID of a volume's project, if it is known
    :param volumes_in: returns the volumes of a project
    """
    named: dict[str | None, list[Entry]] = {}
    for entry in entries:
        if entry.name:
            named.setdefault(project_of(entry), []).append(entry)
    for project, theirs in named.items():
        planned = Counter(entry.name for entry in theirs)
        # A failed volume is what an earlier attempt has left.
        existing = {volume['name']: volume['id'] for volume in (
            volumes_in(project) if project else ())
            if not volume['status'].startswith('error')}
        for entry in theirs:
            if planned[entry.name] > 1:
                yield Problem(f'volume name {entry.name!r} is used more than '
                              'once in the plan', entry.source, _REMEDY)
            if entry.name in existing:
                yield Problem(
                    f'volume name {entry.name!r} is already that of volume '
                    f'{existing[entry.name]}', entry.source, _REMEDY)
