"""Pairs of submissions that are suspiciously alike, by winnowing (Schleimer, Wilkerson and Aiken, 2003), for a person to read."""

import html
import io
import itertools

from . import masters, reader, reports

LENGTH, WINDOW = 20, 4  # tokens of a fingerprint, and how many of them one is kept of


def own_code(master, cohort, student, content):
    """Return what a student wrote, code and texts, without what everybody was given."""
    merged = reader.merge(master, cohort, reader.read_notebook(content), student)
    return "\n\n".join([source for _, source, locked in merged.steps if not locked])


def pairs(master, cohort, submissions, least=0.8):
    """Return pairs whose code overlaps, the most alike first.

    What the release gave to everybody does not count, and neither do names, comments and layout.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    cohort : str
    submissions : list of helpers.coursework.collecting.Submission
    least : float
        Share of the smaller one's tokens that must be found in the other.

    Returns
    -------
    list of dict
        ``one``, ``other``, ``share``, ``tokens`` and the two codes.
    """
    from copydetect import CodeFingerprint, compare_files

    given = "\n\n".join(c.source for c in masters.release(master, cohort).cells if c.cell_type == "code")
    known = list(CodeFingerprint("given.py", LENGTH, 1, fp=io.StringIO(given)).hashes)
    codes = {}
    for submission in submissions:
        try:
            codes[submission.student] = own_code(master, cohort, submission.student, submission.content)
        except reader.Unreadable:
            continue
    prints = {student: CodeFingerprint(f"{student}.py", LENGTH, WINDOW, boilerplate=known, fp=io.StringIO(code)) for student, code in codes.items() if code.strip()}
    found = []
    for one, other in itertools.combinations(sorted(prints), 2):
        if not prints[one].hashes or not prints[other].hashes:
            continue
        tokens, shares, _ = compare_files(prints[one], prints[other])
        if max(shares) >= least:
            found.append({"one": one, "other": other, "share": float(max(shares)), "tokens": int(tokens), "codes": (codes[one], codes[other])})
    return sorted(found, key=lambda pair: (-pair["share"], -pair["tokens"]))


def page(found, title, count):
    """Return the report as HTML: each pair's two codes side by side. It says what the numbers do not say."""
    rows = []
    for pair in found:
        columns = "".join(f"<td><pre>{html.escape(code)}</pre></td>" for code in pair["codes"])
        rows.append(f"<h2>{html.escape(pair['one'])} and {html.escape(pair['other'])}: {pair['share']:.0%}, {pair['tokens']} tokens</h2><table><tr>{columns}</tr></table>")
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{len(found)} pairs among {count} submissions. Short tasks have few right answers, and students who learn together write alike: "
            "a pair is a reason to read both and to ask, and no verdict.</p>", *rows]
    return reports.PAGE.format(title=html.escape(title), body="\n".join(body))
