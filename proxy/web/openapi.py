"""The OpenAPI document: routes by hand in openapi.yaml, schemas of the operator API generated."""

import asyncio
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema
from typing_extensions import override

from proxy.web.operator_api.bodies import BODIES
from proxy.web.operator_api.models import RESPONSES

_REFERENCE: Final = "#/components/schemas/{model}"
_SCHEMAS: Final = "  schemas:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenApi:
    """Serves the document."""

    hook_path: str

    async def show(self, _request: web.Request) -> web.Response:
        """Return the document (media type: RFC 9512)."""
        body = await asyncio.to_thread(description, self.hook_path)
        return web.Response(body=body, headers={"Content-Type": "application/yaml"})


@functools.cache
def description(hook_path: str) -> bytes:
    """Return the document, with the hook's configured path if it is a path of its own."""
    text = (files("proxy.web") / "openapi.yaml").read_text()
    lines = [f"    {name}: {json.dumps(schema)}\n" for name, schema in _schemas().items()]
    text = text.replace(_SCHEMAS, "".join([_SCHEMAS, *lines]), 1)  # JSON is valid YAML
    if hook_path not in {"/", "/approval-requests"}:
        # `paths` is the last section of the file
        text += f"  {json.dumps(hook_path)}:\n    $ref: '#/paths/~1'\n"
    return text.encode()


def _schemas() -> Mapping[str, JsonSchemaValue]:
    """Return the schemas of the operator API by name."""
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in BODIES),
        *((model, "serialization") for model in RESPONSES),
    ]
    _, document = models_json_schema(
        models, ref_template=_REFERENCE, schema_generator=_OpenApiSchema
    )
    schemas: dict[str, dict[str, Any]] = document["$defs"]
    for schema in schemas.values():
        schema.pop("title", None)
        if "enum" in schema:
            schema.pop("description", None)  # the docstring of an enumeration is for programmers
    return schemas


class _OpenApiSchema(GenerateJsonSchema):
    """JSON Schema as OpenAPI 3.0 has it, of models that leave out the fields without a value."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # None is left out

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if self.mode == "serialization":
            return self.generate_inner(schema["schema"])  # the default is left out
        return super().default_schema(schema)
