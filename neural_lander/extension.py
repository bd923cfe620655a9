"""What a user adds by naming ``module:Class`` on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from neural_lander.errors import FOREIGN, UserError


def load_named(name: str, what: str, example: str) -> Any:
    """The attribute that ``module:Class`` names, the working folder included.

    Parameters
    ----------
    what
        For errors: effect, controller.

    Raises
    ------
    UserError
        If the name is malformed or cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UserError(f"{what} '{name}' must be written module:Class, for example {example}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except FOREIGN as error:
        raise UserError(
            f"{what} '{name}': module '{module_name}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f"{what} '{name}': module '{module_name}' has no '{attribute}'")
    return getattr(module, attribute)
