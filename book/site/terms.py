"""Links from the chapters to the glossary: the first time a chapter uses a term, the term is a link."""

import re

from bs4 import BeautifulSoup, NavigableString

# No link inside these: it would be in a link already, in code, in a formula or in a heading.
CLOSED = {"a", "code", "pre", "h1", "h2", "h3", "h4", "summary", "script", "style", "figure", "button", "table"}


def link_terms(body, terms):
    """Turn the first use of each glossary term in a page's paragraphs into a link.

    Parameters
    ----------
    body : str
        HTML of a page's content.
    terms : dict of str to str
        Address by term.

    Returns
    -------
    str
        The HTML with the links.
    """
    soup = BeautifulSoup(body, "html.parser")
    texts = [text for block in soup.find_all(["p", "li"]) for text in block.find_all(string=True) if not is_closed(text)]
    # Longer terms first: "learning rate schedule" must not be taken for "learning rate".
    for term in sorted(terms, key=len, reverse=True):
        pattern = re.compile(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", re.IGNORECASE)
        for place, text in enumerate(texts):
            if text.parent is not None and (found := pattern.search(text)):
                link = soup.new_tag("a", href=terms[term], attrs={"class": "term"})
                link.string = found.group()
                before, after = NavigableString(text[: found.start()]), NavigableString(text[found.end() :])
                text.replace_with(before, link, after)
                texts[place : place + 1] = [before, after]
                break
    return str(soup)


def is_closed(text):
    """Tell whether there is to be no link in a text; an exercise's bold name is a heading, too."""
    for parent in text.parents:
        if parent.name in CLOSED or "math" in parent.get("class", []):
            return True
        if parent.name == "strong" and re.match(r"\d+\.", parent.get_text()):
            return True
    return False


def add_links(app, pagename, templatename, context, doctree):
    """Link a chapter's terms to the glossary.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.
    pagename, templatename : str
        The page and its template.
    context : dict
        What the template gets; ``body`` is changed.
    doctree : docutils.nodes.document or None
        The page's content.
    """
    if not pagename.startswith("notebooks/") or not context.get("body"):
        return
    known = app.env.domaindata["std"]["terms"]
    terms = {term: f"{context['pathto'](page)}#{label}" for term, (page, label) in known.items()}
    context["body"] = link_terms(context["body"], terms)
