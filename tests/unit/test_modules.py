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

"""The driver's modules: their imports, and who may know Cinder."""

import ast
import graphlib
import pathlib

import cinder_lvm_manage

_PACKAGE = pathlib.Path(cinder_lvm_manage.__file__).parent
_KNOW_CINDER = {'driver', 'any_size', 'cinder_errors', 'cinder_records',
                'peers', 'shared_group', 'targets'}


def _imported_by(path):
    """The full names that a module imports, under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_no_module_imports_itself_through_others():
    modules = {path.stem: path for path in _PACKAGE.glob('*.py')}
    graph = {name: {imported.split('.')[1] for imported in _imported_by(path)
                    if imported.startswith('cinder_lvm_manage.')}
             for name, path in modules.items()}
    assert graph['driver'] >= {'adoption', 'listing', 'verdict'}
    # It raises CycleError, with the circle.
    graphlib.TopologicalSorter(graph).prepare()


def test_only_some_modules_know_cinder():
    know = {path.stem for path in _PACKAGE.glob('*.py')
            if any(name.split('.')[0] == 'cinder'
                   for name in _imported_by(path))}
    assert know == _KNOW_CINDER
