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

"""Arguments that several commands have, and what their values are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import pathlib
from typing import TypeVar

_Number = TypeVar('_Number', int, float)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the path of a plan, as the only positional argument."""
    parser.add_argument('plan', metavar='<plan>', type=pathlib.Path,
                        help='plan file, as written by the plan command')


def add_globs(parser: argparse.ArgumentParser, option: str, help_: str
              ) -> None:
    """Add an option with a glob that can be repeated.

    :param help_: what the option does, without the words about repeating it
    """
    parser.add_argument(option, metavar='<glob>', action='append', default=[],
                        help=f'{help_} (repeat for more)')


def whole_number(text: str) -> int:
    """Return a whole number from 0.

    :raises argparse.ArgumentTypeError: the text is something else
    """
    return _number(text, int, 'a whole number', 0)


def positive_number(text: str) -> int:
    """Return a whole number from 1.

    :raises argparse.ArgumentTypeError: the text is something else
    """
    return _number(text, int, 'a whole number', 1)


def size(text: str) -> float:
    """Return a size in GiB, which may have a fraction.

    :raises argparse.ArgumentTypeError: the text is something else
    """
    return _number(text, float, 'a number', 0)


def _number(text: str, convert: Callable[[str], _Number], kind: str,
            least: int) -> _Number:
    try:
        number = convert(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f'{text!r} is not {kind}') from exc
    if not least <= number < float('inf'):
        raise argparse.ArgumentTypeError(f'must be {least} or more')
    return number
