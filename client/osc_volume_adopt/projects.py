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

"""How volumes get into the projects that a plan names.

Where the caller may manage volumes in a project, they are managed there, with
a token of the caller for that project. Otherwise they are managed in the
caller's own project, and transferred.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses

from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.errors import TokenError
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.problems import Problem


@dataclasses.dataclass(frozen=True)
class Access:
    """What the caller may do in a project.

    :ivar api: with a token for the project
    :ivar direct: whether volumes can be managed in it
    """

    id: str
    api: CinderApi
    direct: bool = False


# By a project's name or ID in a plan.
Projects = Mapping[str, Access]


def access(api: CinderApi, entries: Collection[Entry]
           ) -> tuple[Projects, list[Problem]]:
    """Return access to the projects of these entries, and what prevents it."""
    found: dict[str, Access] = {}
    problems = []
    for name, entry in {entry.project: entry for entry in entries
                        if entry.project}.items():
        project_id = api.project_id(name)
        if project_id is None:
            problems.append(Problem(
                f'project {name} not found, or not visible to you'))
        elif project_id == api.own_project():
            found[name] = Access(project_id, api, direct=True)
        else:
            try:
                other = api.for_project(project_id)
            except TokenError as exc:
                problems.append(Problem(
                    f'volumes cannot get into project {name}, because you '
                    f'cannot get a token for it: {exc}',
                    remedy='you need a role in that project, and credentials '
                           'that can be used for several projects, such as a '
                           'password'))
            else:
                found[name] = Access(project_id, other,
                                     other.may_manage(entry.location))
    return found, problems


def direct(entry: Entry, projects: Projects) -> Access | None:
    """Return access to the project in which the entry's LV is managed.

    None for the caller's own project, from where a volume of another one is
    transferred.
    """
    found = projects.get(entry.project or '')
    # If the answer to a request in another project is lost, only the LV's
    # UUID can confirm which volume it has created.
    knows_uuid = entry.driver == LVM_MANAGE and entry.source_id
    return found if found and found.direct and knows_uuid else None
