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

"""Problems with volumes of a plan, equal ones reported together."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import itertools

_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why an LV, or the whole plan, cannot be adopted.

    :ivar source: the LV's name; empty if it concerns the whole plan
    :ivar remedy: what to do about it, if more can be said
    """

    text: str
    source: str = ''
    remedy: str = ''

    @property
    def explained(self) -> str:
        """The text with the remedy."""
        return f'{self.text} ({self.remedy})' if self.remedy else self.text


def grouped(problems: Iterable[Problem]) -> list[str]:
    """Return one line for each text, in the order of their first problems."""
    by_text: dict[str, list[Problem]] = {}
    for problem in problems:
        by_text.setdefault(problem.text, []).append(problem)
    return [_line(sorted(equal, key=lambda problem: problem.source))
            for equal in by_text.values()]


def _line(equal: list[Problem]) -> str:
    first = equal[0]
    sources = list(dict.fromkeys(each.source for each in equal
                                 if each.source))
    remedy = first.remedy
    if remedy and len({each.remedy for each in equal}) > 1:
        remedy = f'for {first.source}: {remedy}'
    return (_subject(sources) + first.text
            + (f' ({remedy})' if remedy else ''))


def _subject(sources: list[str]) -> str:
    if not sources:
        return ''
    if len(sources) == 1:
        return f'{sources[0]}: '
    examples = ', '.join(itertools.islice(sources, _EXAMPLES))
    more = ', ...' if len(sources) > _EXAMPLES else ''
    return f'{len(sources)} volumes ({examples}{more}): '
