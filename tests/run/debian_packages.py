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

"""Debian's packages, from where this machine's apt gets its packages.

They are unpacked into folders. None is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
import platform
import subprocess


def unpack_release(release: str, target: pathlib.Path, variant: str,
                   packages: Sequence[str]) -> None:
    """Make a root file system with mmdebstrap.

    :param release: Debian's name for it, such as trixie
    :param target: a folder, or a tar file if its name says so
    :param variant: of mmdebstrap: "extract" only unpacks the packages, and
        others also configure them
    :param packages: more packages than those of the variant
    """
    subprocess.run(
        ['mmdebstrap', '--quiet', f'--variant={variant}',
         f"--include={','.join(packages)}", release, target,
         *apt_sources(release)], check=True)


def apt_sources(release: str) -> list[str]:
    """Return lines for sources.list: where apt gets this machine's release.

    :param release: the name of another Debian release to get from there
    :raises RuntimeError: apt has no lists of packages
    """
    running = platform.freedesktop_os_release()['VERSION_CODENAME']
    listed = _output(
        'apt-get', 'indextargets', '--format',
        '$(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages',
        'Origin: Debian')
    lines = [line.replace(f' {running}', f' {release}')
             for line in listed.splitlines() if f' {running}' in line]
    if not lines:
        raise RuntimeError(f'apt has no packages of Debian {running}: run '
                           '`apt-get update`, then retry')
    return [f'deb {line}' for line in dict.fromkeys(lines)]


def unpack_kernel(folder: pathlib.Path, meta_package: str,
                  *packages: str) -> None:
    """Download and unpack the newest kernel of this machine's release.

    :param folder: for the files; it must exist, and have no packages
    :param meta_package: depends on the kernel, as linux-image-amd64 does
    :param packages: more packages to unpack, without their dependencies
    """
    _output('apt-get', 'update', '-qq')
    kernel, = (words[1] for line in
               _output('apt-cache', 'depends', meta_package).splitlines()
               if (words := line.split())[0] == 'Depends:')
    _output('apt-get', 'download', '-qq', '-o', 'APT::Sandbox::User=root',
            kernel, *packages, cwd=folder)
    for archive in folder.glob('*.deb'):
        _output('dpkg', '--extract', archive, folder)
        archive.unlink()


def _output(*command: str | pathlib.Path,
            cwd: pathlib.Path | None = None) -> str:
    return subprocess.check_output(command, cwd=cwd, text=True)
