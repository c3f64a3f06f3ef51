"""The process of somebody who calls us from Python, a notebook for example: afterwards it is as it was before.

Commands own their process and may set what they like. A call does not: environment variables (those that switch
telemetry off and shorten MLflow's patience), levels of loggers, filters of warnings, and what Hydra and OmegaConf keep
for the whole process are put back, and a config of the caller's own that Hydra has open is set aside meanwhile.
Handlers of signals are put back by who sets them (`pipelines.system.signals`).
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import threading
import warnings
from collections.abc import Iterator

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf.basecontainer import BaseContainer

from pipelines.system.failures import explained, worded
from pipelines.system.output import Kept, unprinted
from pipelines.system.paths import require_folder
from stages.errors import DetpressError

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def called(*, tell: bool = False) -> Iterator[Kept]:
    """For the length of a call: what is printed is kept, and errors have the words that a terminal would get.

    Calls from several threads wait for each other.

    Args:
        tell: print on standard error all the same.
    """
    kept = Kept(tell=tell)
    with _ONE_AT_A_TIME, _environment(), _loggers(), _hydra(), warnings.catch_warnings(), unprinted(kept):
        try:
            require_folder()
            yield kept
        except DetpressError as error:
            worded(error)
            raise
        except Exception as error:
            if (known := explained(error)) is not None:
                raise worded(known) from error
            raise


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextlib.contextmanager
def _loggers() -> Iterator[None]:
    """Those that there were; what a library sets up for its own when it is first imported is that library's."""
    root = logging.getLogger()
    known = [root, *(one for one in list(root.manager.loggerDict.values()) if isinstance(one, logging.Logger))]
    before = [(one, one.level, list(one.handlers), one.propagate, one.disabled) for one in known]
    try:
        yield
    finally:
        for one, level, handlers, propagate, disabled in before:
            one.setLevel(level)
            one.handlers[:], one.propagate, one.disabled = handlers, propagate, disabled


@contextlib.contextmanager
def _hydra() -> Iterator[None]:
    store, opened, plugins = ConfigStore.instance(), GlobalHydra.instance(), Plugins.instance()
    configs, config, resolvers = copy.deepcopy(store.repo), opened.hydra, dict(BaseContainer._resolvers)
    kinds = {kind: list(found) for kind, found in plugins.plugin_type_to_subclass_list.items()}
    names = dict(plugins.class_name_to_class)
    opened.clear()
    try:
        yield
    finally:
        store.repo = configs
        GlobalHydra.instance().hydra = config
        BaseContainer._resolvers = resolvers
        plugins.class_name_to_class = names
        plugins.plugin_type_to_subclass_list.clear()
        plugins.plugin_type_to_subclass_list.update(kinds)
