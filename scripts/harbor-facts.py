#!/usr/bin/env python3
"""Makes api/src/harbor/openapi/harbor-2.16.json of Harbor's swagger.yaml: what the comparison needs of the operations that we serve.

    pip install pyyaml; scripts/harbor-facts.py swagger.yaml > api/src/harbor/openapi/harbor-2.16.json

Of each operation: its parameters, the members of its body and of its successful answers (as paths: `[].metadata.public`), and
the headers that the answers name. Nothing else of Harbor's file is copied.
"""

import json
import sys

import yaml

# Harbor's groups that are built; the others come with their features.
TAGS = """project projectMetadata member user usergroup robot repository artifact label quota immutable auditlog search statistic
systeminfo configure permissions health ping icon SystemCVEAllowlist""".split()
METHODS = ("get", "head", "post", "put", "patch", "delete")

swagger = yaml.safe_load(open(sys.argv[1]))


def resolved(thing):
    while "$ref" in thing:
        _, kind, name = thing["$ref"].split("/")
        thing = swagger[kind][name]
    return thing


def members(schema, path="", within=()):
    """The paths of all members of a schema. A type within itself is told once."""
    name = schema.get("$ref")
    if name in within:
        return
    within = (*within, name) if name else within
    schema = resolved(schema)
    for part in schema.get("allOf", []):
        yield from members(part, path, within)
    if schema.get("type") == "array":
        yield from members(schema["items"], f"{path}[]", within)
    for key, value in schema.get("properties", {}).items():
        inner = f"{path}.{key}" if path else key
        yield inner
        yield from members(value, inner, within)
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"{path}.*" if path else "*"


def facts(path, method, operation):
    parameters, body = [], []
    for parameter in map(resolved, operation.get("parameters", [])):
        if parameter["in"] == "body":
            body = sorted(set(members(parameter["schema"])))
        else:
            parameters.append(f"{parameter['in']} {parameter['name']}")
    answer, headers, success = set(), set(), []
    for status, response in operation["responses"].items():
        response = resolved(response)
        if status.startswith("2"):
            success.append(int(status))
            headers |= set(response.get("headers", {}))
            answer |= set(members(response.get("schema", {})))
    return {
        "operation": operation["operationId"],
        "method": method,
        "path": swagger["basePath"] + path.rstrip("/"),
        "parameters": sorted(set(parameters)),
        "body": body,
        "success": sorted(success),
        "headers": sorted(headers),
        "answer": sorted(answer),
    }


rows = [
    facts(path, method, operation)
    for path, methods in swagger["paths"].items()
    for method, operation in methods.items()
    if method in METHODS and operation["tags"][0] in TAGS
]
print("[")
print(",\n".join(json.dumps(row) for row in rows))
print("]")
