"""Sections of a Markdown page that scripts write."""
import pathlib
import re


def put_section(path, heading, text):
    """In place of an earlier section of the same heading, or at the end."""
    path = pathlib.Path(path)
    page = path.read_text() if path.exists() else "# Benchmarks\n"
    found = re.search(re.escape(heading) + r"(.*\n)*?(?=## |\Z)", page)
    page = page[:found.start()] + text + "\n" + page[found.end():] if found else page.rstrip("\n") + "\n\n" + text
    path.write_text(page.rstrip("\n") + "\n")
