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

"""Draws plots of the results in benchmarks/results.

`python -m benchmarks.plots`, from the top of the checkout.
"""

from __future__ import annotations

from collections.abc import Callable
import json
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks import api
from benchmarks import measure

_COLOURS = {'floor': '#777777', 'this': '#1b6ca8', 'in-tree': '#c8553d'}


def main() -> None:
    """Draw a plot of each result that exists."""
    # So that equal figures result in equal files.
    mpl.rcParams.update({'svg.hashsalt': 'benchmarks', 'svg.fonttype': 'none',
                         'axes.grid': True, 'grid.alpha': 0.3,
                         'axes.axisbelow': True})
    for name, draw in (('listing', _listing), ('api', _api),
                       ('adoption', _adoption)):
        path = measure.RESULTS / f'{name}.json'
        if path.exists():
            _draw(name, draw, json.loads(path.read_text()))


def _draw(name: str, draw: Any, result: dict[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout='constrained')
    draw(axes, result['rows'])
    axes.set_title(result['title'])
    machine = result['machine']
    figure.text(0.01, -0.03, f"{machine['processor']}, LVM {machine['lvm']}, "
                f"Cinder {machine['cinder']}, {machine['date']}", fontsize=8)
    figure.savefig(measure.RESULTS / f'{name}.svg', bbox_inches='tight',
                   metadata={'Date': None})
    plt.close(figure)


def _listing(axes: Any, rows: list[dict[str, Any]]) -> None:
    linear = [row for row in rows if row['content'] == 'linear, none managed']
    lines: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
        'one bare lvs': ('floor', 'floor', lambda row: (
            row['driver'] == 'this' and row['listing'] == 'page')),
        'this driver, a page of 1,000': ('this', 'seconds', lambda row: (
            row['driver'] == 'this' and row['listing'] == 'page')),
        "Cinder's own driver": ('in-tree', 'seconds', lambda row: (
            row['driver'] == 'in-tree' and row['shown'] != 'estimated'))}
    for label, (colour, column, wanted) in lines.items():
        _line(axes, [row for row in linear if wanted(row)], column,
              label=label, color=_COLOURS[colour], marker='o')
    theirs = [row for row in linear if row['driver'] == 'in-tree']
    measured = [row for row in theirs if row['shown'] != 'estimated']
    _line(axes, theirs[len(measured) - 1:], 'seconds', linestyle='--',
          label="Cinder's own driver, estimated", color=_COLOURS['in-tree'])
    axes.axhline(60, color='black', linewidth=0.8, linestyle=':',
                 label="Cinder's rpc_response_timeout, 60 s")
    axes.set(xscale='log', yscale='log', xlabel='LVs in the group',
             ylabel='seconds')
    axes.legend()


def _line(axes: Any, rows: list[dict[str, Any]], column: str,
          **style: Any) -> None:
    axes.plot([row['LVs'] for row in rows], [row[column] for row in rows],
              **style)


def _api(axes: Any, rows: list[dict[str, Any]]) -> None:
    labels = [f"{row['LVs']:,}\n{row['managed']}" for row in rows]
    done = [0.0] * len(rows)
    for part in reversed(api.PARTS):
        spent = [row[part] for row in rows]
        axes.bar(labels, spent, bottom=done, label=part)
        done = [low + more for low, more in zip(done, spent, strict=True)]
    axes.set(xlabel='LVs in the group, and how many of them are managed',
             ylabel='seconds')
    axes.legend(reverse=True)


def _adoption(axes: Any, rows: list[dict[str, Any]]) -> None:
    counts = sorted({row['LVs'] for row in rows})
    bars = {'lvs, lvchange and lvrename': ('floor', 'this', 'manage', 'floor'),
            'this driver': ('this', 'this', 'manage', 'seconds'),
            "Cinder's own driver, which keeps no name": (
                'in-tree', 'in-tree', 'manage', 'seconds')}
    for place, (label, (colour, driver, what, column)) in enumerate(
            bars.items()):
        axes.bar([each + 0.27 * (place - 1) for each in range(len(counts))],
                 [row[column] for row in rows
                  if (row['driver'], row['what']) == (driver, what)],
                 width=0.25, label=label, color=_COLOURS[colour])
    axes.set_xticks(range(len(counts)), [f'{count:,}' for count in counts])
    axes.set(xlabel='LVs in the group', ylabel='seconds to adopt one')
    axes.legend()


if __name__ == '__main__':
    main()
