"""Where a submission's code runs: in bubblewrap, without network, without the grader's files, with limits."""

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import sys

HELPERS = pathlib.Path(__file__).resolve().parents[1]
HELP = """Student code is not run here: {why}.
Linux: install bubblewrap (apt install bubblewrap, dnf install bubblewrap). Ubuntu 24.04 and later also need an AppArmor profile
that lets bwrap make user namespaces (see the instructor guide). macOS, Windows, Colab: grade in a Linux machine or container.
To run every submission with your own rights all the same: --i-trust-every-submission"""


# What bubblewrap itself is given: the first process inside is bubblewrap's own and shows its environment in /proc/1/environ.
CLEAN = {"PATH": os.defpath, "LANG": "C.UTF-8"}


class NoSandbox(RuntimeError):
    """No sandbox can be had on this machine; says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a submission may use; the defaults fit TensorFlow on two cores.

    Attributes
    ----------
    memory : int
        Megabytes, of all its processes together (and of address space for each, with room for what TensorFlow maps).
    processes : int
        Processes and threads.
    disk : int
        Megabytes in its only writable folder, which lies in memory.
    cell, total : float
        Seconds for a cell or test, and for everything.
    """

    memory: int = 4000
    processes: int = 256
    disk: int = 256
    cell: float = 60.0
    total: float = 300.0


def command(limits, inside=None):
    """Return the command line that starts the worker, or another command inside, in a sandbox.

    Parameters
    ----------
    limits : Limits
    inside : list of str, optional

    Returns
    -------
    list of str
    """
    python = os.path.abspath(sys.executable)
    settings = {
        "PATH": f"{os.path.dirname(python)}:/usr/bin:/bin", "HOME": "/scratch", "TMPDIR": "/scratch", "LANG": "C.UTF-8",
        "PYTHONPATH": "/course", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/scratch", "IPYTHONDIR": "/scratch/ipython", "KERAS_HOME": "/scratch/keras", "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
    }
    line = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--clearenv"]
    for name, value in settings.items():
        line += ["--setenv", name, value]
    line += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        folder = pathlib.Path("/", name)
        if folder.is_symlink():
            line += ["--symlink", os.readlink(folder), str(folder)]
        elif folder.exists():
            line += ["--ro-bind", str(folder), str(folder)]
    for path in ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives"):
        line += ["--ro-bind-try", path, path]
    for folder in dict.fromkeys(os.path.abspath(p) for p in (sys.base_prefix, sys.prefix)):
        if not folder.startswith("/usr/"):
            line += ["--ro-bind", folder, folder]
    line += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
             "--size", str(limits.disk << 20), "--tmpfs", "/scratch", "--ro-bind", str(HELPERS), "/course/helpers", "--remount-ro", "/", "--chdir", "/scratch", "--"]
    return line + (inside or [python, "-s", "-u", "-B", "/course/helpers/coursework/worker.py"])


def start(limits, trusted=False, **settings):
    """Start the worker and return its process.

    The arguments of bubblewrap go through a pipe, and its environment is empty: inside, both would show.

    Parameters
    ----------
    limits : Limits
    trusted : bool
        Run without a sandbox.
    **settings
        Of :class:`subprocess.Popen`.

    Returns
    -------
    subprocess.Popen
    """
    if trusted:
        line = [sys.executable, "-s", "-u", "-B", str(HELPERS / "coursework/worker.py")]
        environment = os.environ | {"PYTHONPATH": str(HELPERS.parent), "MPLBACKEND": "Agg"}
        return subprocess.Popen(line, env=environment, start_new_session=True, **settings)
    line = command(limits)
    place = line.index("--")
    read, write = os.pipe()
    try:
        os.write(write, b"".join(part.encode() + b"\0" for part in line[1:place]))  # far below the 64 KB that a pipe holds
        os.close(write)
        return subprocess.Popen(["bwrap", "--args", str(read), *line[place:]], pass_fds=(read,), start_new_session=True, env=CLEAN, **settings)
    finally:
        os.close(read)


@functools.cache
def check():
    """Run ``true`` in a sandbox, since an installed bubblewrap may still be forbidden.

    Raises
    ------
    NoSandbox
        With what to do.
    """
    if not sys.platform.startswith("linux"):
        raise NoSandbox(HELP.format(why=f"the sandbox needs Linux, this is {sys.platform}"))
    if not shutil.which("bwrap"):
        raise NoSandbox(HELP.format(why="bubblewrap (bwrap) is not installed"))
    done = subprocess.run(command(Limits(), ["/usr/bin/true"]), capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise NoSandbox(HELP.format(why=f"bubblewrap does not work: {done.stderr.strip()[:300]}"))
