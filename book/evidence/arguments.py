"""What every evidence script is told on its command line: how many seeds."""

import argparse
import pathlib
import sys


def read_seeds(script, needs=lambda: None, default=10):
    """Return the seeds to run, a range; end with one sentence when what a script needs is missing.

    Parameters
    ----------
    script : module
        Its text describes it in ``--help``.
    needs : callable
        Loads the data once, so that a missing folder is found before hours of computing.
    default : int
        Number of seeds without ``--seeds``.
    """
    parser = argparse.ArgumentParser(description=script.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=default, help=f"number of paired seeds (default: {default})")
    seeds = range(parser.parse_args().seeds)
    try:
        needs()
    except (OSError, ValueError, ModuleNotFoundError) as error:
        sys.exit(f"{pathlib.Path(script.__file__).name}: {error}")
    return seeds
