"""What the commands on MLflow's registry have in common: their options, and the registered model that these name."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.config.options.tracking import TrackingOptions
from pipelines.registry.registry import Registry, names
from pipelines.system.arguments import Parser
from pipelines.system.slug import slug
from stages.errors import InputError


def registry_parser(name: str, description: str) -> Parser:
    parser = Parser(prog=f"detpress {name}", description=description)
    parser.add_argument("--name", help="the registered model, where there are several")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--uri", help="another MLflow store, as in tracking.uri (default: that under --artifacts)")
    return parser


def named_registry(options: argparse.Namespace) -> Registry:
    """The registered model that ``--name`` names, or the only one."""
    artifacts = Path(options.artifacts).resolve()
    tracking = TrackingOptions(uri=options.uri, folder=str(artifacts / "mlflow"))
    if not options.uri and not (artifacts / "mlflow" / "mlflow.db").is_file():
        raise InputError(f"there is no MLflow store under {artifacts}; name its folder with --artifacts, or --uri")
    known = names(tracking)
    if options.name is None and len(known) != 1:
        text = "has no registered engine yet; `detpress retrain` makes one" if not known else "has several"
        raise InputError(f"MLflow's registry {text}{': choose with --name ' if known else ''}{', '.join(known)}")
    name = options.name or known[0]
    if name not in known:
        raise InputError(f"{name} is not in MLflow's registry; there is {', '.join(known) or 'none'}")
    return Registry(tracking, name, artifacts / "retrain" / slug(name) / "alias.lock")
