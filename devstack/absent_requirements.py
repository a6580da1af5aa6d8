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

"""Prints the requirements in a file for which no version is installed."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.metadata
import pathlib
import sys

from packaging.requirements import Requirement


def absent(requirements: str) -> Iterator[str]:
    """Yield those whose distribution is not installed, without comments.

    :param requirements: the text of a requirements file
    """
    for line in requirements.splitlines():
        text = line.partition('#')[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        try:
            importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f'{requirement.name}{requirement.specifier}'


if __name__ == '__main__':
    print(*absent(pathlib.Path(sys.argv[1]).read_text()))
