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

"""Tables that are generated from the code, so that they cannot differ from it.

``lvm-manage-rules`` shows a table of cinder_lvm_manage/rules.py,
``lvm-manage-owners`` the table of cinder_lvm_manage/foreign_owners.py,
``lvm-manage-modules`` the first sentences of each module's docstring, and
``adoption-fields`` what the client reads and writes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
import pathlib
import re
import types
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from osc_volume_adopt import audit
from osc_volume_adopt import columns
from osc_volume_adopt import csv_file
from osc_volume_adopt import plan
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from cinder_lvm_manage import foreign_owners
from cinder_lvm_manage import rules

_TABLES = {'any': rules.AS_ANY, 'contents': rules.ABOUT_CONTENTS,
           'volume': rules.AS_VOLUME,
           'snapshot': rules.AS_SNAPSHOT}

_OWNER = types.SimpleNamespace(kind='KIND', id='ID', host='HOST',
                               status='STATUS')

# Placeholders for the names and numbers in a reason.
_WORDS = {
    'vg': 'VG',
    'lv': types.SimpleNamespace(name='LV', origin='ORIGIN', pool='POOL',
                                attr='ATTR', size='SIZE', size_gib='N',
                                provisioning='THIN'),
    'claim': types.SimpleNamespace(owner=_OWNER, origin_owner=_OWNER,
                                   parent='ID'),
    'duplicates': 'DEVICES',
    'case': types.SimpleNamespace(
        cinders_pool='VG-pool', dependents='LVS', effect_on_clones='',
        extend_to='SIZE',
        extended='SIZE', held_by=', USER', journal_removal='', or_as_volume='',
        metadata_needed='SIZE', read_only_devices='DEVICES',
        release='COMMANDS that release it',
        remedy_of_snapshot=(
            'manage it as a snapshot, once ORIGIN is managed; if ORIGIN is '
            'hidden, copy it to a new LV and manage that'),
        refused_image='FORMAT image', image_conversion='COMMANDS',
        foreign_owner=types.SimpleNamespace(why='WHY', remedy='REMEDY'),
        contents=types.SimpleNamespace(
            note='NOTE', storage_metadata=types.SimpleNamespace(
                text='METADATA', remedy='REMEDY')),
        on_host=' on HOST',
        unusable_name='WHY',
        inventory=types.SimpleNamespace(metadata_free='SIZE'),
        policy=types.SimpleNamespace(thin_pool='POOL'))}


class _CodeTable(SphinxDirective):
    """A table whose head and rows a subclass defines."""

    widths = ''
    head: tuple[str, ...] = ()

    def run(self) -> list[nodes.Node]:
        """Return the table, parsed from reStructuredText."""
        table = ['.. list-table::', '   :header-rows: 1',
                 f'   :widths: {self.widths}', '']
        for first, *others in [self.head, *self.rows()]:
            table.append(f'   * - {first}')
            table += [f'     - {cell}' for cell in others]
        return self.parse_text_to_nodes('\n'.join(table))

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield as many cells for each row as the head has."""
        raise NotImplementedError


class Rules(_CodeTable):
    """``.. lvm-manage-rules:: any``, or contents, volume or snapshot."""

    required_arguments = 1
    widths = '24 40 36'
    head = ('Code', 'The LV ...', 'What to do')

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield a row for each rule; the kind only where it is not unsafe."""
        table = directives.choice(self.arguments[0], tuple(_TABLES))
        for rule in _TABLES[table]:
            code = f'``{rule.code}``'
            if rule.kind is not rules.Kind.UNSAFE:
                code += f' (kind ``{rule.kind.value}``)'
            yield (code, _literally(rule.why.format(**_WORDS)),
                   _literally(rule.remedy.format(**_WORDS)))


class Owners(_CodeTable):
    """``.. lvm-manage-owners::``, the systems whose LVs are recognized."""

    widths = '30 35 35'
    head = ('``owner``', 'If it is not a disk, the LV ...', 'What to do')

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield a row for each different line of the table."""
        rows = {}
        for mark in foreign_owners.MARKS:
            owner = ', '.join(filter(None, [mark.system, mark.item]))
            rows[tuple(
                re.sub(r'{(\w+)}', lambda match: match[1].upper(), text)
                for text in (owner, mark.why, mark.remedy))] = None
        for owner, *texts in rows:
            yield f'``{owner}``', *map(_literally, texts)


class Modules(_CodeTable):
    """``.. lvm-manage-modules::``, of the package."""

    widths = '25 75'
    head = ('Module', 'Purpose')

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield a row for each module, by name."""
        package = pathlib.Path(rules.__file__).parent
        for path in sorted(package.glob('*.py')):
            if path.stem != '__init__':
                # Parsed and not imported: some modules need Cinder.
                text = ast.get_docstring(ast.parse(path.read_text()))
                first, _, _ = text.partition('\n\n')
                yield f'``{path.name}``', _literally(' '.join(first.split()))


_FIELDS = {
    'list': {column.title: column.description for column in columns.COLUMNS},
    'csv': {title: column.description
            for title, column in csv_file.VOLUME_COLUMNS.items()},
    'audit': audit.CODES,
    **{part: {name: field['description'] for name, field in fields.items()}
       for part, fields in (('volume', plan.VOLUME_FIELDS),
                            ('lv', plan.LV_FIELDS))}}


class Fields(_CodeTable):
    """``.. adoption-fields:: list``, or csv, audit, or volume or lv of a plan.
    """

    required_arguments = 1
    widths = '25 75'
    head = ('Name', 'Meaning')

    def rows(self) -> Iterable[tuple[str, ...]]:
        """Yield a row for each column, or field."""
        table = directives.choice(self.arguments[0], tuple(_FIELDS))
        for name, description in _FIELDS[table].items():
            yield f'``{name}``', _literally(description)


def _literally(text: str) -> str:
    """Return the text in reStructuredText; text in backquotes is code.

    Options are code too, so that no line breaks at their hyphens.
    """
    def escaped(words: str) -> str:
        return re.sub(r'(--[a-z]+)|([*_])',
                      lambda match: (f'``{match[1]}``' if match[1]
                                     else rf'\{match[2]}'), words)
    return '``'.join(part if number % 2 else escaped(part)
                     for number, part in enumerate(text.split('`')))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive('lvm-manage-rules', Rules)
    app.add_directive('lvm-manage-owners', Owners)
    app.add_directive('lvm-manage-modules', Modules)
    app.add_directive('adoption-fields', Fields)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
