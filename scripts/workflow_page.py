"""Write the commands and workflows of project.yml to docs/workflow.md.

python scripts/workflow_page.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import srsly

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "workflow.md"
MARKED = re.compile(r"(<!-- workflow: [^\n]* -->\n).*?(?=<!-- end -->)", re.DOTALL)


def tables(project: dict[str, Any]) -> str:
    """Two Markdown tables: workflows with their steps, commands with their help.

    project (dict): The content of project.yml.
    RETURNS (str): The tables.
    """
    lines = ["| workflow | steps |", "|---|---|"]
    for name, steps in project["workflows"].items():
        lines.append(f"| `{name}` | {', '.join(f'`{step}`' for step in steps)} |")
    lines += ["", "| command | what it does |", "|---|---|"]
    lines += [f"| `{command['name']}` | {command['help']} |" for command in project["commands"]]
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """Replace the tables of the page.

    page (str): The page's text.
    RETURNS (str): The text with the tables of project.yml.
    """
    made = tables(srsly.read_yaml(ROOT / "project.yml"))
    return MARKED.sub(lambda match: match[1] + made, page)


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf8")), encoding="utf8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
