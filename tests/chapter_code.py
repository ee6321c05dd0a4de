"""The functions that a chapter defines, taken from its text: what a reader sees is what the tests check."""

import ast

from build_notebooks import ROOT, code_cells, read_chapter


def chapter_functions(name, **given):
    """Return the functions that a chapter writes out.

    Parameters
    ----------
    name : str
        The chapter's file name without its ending.
    **given : module or object
        The names that these functions use, such as ``np=numpy``.

    Returns
    -------
    dict of str to callable
        By name; of two functions of one name the first.
    """
    found = {}
    for cell in code_cells(read_chapter(ROOT / "book/chapters" / f"{name}.md")):
        if "%pip" in cell.source:
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, node)
    module = ast.Module(body=list(found.values()), type_ignores=[])
    namespace = dict(given)
    exec(compile(module, f"{name}.md", "exec"), namespace)
    return {key: namespace[key] for key in found}
