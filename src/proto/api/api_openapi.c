/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 description (https://spec.openapis.org/oas/v3.1.0), made from the table of
 * operations and the table of the answers' members below. */

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "proto/api/api.h"
#include "proto/api/api_fields.h"
#include "proto/api/api_members.h"

/* "string" → {"type":"string"}, "VM" → {"$ref":…}, "[VM]" → a list of them. */
static json_t *single_schema(const char *type, size_t length) {
    if (type[0] == '[')
        return json_pack("{s:s, s:o}", "type", "array", "items",
                         single_schema(type + 1, length - 2));
    _cleanup_free_ char *name = strndup(type, length);
    if (isupper((unsigned char)type[0])) {
        _cleanup_free_ char *ref = str_format("#/components/schemas/%s", name);
        return json_pack("{s:s}", "$ref", ref);
    }
    return json_pack("{s:s}", "type", name);
}

/* One of several: {"type":["string","null"]} where a word says all of each, else {"anyOf":…}. */
static json_t *choice_schema(json_t *choices) {
    _cleanup_json_ json_t *words = json_array();
    json_t *choice;
    size_t i;
    json_array_foreach(choices, i, choice) {
        json_t *word = json_object_get(choice, "type");
        if (word && json_object_size(choice) == 1)
            (void)json_array_append(words, word);
    }
    if (json_array_size(words) < json_array_size(choices))
        return json_pack("{s:o}", "anyOf", choices);
    json_decref(choices);
    return json_pack("{s:O}", "type", words);
}

/* Of a type as in api_members.h. */
static json_t *schema_of(const char *type) {
    json_t *choices = json_array(), *only;
    size_t end = strcspn(type, "?*");
    for (size_t at = 0, n; at < end; at += n + 1) {
        n = MIN_OF(strcspn(type + at, "|"), end - at);
        json_array_append_new(choices, single_schema(type + at, n));
    }
    if (strchr(type, '?'))
        json_array_append_new(choices, single_schema("null", 4));
    if (json_array_size(choices) > 1)
        return choice_schema(choices);
    only = json_incref(json_array_get(choices, 0));
    json_decref(choices);
    return only;
}

static json_t *choices_of(const char *choices) {
    json_t *list = json_array();
    for (const char *p = choices;;) {
        size_t n = strcspn(p, "|");
        json_array_append_new(list, json_stringn(p, n));
        if (!p[n])
            return list;
        p += n + 1;
    }
}

static void describe(json_t *schema, const char *summary) {
    if (summary)
        json_object_set_new(schema, "description", json_string(summary));
}

static json_t *number_schema(const ApiField *field) {
    json_t *schema = json_pack("{s:s, s:I}", "type", "integer", "minimum", (json_int_t)field->min);
    json_object_set_new(schema, "maximum", json_integer((json_int_t)field->max));
    return schema;
}

static json_t *text_schema(const ApiField *field) {
    json_t *schema = json_pack("{s:s}", "type", "string");
    if (field->min)
        json_object_set_new(schema, "minLength", json_integer((json_int_t)field->min));
    if (field->max)
        json_object_set_new(schema, "maxLength", json_integer((json_int_t)field->max));
    if (field->choices)
        json_object_set_new(schema, "enum", choices_of(field->choices));
    return schema;
}

static json_t *field_schema(const ApiField *field) {
    json_t *schema = NULL;
    switch (field->type) {
    case API_TEXT:
        schema = text_schema(field);
        break;
    case API_BYTES:
        schema = schema_of("Bytes");
        break;
    case API_NAME:
        schema =
            json_pack("{s:s, s:s}", "type", "string", "pattern", "^[a-z0-9][a-z0-9_.-]{0,62}$");
        break;
    case API_NUMBER:
        schema = number_schema(field);
        break;
    case API_TIME:
        schema = json_pack("{s:s}", "type", "string");
        break;
    case API_BOOL:
        schema = json_pack("{s:s}", "type", "boolean");
        break;
    case API_DATA:
        schema = schema_of("Bytes");
        break;
    case API_TEXTS:
        schema = json_pack("{s:s, s:o, s:I}", "type", "array", "items", schema_of("Bytes"),
                           "maxItems", (json_int_t)field->max);
        break;
    case API_FORWARDS:
        schema = schema_of("[Forward]");
        break;
    case API_LABELS:
        schema = json_pack("{s:s, s:{s:s}, s:I}", "type", "object", "additionalProperties", "type",
                           "string", "maxProperties", (json_int_t)field->max);
        break;
    case API_EXEC:
        schema = schema_of("Exec");
        break;
    case API_LAB_NETWORKS:
        schema = schema_of("[LabNetwork]");
        break;
    case API_LAB_VMS:
        schema = schema_of("[LabVM]");
        break;
    }
    describe(schema, field->summary);
    return schema;
}

/* An object schema of the fields that are in the body. */
static json_t *object_schema(const ApiField *fields) {
    json_t *properties = json_object(), *required = json_array();
    json_t *schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
                               "additionalProperties", 0);
    for (; fields && fields->name; fields++) {
        if (fields->in != API_IN_BODY)
            continue;
        json_object_set_new(properties, fields->name, field_schema(fields));
        if (fields->required)
            json_array_append_new(required, json_string(fields->name));
    }
    if (json_array_size(required) > 0)
        json_object_set_new(schema, "required", required);
    else
        json_decref(required);
    return schema;
}

