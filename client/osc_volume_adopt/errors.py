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

"""The errors of these commands, and the text that an operator reads."""

from __future__ import annotations

import re
from urllib import parse

from keystoneauth1 import exceptions as connection_errors
from openstack import exceptions

_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
# What the two libraries that talk to Cinder and Keystone raise.
API_ERRORS = (exceptions.SDKException, connection_errors.ClientException)


class AdoptionError(Exception):
    """The root of this package's errors; its text is for the operator."""


class InputError(AdoptionError):
    """A plan, a CSV file or an option is wrong."""


class JournalError(AdoptionError):
    """The journal cannot be used."""


class BackendError(AdoptionError):
    """The backend does not exist, is down, or does not list LVs."""


class TokenError(AdoptionError):
    """Keystone issues no token for a project."""


class ChecksFailed(AdoptionError):
    """A check found that a plan cannot be applied, or a run not undone."""


class OneVolumeError(AdoptionError):
    """An error of one volume; equal causes have equal texts.

    :ivar remedy: what to do about it, or which volume it is; empty if there
        is nothing to add
    """

    def __init__(self, text: str, remedy: str = '') -> None:
        super().__init__(text)
        self.remedy = remedy


class VolumeFailed(OneVolumeError):
    """One volume could not be adopted or unmanaged."""


class OutcomeUnknown(OneVolumeError):
    """Cinder has not reported the outcome for a volume; a retry finds it."""


def explain(exc: Exception) -> str:
    """Return what failed, why, and what to do, as one text.

    Without the IDs in the path of a request: equal causes have equal texts.
    """
    if not isinstance(exc, exceptions.HttpException):
        return str(exc)
    path = _UUID.sub('ID', parse.urlsplit(exc.url or '').path)
    request = f'{exc.method} {path}'
    answer = f'HTTP {exc.status_code}, {exc.details or exc.message}'
    match exc.status_code:
        case 401:
            return (f'Authentication failed for {request} ({answer}). The '
                    'token is invalid or has expired: authenticate again, '
                    'then retry.')
        case 403:
            return (f'This needs an administrator: {request} was refused '
                    f'({answer}). Use credentials with the admin role.')
        case status if status and status >= 500:
            return (f'The server failed to process {request} ({answer}). See '
                    'the logs of cinder-api and cinder-volume.')
    return f'{request} was refused ({answer}).'
