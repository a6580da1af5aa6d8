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

"""Which LVs `list` shows and `plan` plans, as their options say."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
import fnmatch

from oslo_utils import units

from osc_volume_adopt import arguments
from osc_volume_adopt.manageable import Manageable


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that selected() reads."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--safe', action='store_const', const=True,
                       help='only those that are safe to manage')
    group.add_argument('--unsafe', dest='safe', action='store_const',
                       const=False,
                       help='only those that are not safe to manage')
    arguments.add_globs(parser, '--match',
                        'only those with a matching name, for example '
                        '`vm-*-disk-?`')
    arguments.add_globs(parser, '--exclude', 'none with a matching name')
    arguments.add_globs(parser, '--tag', 'only those with a matching LVM tag')
    arguments.add_globs(parser, '--owner',
                        'only those that a matching system created, for '
                        'example `Proxmox*`')
    arguments.add_globs(parser, '--contents',
                        'only those with matching contents, for example '
                        '`*ext4*`')
    parser.add_argument('--larger', metavar='<GiB>', type=arguments.size,
                        default=-1,
                        help='only those larger than this size in GiB')


def selected(lvs: Iterable[Manageable], parsed: argparse.Namespace
             ) -> Iterator[Manageable]:
    """Yield the LVs that the options select.

    Owner and contents are matched regardless of case: they are descriptions.
    """
    for lv in lvs:
        size = lv.gib * units.Gi if lv.size is None else lv.size
        if (parsed.safe in (None, lv.safe)
                and size > parsed.larger * units.Gi
                and _any(parsed.match, [lv.name])
                and not (parsed.exclude and _any(parsed.exclude, [lv.name]))
                and _any(parsed.tag, lv.tags.split(','))
                and _any(_lower(parsed.owner), [lv.owner.lower()])
                and _any(_lower(parsed.contents), [lv.contents.lower()])):
            yield lv


def _any(globs: list[str], texts: list[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(text, glob)
                            for text in texts for glob in globs)


def _lower(globs: list[str]) -> list[str]:
    return [glob.lower() for glob in globs]
