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

"""Translates this package's errors into Cinder's, and logs them."""

from __future__ import annotations

from collections.abc import Callable
import functools
import inspect
import typing

from cinder import exception
from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.rules import Kind
from cinder_lvm_manage.verdict import NotManageable

LOG = logging.getLogger(__name__)

_Arguments = typing.ParamSpec('_Arguments')
_Result = typing.TypeVar('_Result')
_Method = Callable[_Arguments, _Result]


class VolumeLocked(exception.VolumeBackendAPIException):
    """An LV of a shared group is active on another host.

    peers.routed catches it.

    :ivar lv_name: the LV, or the origin of a thick snapshot
    """

    def __init__(self, error: errors.LockedElsewhere) -> None:
        super().__init__(data=str(error))
        self.lv_name = error.lv_name


def translated(action: str) -> Callable[[_Method[_Arguments, _Result]],
                                        _Method[_Arguments, _Result]]:
    """Decorate a method of the driver: its errors become Cinder's.

    Each is logged in one line, because Cinder shows no more than a status, and
    logs a traceback. LockedElsewhere is not: another host may do the work.

    :param action: completes "Failed to ..."; formatted with the method's
        arguments
    """
    def decorate(method: _Method[_Arguments, _Result]
                 ) -> _Method[_Arguments, _Result]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def translating(*args: _Arguments.args,
                        **kwargs: _Arguments.kwargs) -> _Result:
            try:
                return method(*args, **kwargs)
            except errors.LockedElsewhere as exc:
                raise VolumeLocked(exc) from exc
            except errors.LVMManageError as exc:
                error = exc
            # Outside the except clause: in it, oslo.log would append the
            # error to the line that ends with it.
            given = signature.bind(*args, **kwargs).arguments
            existing_ref = abridged(given.get('existing_ref'))
            refused = isinstance(error, (errors.InvalidReference,
                                         errors.InvalidPage, NotManageable))
            LOG.log(logging.WARNING if refused else logging.ERROR,
                    'Failed to %(action)s: %(error)s',
                    {'action': action.format(
                        **given | {'existing_ref': existing_ref}),
                     'error': error})
            # The traceback of a refusal adds nothing to its message.
            raise _cinders(error, existing_ref) from (
                None if refused else error)

        return translating
    return decorate


def without_attribute_errors(method: _Method[_Arguments, _Result]
                             ) -> _Method[_Arguments, _Result]:
    """Decorate a listing: an AttributeError becomes Cinder's error.

    Cinder takes one to mean that the driver cannot list, and answers with an
    empty list (cinder/volume/manager.py, get_manageable_volumes and
    get_manageable_snapshots).
    """
    @functools.wraps(method)
    def guarded(*args: _Arguments.args,
                **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return method(*args, **kwargs)
        except AttributeError as exc:
            raise exception.VolumeDriverException(message=repr(exc)) from exc

    return guarded


def _cinders(error: errors.LVMManageError,
             existing_ref: str) -> exception.CinderException:
    if isinstance(error, NotManageable):
        if error.verdict.kind is Kind.ALREADY_MANAGED:
            return exception.ManageExistingAlreadyManaged(
                volume_ref=str(error))
        if error.verdict.kind is Kind.TYPE_MISMATCH:
            return exception.ManageExistingVolumeTypeMismatch(
                reason=str(error))
    if isinstance(error, (errors.InvalidReference, NotManageable)):
        return exception.ManageExistingInvalidReference(
            existing_ref=existing_ref, reason=str(error))
    if isinstance(error, errors.InvalidPage):
        return exception.InvalidInput(reason=str(error))
    return exception.VolumeBackendAPIException(data=str(error))