/* Bytes: a string when they are UTF-8 without NUL, else encoded (base/json.h). */
static json_t *bytes_schema(void) {
    json_t *encoded = json_pack("{s:s, s:{s:{s:s, s:s}}, s:[s], s:b}", "type", "object",
                                "properties", "base64", "type", "string", "contentEncoding",
                                "base64", "required", "base64", "additionalProperties", 0);
    return json_pack("{s:[{s:s}, o], s:s}", "oneOf", "type", "string", encoded, "description",
                     "bytes: text, or what is no UTF-8 or holds a NUL in base64");
}

static json_t *answer_schemas(void) {
    json_t *schemas = json_object();
    for (size_t i = 0; i < api_members_count; i++) {
        const ApiMember *member = &api_members[i];
        json_t *schema = json_object_get(schemas, member->schema), *property;
        if (!schema) {
            schema = json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required");
            json_object_set_new(schemas, member->schema, schema);
        }
        property = schema_of(member->type);
        describe(property, member->summary);
        json_object_set_new(json_object_get(schema, "properties"), member->name, property);
        if (!strchr(member->type, '*'))
            json_array_append_new(json_object_get(schema, "required"), json_string(member->name));
    }
    json_object_set_new(schemas, "Bytes", bytes_schema());
    json_object_set_new(schemas, "Exec", object_schema(api_operation(API_VM_EXEC)->fields));
    json_object_set_new(schemas, "Forward", object_schema(api_forward_fields));
    json_object_set_new(schemas, "LabNetwork", object_schema(api_lab_network_fields));
    json_object_set_new(schemas, "LabVM", object_schema(api_lab_vm_fields));
    return schemas;
}

static json_t *parameter(const char *name, const char *in, bool required, json_t *schema) {
    return json_pack("{s:s, s:s, s:b, s:o}", "name", name, "in", in, "required", required, "schema",
                     schema);
}

static json_t *parameters_of(const ApiOperation *operation) {
    const char *brace = strchr(operation->path, '{');
    json_t *list = json_array();
    if (brace) {
        _cleanup_free_ char *name = strndup(brace + 1, strcspn(brace + 1, "}"));
        json_array_append_new(list, parameter(name, "path", true, schema_of("string")));
    }
    for (const ApiField *field = operation->fields; field && field->name; field++)
        if (field->in == API_IN_QUERY)
            json_array_append_new(
                list, parameter(field->name, "query", field->required, field_schema(field)));
    return list;
}

