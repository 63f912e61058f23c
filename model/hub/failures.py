"""Failures of the hub, the connection and the disk, as sentences that say what to do.

A message is made of names and numbers only: what a server replied, and the addresses that it redirected to, may contain secrets.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import FileMetadataError, GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RevisionNotFoundError
from huggingface_hub.utils import logging as hub_logging

from longview.core.atomic import FULL_DISK_ERRORS
from longview.model.errors import (
    AccessRefused,
    CacheFull,
    CacheNotWritable,
    HubUnreachable,
    ModelError,
    RepositoryNotFound,
)

log = logging.getLogger(__name__)

REQUEST_LOG = logging.getLogger("httpx2")
"""Log of the requests of the hub's client, with the whole address of each."""
_USER = re.compile(r"//[^/@]*+@")
"""A user name and a password in an address."""
OFFLINE = "HF_HUB_OFFLINE is set, so nothing is downloaded; unset it."
RESUME_ADVICE = "what was transferred is kept, and `longview models pull` resumes there"


def hub_address() -> str:
    """Return the address of the hub without a user name and a password, for messages."""
    return _USER.sub("//", constants.ENDPOINT)


def repository_page(repo_id: str) -> str:
    """Return the address of the page of a repository."""
    return f"{hub_address()}/{repo_id}"


@contextmanager
def reply_errors(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors that the hub's client has about a reply that it does not understand into an error of this package.

    `errors`: their types. The block does nothing but ask the hub, so that no bug is reported as a failure of the hub.

    Raises:
        HubUnreachable: the reply is not that of a model hub.
    """
    try:
        yield
    except OSError:
        # The client's error about a refused request is a ValueError, too.
        raise
    except errors as error:
        raise HubUnreachable(_no_hub_text()) from error


@contextmanager
def hub_errors(repo_id: str, revision: str = constants.DEFAULT_REVISION) -> Iterator[None]:
    """Turn the errors of requests to the hub and of writing to the cache into errors of this package.

    The client of the hub warns of each attempt that it repeats; only those who ask for a log see it. The addresses to which the
    hub redirects are in no log, because they are signed.

    Raises:
        HubUnreachable, AccessRefused, RepositoryNotFound, CacheFull, CacheNotWritable: what the block has failed on.
    """
    level, request_level = hub_logging.get_verbosity(), REQUEST_LOG.level
    REQUEST_LOG.setLevel(logging.WARNING)
    if not log.isEnabledFor(logging.INFO):
        hub_logging.set_verbosity_error()
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        log.info("%s: %s", repo_id, type(error).__name__)
        raise _explain(error, repo_id, revision) from error
    finally:
        hub_logging.set_verbosity(level)
        REQUEST_LOG.setLevel(request_level)


def _explain(error: BaseException, repo_id: str, revision: str) -> ModelError:
    # The client wraps the first cause: a failed request becomes "not in the cache", whose cause is the failure.
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, OfflineModeIsEnabled):
            return HubUnreachable(OFFLINE)
        if isinstance(cause, HfHubHTTPError):
            return _explain_status(cause, repo_id, revision)
        if isinstance(cause, httpx2.TimeoutException):
            return HubUnreachable(f"{hub_address()} did not answer in time; try again: {RESUME_ADVICE}.")
        if isinstance(cause, httpx2.TransportError):
            return HubUnreachable(f"There is no connection to {hub_address()}; check the network and try again: {RESUME_ADVICE}.")
        if isinstance(cause, OSError) and cause.errno is not None:
            return _explain_system_error(cause)
    if isinstance(error, FileMetadataError) or not isinstance(error, OSError):
        return HubUnreachable(_no_hub_text())
    return HubUnreachable(f"The transfer from {hub_address()} broke off; try again: {RESUME_ADVICE}.")


def _no_hub_text() -> str:
    return f"{hub_address()} does not answer as a model hub does; check HF_ENDPOINT and the network."


def _explain_status(error: HfHubHTTPError, repo_id: str, revision: str) -> ModelError:
    status, page = error.response.status_code, repository_page(repo_id)
    has_token = get_token() is not None
    if isinstance(error, GatedRepoError):
        login = "" if has_token else "log in with `hf auth login` or HF_TOKEN, "
        reason = "your account has not been granted access yet" if has_token else "the hub gives it to known users only"
        return AccessRefused(f"{repo_id} is gated, and {reason}: visit {page}, accept its conditions, {login}and pull it again.")
    if status == 401 and has_token:
        return AccessRefused(
            f"{hub_address()} does not accept the token, or there is no repository {repo_id}: check the name, and renew the "
            "token with `hf auth login` or HF_TOKEN."
        )
    if status == 401:
        return AccessRefused(
            f"There is no repository {repo_id}, or it is private: check the name, or log in with `hf auth login` or HF_TOKEN."
        )
    if status == 403:
        return AccessRefused(f"{hub_address()} refuses access to {repo_id}: visit {page}, and check what your token permits.")
    if isinstance(error, RevisionNotFoundError):
        return RepositoryNotFound(f"{repo_id} has no revision {revision}; {page} lists its branches, tags and commits.")
    if status == 404:
        return RepositoryNotFound(
            f"There is no repository {repo_id} on {hub_address()}, or a file of it is gone; check the name."
        )
    if status == 429:
        return HubUnreachable(f"{hub_address()} receives too many requests from here (429); wait and try again: {RESUME_ADVICE}.")
    return HubUnreachable(f"{hub_address()} failed ({status}); try again later: {RESUME_ADVICE}.")


def _explain_system_error(error: OSError) -> ModelError:
    folder = constants.HF_HUB_CACHE
    if error.errno in FULL_DISK_ERRORS:
        return CacheFull(
            f"The disk is full: the Hugging Face cache {folder} has no space left. Free space, or set HF_HOME to a folder on "
            "another disk. Finished files are kept; one that did not fit was deleted."
        )
    return CacheNotWritable(
        f"The Hugging Face cache {folder} cannot be written ({error.strerror}); set HF_HOME to a folder of yours."
    )
