"""What the outputs of a chapter depend on besides its own code: helper modules, data files, package versions."""

import ast
import hashlib
import pathlib
import re
import tomllib


def dependencies(sources, root):
    """Return what a chapter's outputs depend on.

    Helper modules count transitively, by their text. A data file or stored result counts when its name (without
    ending) stands as a string in the chapter or in one of those modules, so chapters name what they load. Of the locked
    packages those count that pyproject.toml lists under ``run``.

    Parameters
    ----------
    sources : list of str
        The chapter's code cells.
    root : pathlib.Path
        The repository.

    Returns
    -------
    dict of str to str
        File path or package name, and its SHA-256 or version.
    """
    trees = [ast.parse(without_magics(source)) for source in sources]
    modules, queue = {}, [name for tree in trees for name in helper_imports(tree)]
    while queue:
        name = queue.pop()
        path = root / "helpers" / f"{name}.py"
        if name in modules or not path.is_file():
            continue
        modules[name] = path
        tree = ast.parse(path.read_text(encoding="utf-8"))
        trees.append(tree)
        queue += helper_imports(tree)
    strings = {n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    files = [*modules.values()]
    for folder in ("datasets", "results", "samples"):
        files += [p for p in (root / "helpers" / folder).glob("*") if p.stem in strings and p.suffix in (".npz", ".json")]
    found = {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in sorted(files)}
    return found | locked_versions(root)


def without_magics(source):
    """Return a cell's code with IPython's % and ! lines replaced by ``pass``, so that Python can parse it."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def helper_imports(tree):
    """Return the names of the helper modules that a piece of code imports."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if package == "helpers" or (node.level and not package):
                found += [alias.name for alias in node.names]
            elif package.startswith("helpers.") or node.level:
                found.append(package.removeprefix("helpers.").split(".")[0])
        elif isinstance(node, ast.Import):
            found += [a.name.split(".")[1] for a in node.names if a.name.startswith("helpers.")]
    return found


def locked_versions(root):
    """Return the locked version of each package that the chapters run on."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.match(r"[\w.-]+", line)[0].lower() for line in project["optional-dependencies"]["run"]}
    locked = read_lock(root / "requirements.txt")
    return {name: " ".join(sorted(locked[name])) for name in sorted(wanted) if name in locked}


def read_lock(path):
    """Return by package name the set of versions that a lock file pins."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", pathlib.Path(path).read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name.lower(), set()).add(version)
    return found
