"""A page that shows the OpenAPI description, without scripts from other hosts."""

from __future__ import annotations

from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: the interface</title>
<link rel="stylesheet" href="/page/page.css">
</head>
<body class="api">
<header><h1>{title} {version}</h1>
<p>{description} <a href="/">Try it</a> · <a href="/openapi.json">openapi.json</a></p></header>
<main>
"""


def api_page(schema: dict[str, Any]) -> str:
    """Make the page.

    schema (Dict[str, Any]): The OpenAPI description.
    RETURNS (str): HTML.
    """
    info = {key: escape(str(value)) for key, value in schema["info"].items()}
    parts = [_HEAD.format(**info)]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    parts.append("<h2>What requests and answers hold</h2>")
    for name, model in schema["components"]["schemas"].items():
        if "properties" in model and "ValidationError" not in name:
            parts.append(_model(name, model))
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation.get('summary', ''))}.</p>",
    ]
    if "description" in operation:
        lines.append(f"<p>{escape(operation['description'])}</p>")
    content = operation.get("requestBody", {}).get("content", {})
    for kind, given in content.items():
        lines.append(f"<p>Body ({escape(kind)}): {_type(given.get('schema', {}))}</p>")
    lines.append("<table><thead><tr><th>status</th><th>answer</th></tr></thead><tbody>")
    for status, answer in sorted(operation.get("responses", {}).items()):
        kinds = [_type(given.get("schema", {})) for given in answer.get("content", {}).values()]
        described = [escape(answer.get("description", "")), *(kind for kind in kinds if kind)]
        if str(status) == "422" and "HTTPValidationError" in "".join(kinds):
            continue
        lines.append(f"<tr><td>{escape(str(status))}</td><td>{': '.join(described)}</td></tr>")
    lines.append("</tbody></table></section>")
    return "\n".join(lines)


def _model(name: str, model: dict[str, Any]) -> str:
    required = model.get("required", [])
    rows = [
        f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' (optional)'}</td>"
        f"<td>{_type(given)}</td><td>{escape(given.get('description', ''))}</td></tr>"
        for field, given in model["properties"].items()
    ]
    return (
        f'<section id="{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{escape(model.get('description', ''))}</p>"
        "<table><thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _type(schema: dict[str, Any]) -> str:
    """A type in words, with links to models."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kind = schema.get("type", "")
    if kind == "array":
        inner = _type(schema.get("items", {})) or "values"
        return f"list of {inner}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {_type(values)}" if isinstance(values, dict) and values else "object"
    return escape(str(kind))