static bool has_body(const ApiOperation *operation) {
    for (const ApiField *field = operation->fields; field && field->name; field++)
        if (field->in == API_IN_BODY)
            return true;
    return false;
}

static bool is_put(const ApiOperation *operation) {
    return strcmp(operation->method, "PUT") == 0;
}

static json_t *request_body(const ApiOperation *operation) {
    json_t *content = json_object();
    if (!is_put(operation))
        json_object_set_new(content, "application/json",
                            json_pack("{s:o}", "schema", object_schema(operation->fields)));
    if (is_put(operation))
        json_object_set_new(content, "application/x-tar", json_object());
    if (operation->answer == API_ANSWER_EXEC)
        json_object_set_new(content, "application/x-ndjson",
                            json_pack("{s:o}", "schema", schema_of("Exec|ExecLine")));

    if (operation->upload)
        json_object_set_new(content, "application/octet-stream", json_object());
    return json_pack("{s:o}", "content", content);
}

static const char *answer_type(const ApiOperation *operation) {
    switch (operation->answer) {
    case API_ANSWER_LINES:
        return "application/x-ndjson";
    case API_ANSWER_TEXT:
        return "text/plain";
    case API_ANSWER_FILE:
        return "application/octet-stream";
    default:
        return "application/json";
    }
}

static json_t *success_of(const ApiOperation *operation) {
    json_t *content;
    if (operation->answer == API_ANSWER_UPGRADE)
        return json_pack("{s:s}", "description", "Upgrade: ramet-stream; docs/protocols.md");
    content = json_pack("{s:{s:o}}", answer_type(operation), "schema",
                        operation->answer == API_ANSWER_TEXT   ? schema_of("string")
                        : operation->schema                    ? schema_of(operation->schema)
                        : operation->answer == API_ANSWER_FILE ? json_object()
                                                               : schema_of("object"));
    if (operation->events)
        json_object_set_new(content, "application/x-ndjson",
                            json_pack("{s:{s:s}}", "schema", "type", "object"));
    if (operation->answer == API_ANSWER_EXEC)
        json_object_set_new(content, "application/x-ndjson",
                            json_pack("{s:o}", "schema", schema_of("ExecutedLine")));
    if (operation->answer == API_ANSWER_FILE)
        json_object_set_new(content, "application/x-tar", json_object());
    return json_pack("{s:s, s:o}", "description", "success", "content", content);
}

static json_t *describe_operation(const ApiOperation *operation) {
    json_t *row = json_pack(
        "{s:s, s:s, s:o, s:{s:o, s:{s:s, s:{s:{s:o}}}}}", "operationId", operation->name, "summary",
        operation->summary, "parameters", parameters_of(operation), "responses",
        operation->answer == API_ANSWER_UPGRADE ? "101" : "200", success_of(operation), "default",
        "description", "error", "content", "application/json", "schema", schema_of("Error"));
    if (has_body(operation) || operation->upload)
        json_object_set_new(row, "requestBody", request_body(operation));
    return row;
}

static void add_path(json_t *paths, const ApiOperation *operation) {
    char method[8] = "";
    json_t *path = json_object_get(paths, operation->path);
    if (!path) {
        path = json_object();
        json_object_set_new(paths, operation->path, path);
    }
    for (size_t i = 0; operation->method[i] && i + 1 < sizeof(method); i++)
        method[i] = (char)tolower((unsigned char)operation->method[i]);
    json_object_set_new(path, method, describe_operation(operation));
}

json_t *api_openapi(void) {
    json_t *paths = json_object();
    for (size_t i = 0; i < API_ID_COUNT; i++)
        add_path(paths, api_operation((ApiId)i));
    return json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o}}", "openapi", "3.1.0", "info", "title",
                     "Ramet", "version", RAMET_VERSION, "paths", paths, "components", "schemas",
                     answer_schemas());
}
