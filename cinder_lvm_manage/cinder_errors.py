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

"""This package's errors in Cinder's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cinder import exception
from cinder.objects.base import CinderPersistentObject
import decorator
from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.rules import Kind

LOG = logging.getLogger(__name__)


@decorator.decorator
def in_cinders_words(method: Callable[..., Any], *args: Any,
                     **kwargs: Any) -> Any:
    """Turn this package's errors out of a driver's method into Cinder's.

    Those of a volume or snapshot are logged in one line, for Cinder itself
    shows no more than a status, and logs no more than a traceback.
    """
    try:
        return method(*args, **kwargs)
    except errors.LVMManageError as exc:
        error = exc
    except AttributeError as exc:
        # Cinder takes it for a driver without listing and answers with an
        # empty list (cinder/volume/manager.py, get_manageable_volumes).
        raise exception.VolumeDriverException(message=repr(exc)) from exc
    # Out of the except clause, where oslo.log would say the reasons twice.
    refused = isinstance(error, (errors.InvalidReference,
                                 errors.NotManageable))
    for resource in args:
        # A listing is given a list of Cinder's, which is none.
        if isinstance(resource, CinderPersistentObject):
            LOG.log(logging.WARNING if refused else logging.ERROR, '%s',
                    _line(method.__name__, resource, args[-1], error))
            break
    # The traceback of a refusal tells nothing that the line does not.
    raise _translated(error, args[-1]) from (None if refused else error)


def _line(method: str, resource: CinderPersistentObject,
          existing_ref: object, why: errors.LVMManageError) -> str:
    what = f'{resource.obj_name().lower()} {resource.id}'
    if method.startswith('manage_existing'):
        return (f'Existing LV {abridged(existing_ref)} is not managed as '
                f'{what}: {why}')
    return f'{method} of {what} has failed: {why}'


def _translated(error: errors.LVMManageError,
                existing_ref: object) -> exception.CinderException:
    if isinstance(error, errors.NotManageable):
        if error.verdict.kind is Kind.ALREADY_MANAGED:
            return exception.ManageExistingAlreadyManaged(
                volume_ref=str(error))
        if error.verdict.kind is Kind.TYPE_MISMATCH:
            return exception.ManageExistingVolumeTypeMismatch(
                reason=str(error))
    if isinstance(error, (errors.InvalidReference, errors.NotManageable)):
        return exception.ManageExistingInvalidReference(
            existing_ref=abridged(existing_ref), reason=str(error))
    if isinstance(error, errors.InvalidPage):
        return exception.InvalidInput(reason=str(error))
    return exception.VolumeBackendAPIException(data=str(error))
