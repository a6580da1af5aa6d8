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

"""A report about a plan and what became of it, as HTML and as Markdown.

Names, labels and descriptions in it were written by others, to the storage or
to Cinder. Jinja2 escapes them in HTML, and _markdown() in Markdown.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import re
from typing import Any

import jinja2

from osc_volume_adopt import text
from osc_volume_adopt.plan import LeftOut
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.status import Condition
from osc_volume_adopt.status import EntryStatus


@dataclasses.dataclass(frozen=True)
class Sum:
    """How many LVs there are, and their sizes added up.

    :ivar gib: as Cinder records them
    :ivar size: in bytes, of those whose size is known
    """

    count: int
    gib: int
    size: int

    @classmethod
    def of(cls, lvs: Iterable[Any]) -> Sum:
        """Return the sum of entries, or of LVs that were left out."""
        lvs = list(lvs)
        return cls(len(lvs), sum(lv.gib for lv in lvs),
                   sum(lv.size or 0 for lv in lvs))


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the report: an LV and its volume.

    :ivar volume: the volume's name; before the adoption, the planned one
    :ivar project: the name of the volume's project, or the project's ID if
        the caller may not see the name
    """

    lv: str
    backend: str
    volume: str
    volume_id: str
    project: str
    volume_type: str
    gib: int
    size: int | None
    contents: str
    owner: str
    condition: str
    why: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What the templates show.

    :ivar plan: the plan's ID
    :ivar sums: of the LVs in each condition
    :ivar by_project: of the volumes that are done, by their project's name
    """

    title: str
    plan: str
    at: datetime.datetime
    backends: Sequence[str]
    rows: Sequence[Row]
    left_out: Sequence[LeftOut]
    sums: Mapping[str, Sum]
    by_project: Mapping[str, Sum]
    planned: Sum
    not_planned: Sum

    @classmethod
    def of(cls, title: str, plan: Plan, statuses: Sequence[EntryStatus],
           project_name: Callable[[str | None], str],
           at: datetime.datetime) -> Report:
        """Return the report about a plan.

        :param project_name: returns the name of a project, by its ID, or for
            None that of the caller's own
        """
        rows = [_row(status, project_name) for status in statuses]
        by_project: dict[str, list[EntryStatus]] = {}
        for row, status in zip(rows, statuses, strict=True):
            if status.condition is Condition.DONE:
                by_project.setdefault(row.project, []).append(status)
        sums = {condition.value: Sum.of(
            status.entry for status in statuses
            if status.condition is condition) for condition in Condition}
        return cls(
            title, plan.id, at, [each.name for each in plan.locations], rows,
            plan.left_out,
            {name: each for name, each in sums.items()
             if each.count or name in ('done', 'failed', 'left')},
            {project: Sum.of(status.entry for status in theirs)
             for project, theirs in sorted(by_project.items())},
            Sum.of(plan.volumes), Sum.of(plan.left_out))

    def html(self) -> str:
        """Return one page that needs no other file."""
        return _rendered('report.html', self, autoescape=True)

    def markdown(self) -> str:
        """Return the report for a change ticket."""
        return _rendered('report.md', self, autoescape=False)


def _row(status: EntryStatus, project_name: Callable[[str | None], str]
         ) -> Row:
    entry, volume = status.entry, status.volume or {}
    return Row(
        entry.lv_name, entry.location.name,
        volume.get('name') or entry.name or '', status.volume_id,
        project_name(volume.get('os-vol-tenant-attr:tenant_id')
                     or entry.project),
        volume.get('volume_type') or entry.volume_type or 'default',
        entry.gib, entry.size, entry.contents, entry.owner,
        status.condition.value, status.why)


def _rendered(template: str, report: Report, autoescape: bool) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('osc_volume_adopt'),
        # Markdown has an escape of its own, which the template applies.
        autoescape=autoescape,  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {'markdown': _markdown, 'size': text.size,
                            'grouped': '{:,}'.format}
    return environment.get_template(template).render(report=report)


def _markdown(words: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    return re.sub(r'([\\`*_\[\]<>|&~#!])', r'\\\1',
                  text.printable(' '.join(words.split())))
