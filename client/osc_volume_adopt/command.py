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

"""What all commands have in common."""

from __future__ import annotations

import argparse
from typing import Any

from osc_lib import exceptions as osc_exceptions
from osc_lib.command import command

from osc_volume_adopt import errors
from osc_volume_adopt.api import CinderApi

# Ends the help of a command. The client itself exits with 1 after an error, 2
# if arguments are invalid, and 130 after Ctrl-C.
EXIT_STATUS = """
exit status::

  0    success
  1    an error, described on stderr
  2    invalid arguments
  130  interrupted by Ctrl-C
"""


class Command(command.Command):
    """A command with access to Cinder, whose expected errors are messages."""

    @property
    def api(self) -> CinderApi:
        """Cinder, as the client's options say."""
        # plugin.py makes it an attribute.
        manager: Any = self.app.client_manager
        api: CinderApi = manager.volume_adoption
        return api

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        # Keeps the lines of the examples.
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; show every expected error as a CommandError.

        The client prints that on stderr and exits with status 1.
        """
        try:
            return super().run(parsed_args)
        except (errors.AdoptionError, *errors.API_ERRORS) as exc:
            raise osc_exceptions.CommandError(errors.explain(exc)) from exc
