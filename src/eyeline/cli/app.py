"""All verbs behind one name, and what an error looks like: one line on standard error and an exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import typer
import typer.core

from eyeline.errors import EyelineError, GateError, Interrupted, nearest, one_line

# Module of each verb and its line in the overview. A verb's own file is imported when it is used, so that
# `eyeline --help` and `eyeline predict` start fast.
VERBS = {
    "demo": "The main job on real solar cells: train, evaluate, ship and report in minutes.",
    "check": "Find what would spoil an inspector: broken files, duplicates, leaks, wrong labels.",
    "train": "Train an inspector on labelled images; writes model.onnx and report.html.",
    "evaluate": "Measure an inspector on labelled images, with intervals.",
    "appraise": "The inspector as one appraiser among people: agreement study (MSA).",
    "predict": "A verdict on each image: csv, jsonl or parquet.",
    "learn": "What more parts would bring, and which images to label next.",
    "pod": "How large a defect must be to be found: probability of detection by size.",
    "monitor": "Compare a shift of verdicts with the run; an alarm voids the promise.",
    "explain": "Draw where an inspector looked.",
    "export": "Another artifact of a run: fp32, or int8 when that keeps its figures.",
    "bench": "Measure speed here: engine, threads, batch; keep the fastest choice.",
    "sign": "Sign an artifact with an Ed25519 key, or make a key.",
    "verify": "Check an artifact: hash, signature, contract, golden images.",
    "describe": "Measure a network layer by layer: cost, memory, receptive field.",
    "claims": "Rerun what textbooks say of convolutional networks: holds, fails or inconclusive.",
    "networks": "List the networks that can be built, with their cost.",
}

EPILOG = (
    "Start with: eyeline demo. Then: eyeline check photos/ and eyeline train photos/ (one subfolder a class)."
)


class Verbs(typer.core.TyperGroup):
    """Verbs that are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in VERBS:
            raise EyelineError(f"unknown verb {args[0]!r}", code="usage", hint=nearest(args[0], VERBS))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        # Only the overview asks for a verb it does not run; its line is known without the import.
        if ctx.resilient_parsing or not _is_called(cmd_name):
            return typer.core.TyperCommand(cmd_name, short_help=VERBS[cmd_name], help=VERBS[cmd_name])
        module = importlib.import_module(f"eyeline.cli.{cmd_name}")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(cmd_name)(getattr(module, cmd_name))
        return typer.main.get_command(app)


def _is_called(name: str) -> bool:
    return next((word for word in _arguments if not word.startswith("-")), None) == name


_arguments: list[str] = []
application = typer.Typer(
    cls=Verbs,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    help="Eyeline: a few hundred labelled photos in, one .onnx inspector you can trust out.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from eyeline import __version__

        sys.stdout.write(f"eyeline {__version__}\n")
        raise typer.Exit


@application.callback()
def options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Options before the verb; `run` has taken --debug out, wherever it stood."""


CTRL_C = 130  # what typer returns, without a word, in place of raising KeyboardInterrupt
INTERRUPTED = (
    "interrupted; nothing half-written is left (a run that was begun goes on with: train --resume RUN)"
)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code.

    0 done, 1 findings or a failed gate, 2 wrong use or bad input, 75 interrupted but resumable.
    """
    debug = "--debug" in arguments
    _arguments[:] = [word for word in arguments if word != "--debug"] or ["--help"]
    command: Any = typer.main.get_command(application)
    try:
        result = int(command.main(_arguments, prog_name="eyeline", standalone_mode=False) or 0)
        return _fail(INTERRUPTED, 75, debug=False) if result == CTRL_C else result
    except Interrupted as error:
        return _fail(error.one_line(), 75, debug)
    except GateError as error:
        return _fail(error.one_line(), 1, debug)
    except EyelineError as error:
        return _fail(error.one_line(), 2, debug)
    except typer.Exit as request:
        return int(request.exit_code)
    except typer.TyperException as error:
        where = getattr(error, "ctx", None)
        hint = f" (see {where.command_path} --help)" if where is not None else ""
        return _fail(f"{error.format_message()}{hint}", 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(INTERRUPTED, 75, debug)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; say nothing more
        return 0
    except ModuleNotFoundError as error:
        if debug:
            raise
        extra = {"elpv_dataset": "demo", "openvino": "openvino", "cryptography": "sign"}.get(
            str(error.name), "train"
        )
        return _fail(f"the package {error.name} is not installed (pip install 'eyeline[{extra}]')", 2, debug)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _fail(f"{name}{error.strerror or error}", 2, debug)


def _fail(message: str, code: int, debug: bool) -> int:
    if debug and sys.exc_info()[0] is not None:
        raise
    sys.stderr.write(f"eyeline: {one_line(message)}\n")
    return code
