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


"""The three distributions: one version, and no more dependencies than used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import importlib.metadata
import pathlib
import re
import subprocess
import sys
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pbr.packaging  # type: ignore[import-untyped]
import pytest
import yaml

tomllib = pytest.importorskip('tomllib')  # Python 3.11

_TOP = pathlib.Path(__file__).parents[2]
_DRIVER = _TOP / 'cinder_lvm_manage'
_CLIENT = _TOP / 'client' / 'osc_volume_adopt'
_TEMPEST = _TOP / 'tempest' / 'cinder_lvm_manage_tempest_plugin'
_PACKAGES = [_DRIVER, _CLIENT, _TEMPEST]
_SERVER_SIDE = {'cinder', 'os-brick', 'cinder-lvm-manage'}


def _project(package: pathlib.Path) -> dict[str, Any]:
    with (package.parent / 'pyproject.toml').open('rb') as file:
        project: dict[str, Any] = tomllib.load(file)['project']
    return project


def _requirements(package: pathlib.Path) -> set[str]:
    """The distributions in its requirements.txt."""
    lines = (package.parent / 'requirements.txt').read_text().splitlines()
    words = [line.partition('#')[0].strip() for line in lines]
    return {canonicalize_name(Requirement(each).name)
            for each in words if each}


def _imports(package: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Each module that a file imports, by its top-level name."""
    for path in package.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import():
                    for alias in node.names:
                        yield path, alias.name.partition('.')[0]
                case ast.ImportFrom(module=str(module), level=0):
                    yield path, module.partition('.')[0]


def _distributions_imported(package: pathlib.Path) -> set[str]:
    """The distributions that its modules, apart from tests, need."""
    of_module = importlib.metadata.packages_distributions()
    own = sys.stdlib_module_names | {package.name}
    return {canonicalize_name(of_module.get(module, [module])[0])
            for path, module in _imports(package)
            if module not in own
            and 'unit' not in path.relative_to(package).parts}


def _dependencies(distribution: str) -> set[str]:
    """What is installed with it, as far as it is installed here."""
    found: set[str] = set()
    missing = [distribution]
    while missing:
        name = canonicalize_name(missing.pop())
        if name in found:
            continue
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        requirements = [Requirement(each) for each in required]
        missing += [each.name for each in requirements
                    if not each.marker or each.marker.evaluate({'extra': ''})]
    return found


def test_the_distributions_have_one_version(
        monkeypatch: pytest.MonkeyPatch) -> None:
    versions = set()
    for package in _PACKAGES:
        monkeypatch.chdir(package.parent)
        project = _project(package)
        assert 'version' in project['dynamic']
        versions.add(pbr.packaging.get_version(project['name']))
    assert len(versions) == 1


@pytest.mark.parametrize('package', _PACKAGES, ids=lambda path: path.name)
def test_pbr_and_devstack_find_the_name_in_setup_cfg(
        package: pathlib.Path) -> None:
    assert (f"name = {_project(package)['name']}\n"
            in (package.parent / 'setup.cfg').read_text())


def test_the_distributions_have_the_same_metadata() -> None:
    driver, *others = [_project(package) for package in _PACKAGES]
    for other in others:
        for key in ('authors', 'license', 'requires-python', 'urls'):
            assert other[key] == driver[key], key
        assert (set(other['classifiers']) ^ set(driver['classifiers'])
                <= {'Typing :: Typed'})


@pytest.mark.parametrize('package', _PACKAGES, ids=lambda path: path.name)
def test_a_typed_package_says_so(package: pathlib.Path) -> None:
    assert (('Typing :: Typed' in _project(package)['classifiers'])
            == (package / 'py.typed').exists())


def test_zuul_runs_pythons_that_the_metadata_names() -> None:
    project, *jobs = yaml.safe_load((_TOP / '.zuul.yaml').read_text())
    names = project['project']['check']['jobs']
    pythons = {f'Programming Language :: Python :: 3.{found[1]}'
               for name in names
               if (found := re.fullmatch(r'openstack-tox-py3(\d+)', name))}
    assert pythons
    assert pythons <= set(_project(_DRIVER)['classifiers'])
    assert {each['job']['name'] for each in jobs} < set(names)


@pytest.mark.parametrize('package', [_CLIENT, _TEMPEST],
                         ids=lambda path: path.name)
def test_what_uses_apis_only_imports_no_server(package: pathlib.Path) -> None:
    assert [(str(path.relative_to(_TOP)), module)
            for path, module in _imports(package)
            if module in ('cinder', 'os_brick', 'cinder_lvm_manage')] == []


def test_the_driver_does_not_import_its_clients() -> None:
    assert ({module for _, module in _imports(_DRIVER)}
            & {_CLIENT.name, _TEMPEST.name} == set())


@pytest.mark.parametrize('package', [_CLIENT, _TEMPEST],
                         ids=lambda path: path.name)
def test_what_uses_apis_only_installs_no_server(
        package: pathlib.Path) -> None:
    installed = set().union(*map(_dependencies, _requirements(package)))
    assert installed & _SERVER_SIDE == set()


@pytest.mark.parametrize(('package', 'unimported'), [
    (_DRIVER, set()),
    # The commands are its plugin.
    (_CLIENT, {'python-openstackclient'}),
    (_TEMPEST, set()),
], ids=['driver', 'client', 'tempest'])
def test_what_is_imported_is_required_and_nothing_else(
        package: pathlib.Path, unimported: set[str]) -> None:
    assert (_distributions_imported(package) | unimported
            == _requirements(package))


def test_devstack_installs_only_requirements_without_any_version(
        tmp_path: pathlib.Path) -> None:
    requirements = tmp_path / 'requirements.txt'
    requirements.write_text('# A comment\n\n'
                            'pytest>=99999  # MIT\n'
                            'no-such-distribution>=1.0,<2 # Apache-2.0\n'
                            'No.Such.Other\n')
    printed = subprocess.check_output(
        [sys.executable, _TOP / 'devstack' / 'absent_requirements.py',
         requirements], text=True)
    assert set(printed.split()) == {'no-such-distribution<2,>=1.0',
                                    'No.Such.Other'}
