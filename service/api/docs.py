"""The documentation page, written by the server from the OpenAPI file: no script, no asset of anybody else.

This file finishes with `docs_page`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2430;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccd3dc}details{border:1px solid #ccd3dc;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}code{font:14px ui-monospace,monospace}.m{display:inline-block;min-width:4.5rem;font-weight:600}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border-bottom:1px solid #e3e8ee;padding:.25rem .5rem;text-align:left;
vertical-align:top}pre{background:#f5f7fa;padding:.6rem;overflow:auto}
@media(prefers-color-scheme:dark){body{background:#12171d;color:#dde4ec}pre{background:#1b222b}h2,details,td,th{border-color:#333d49}}
"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return a page that lists every operation with its parameters, body and answers.

    Parameters
    ----------
    openapi
        The application's OpenAPI document.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups[tag].append(_operation(path, method, operation, openapi))
    info = openapi["info"]
    contents = " · ".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in groups)
    sections = "".join(f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(items)}' for tag, items in groups.items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body><h1>{escape(info['title'])} API "
        f"{escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p><a href="/api/v1/openapi.json">openapi.json</a> · {contents}</p>{sections}</body></html>'
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> str:
    parameters = "".join(_parameter(item) for item in operation.get("parameters", ()))
    table = f"<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>{parameters}</table>" if parameters else ""
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation.get("responses", {}).items()
    )
    needs = "" if operation.get("security") else "<p>No token needed.</p>"
    return (
        f'<details><summary><span class="m">{escape(method.upper())}</span><code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>{needs}{table}"
        f"{_body(operation, openapi)}<table>{answers}</table></details>"
    )


def _parameter(item: Mapping[str, Any]) -> str:
    needed = " (required)" if item.get("required") else ""
    return (
        f"<tr><td><code>{escape(item['name'])}</code>{needed}</td><td>{escape(item['in'])}</td>"
        f"<td>{escape(_type(item.get('schema', {})))}</td><td>{escape(item.get('description', ''))}</td></tr>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    return str(schema.get("type", "any"))


def _body(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if not content:
        return ""
    schema = content.get("schema", {})
    name = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
    fields = openapi.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{escape(_type(part))}</td><td>{escape(part.get('description', ''))}</td></tr>"
        for field, part in fields.items()
    )
    examples = "".join(f"<pre>{escape(str(item.get('value')))}</pre>" for item in content.get("examples", {}).values())
    return f"<p>JSON body:</p><table>{rows}</table>{examples}"
