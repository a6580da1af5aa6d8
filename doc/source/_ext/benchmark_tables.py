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

"""Tables of benchmark results, with the columns that a page needs.

    .. benchmark-table:: NAME
       :only: column=value; column=value

       column: heading

shows the rows of benchmarks/results/NAME.json that have these values, and one
column for each line.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import pathlib
from typing import Any
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_RESULTS = pathlib.Path(__file__).parents[3] / 'benchmarks/results'


class BenchmarkTable(SphinxDirective):
    """``.. benchmark-table::``; see above."""

    required_arguments = 1
    option_spec: ClassVar = {'only': directives.unchanged}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table, and below it what it was measured with."""
        path = _RESULTS / f'{self.arguments[0]}.json'
        self.env.note_dependency(str(path))
        result = json.loads(path.read_text())
        only = dict(_pair(text, '=')
                    for text in self.options.get('only', '').split(';')
                    if text.strip())
        headings = dict(_pair(line, ':') for line in self.content)
        rows = [[row[key] for key in headings] for row in result['rows']
                if all(str(row[key]) == value for key, value in only.items())]
        if not rows:
            raise self.error(f'{path.name} has no row with {only}')
        return [nodes.container(
            '', _table(list(headings.values()), rows),
            nodes.paragraph('', _measured(result['machine']),
                            classes=['measured']))]


def _pair(text: str, separator: str) -> tuple[str, str]:
    key, _, value = text.partition(separator)
    return key.strip(), value.strip()


def _measured(machine: dict[str, str]) -> str:
    return (f"{machine['date']}: {machine['processor']}, {machine['memory']}, "
            f"Linux {machine['kernel']}, LVM {machine['lvm'].split('(')[0]}, "
            f"Cinder {machine['cinder']}")


def _table(headings: list[str], rows: list[list[Any]]) -> nodes.table:
    columns = [_shown(column) for column in zip(*rows, strict=True)]
    group = nodes.tgroup(
        '', *(nodes.colspec(colwidth=1) for _ in headings),
        nodes.thead('', _row(headings, headings)),
        nodes.tbody('', *map(_row, rows, zip(*columns, strict=True))),
        cols=len(headings))
    return nodes.table('', group, classes=['figures'])


def _row(cells: Sequence[Any], shown: Sequence[str]) -> nodes.row:
    return nodes.row('', *(
        nodes.entry('', nodes.paragraph('', text),
                    classes=[] if isinstance(cell, str) else ['number'])
        for cell, text in zip(cells, shown, strict=True)))


def _shown(column: Sequence[Any]) -> list[str]:
    """Return the cells as text, all floats with the same number of places."""
    places = max((len(str(cell).partition('.')[2]) for cell in column
                  if isinstance(cell, float)), default=0)
    return [f'{cell:,.{places}f}' if isinstance(cell, float)
            else f'{cell:,}' if isinstance(cell, int) else cell
            for cell in column]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive('benchmark-table', BenchmarkTable)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
