/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 description (https://spec.openapis.org/oas/v3.1.0), made from the table of
 * operations and the table of the answers' members below. */

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "proto/api.h"

/* Members of the answers. A type is one of JSON Schema's, or the name of another schema here; in
 * brackets it is a list of them. The rows of one schema stand together. */
typedef struct Member {
    const char *schema;
    const char *name;
    const char *type;
    const char *summary;
} Member;

static const Member members[] = {
    {"Check", "name", "string", "what was examined"},
    {"Check", "status", "string", "ok, info, warning or error"},
    {"Check", "found", "string", "what was found"},
    {"Check", "why", "string", "why it matters"},
    {"Check", "mend", "string", "what to do"},
    {"Disk", "path", "string", "the overlay"},
    {"Disk", "backing", "string", "the base"},
    {"Disk", "virtual_bytes", "integer", "size that the guest sees"},
    {"Disk", "allocated_bytes", "integer", "what the overlay takes"},
    {"Doctor", "checks", "[Check]", NULL},
    {"Error", "error", "ErrorDetail", NULL},
    {"ErrorDetail", "code", "string", "kind of the error, for programs"},
    {"ErrorDetail", "message", "string", "what failed and why"},
    {"ErrorDetail", "hint", "string", "what to do; may be absent"},
    {"Event", "id", "integer", "grows with each event"},
    {"Event", "at", "string", "RFC 3339"},
    {"Event", "type", "string", "what happened"},
    {"Event", "vm", "string", "id of the VM"},
    {"Event", "name", "string", "name of the VM"},
    {"Event", "detail", "string", NULL},
    {"Fork", "snapshot", "string", "id of the snapshot that they grow from"},
    {"Fork", "vms", "[VM]", "the clones, all ready"},
    {"Fork", "errors", "[Error]", "of those that did not get ready, with keep_going"},
    {"Image", "id", "string", NULL},
    {"Image", "name", "string", NULL},
    {"Image", "digest", "string", "sha256:HEX of the disk; null: not known yet (inspect waits)"},
    {"Image", "path", "string", "the base file"},
    {"Image", "virtual_bytes", "integer", NULL},
    {"Image", "allocated_bytes", "integer", NULL},
    {"Image", "kernel", "string", "the kernel bundle"},
    {"Image", "agent_version", "string", NULL},
    {"Image", "created_at", "string", "RFC 3339"},
    {"Memory", "base", "string", "the base file"},
    {"Memory", "base_inode", "integer", NULL},
    {"Memory", "private_bytes", "integer", "pages of the VM's own"},
    {"Node", "kind", "string", "snapshot or vm"},
    {"Node", "id", "string", NULL},
    {"Node", "name", "string", NULL},
    {"Node", "own_bytes", "integer", "what only it takes on the disk"},
    {"Node", "shared_bytes", "integer", "what it shares with others"},
    {"Node", "children", "[Node]", "what grows from it"},
    {"Pool", "source", "string", "the snapshot or image"},
    {"Pool", "kind", "string", "snapshot or image"},
    {"Pool", "snapshot", "string", "id of the snapshot that its clones grow from; null: not yet"},
    {"Pool", "wanted", "integer", "how many clones"},
    {"Pool", "warm", "integer", "how many are ready to be claimed"},
    {"Pool", "memory_bytes", "integer", "what those hold for themselves"},
    {"Pool", "created_at", "string", "RFC 3339"},
    {"Pool", "error", "ErrorDetail", "why the last clone could not be made; null: it could"},
    {"Prune", "snapshots", "[string]", "names or ids of those that went"},
    {"Prune", "layers", "integer", "how many layers of disks went"},
    {"Prune", "freed_bytes", "integer", NULL},
    {"Removed", "snapshots", "[string]", "names or ids of those that went"},
    {"Removed", "vms", "[string]", "names of those that went"},
    {"Snapshot", "id", "string", NULL},
    {"Snapshot", "name", "string", NULL},
    {"Snapshot", "key", "string", "SHA-256 of all that a restore depends on"},
    {"Snapshot", "vm", "string", "the VM that it was taken of"},
    {"Snapshot", "image_digest", "string", NULL},
    {"Snapshot", "parent", "string", "id of the snapshot that the VM grew from"},
    {"Snapshot", "children", "[string]", "ids of snapshots whose VM grew from this"},
    {"Snapshot", "vms", "[string]", "names of VMs that grew from this"},
    {"Snapshot", "created_at", "string", "RFC 3339"},
    {"Snapshot", "automatic", "boolean", "goes by itself when nothing grows from it"},
    {"Snapshot", "memory", "SnapshotMemory", "null: the VM did not run"},
    {"Snapshot", "disk", "SnapshotDisk", NULL},
    {"Snapshot", "state_bytes", "integer", "of the device state"},
    {"Snapshot", "pause_us", "integer", "how long the VM was paused for it"},
    {"Snapshot", "qemu", "string", "version of QEMU"},
    {"Snapshot", "machine", "string", NULL},
    {"Snapshot", "cpu", "string", NULL},
    {"Snapshot", "accel", "string", NULL},
    {"SnapshotDisk", "path", "string", "the frozen layer"},
    {"SnapshotDisk", "sha256", "string", NULL},
    {"SnapshotDisk", "base", "string", "the image's base below all layers"},
    {"SnapshotDisk", "depth", "integer", "layers over the base"},
    {"SnapshotMemory", "kind", "string", "full or diff"},
    {"SnapshotMemory", "path", "string", NULL},
    {"SnapshotMemory", "base", "string", "the memory base: its own, or the one under the diff"},
    {"SnapshotMemory", "inode", "integer", "of path"},
    {"SnapshotMemory", "bytes", "integer", NULL},
    {"SnapshotMemory", "allocated_bytes", "integer", NULL},
    {"SnapshotMemory", "sha256", "string", "of the content; null: not known yet (inspect waits)"},
    {"SnapshotMemory", "protection", "string", "sealed memfd, or read-only file"},
    {"SnapshotMemory", "problem", "string", "inspect: why there is no sha256, or null"},
    {"Stage", "name", "string", NULL},
    {"Stage", "start_us", "integer", "from the request's arrival"},
    {"Stage", "duration_us", "integer", NULL},
    {"Stages", "total_us", "integer", NULL},
    {"Stages", "boot", "string", "cold, restored, forked or claimed"},
    {"Stages", "stages", "[Stage]", NULL},
    {"VM", "id", "string", NULL},
    {"VM", "name", "string", NULL},
    {"VM", "state", "string",
     "created, starting, running, paused, standby, stopping, stopped, failed or unknown"},
    {"VM", "image", "string", NULL},
    {"VM", "image_digest", "string", "null: not known yet; a start waits for it"},
    {"VM", "accel", "string", "kvm or tcg"},
    {"VM", "machine", "string", "QEMU's machine type"},
    {"VM", "memory_bytes", "integer", NULL},
    {"VM", "cpus", "integer", NULL},
    {"VM", "qemu_pid", "integer", NULL},
    {"VM", "keeper_pid", "integer", NULL},
    {"VM", "ip", "string", NULL},
    {"VM", "mac", "string", NULL},
    {"VM", "hostname", "string", NULL},
    {"VM", "boot", "string", "how this start came about: cold, restored, forked or claimed"},
    {"VM", "snapshot", "string", "that it was forked from"},
    {"VM", "created_at", "string", "RFC 3339"},
    {"VM", "disk", "Disk", NULL},
    {"VM", "error", "ErrorDetail", "of a failed one; else null"},
    {"VM", "fallback", "ErrorDetail", "why it took another way than it could have; else null"},
    {"VM", "memory", "Memory", NULL},
    {"VM", "stages", "[Stage]", NULL},
    {"Proof", "id", "string", NULL},
    {"Proof", "name", "string", NULL},
    {"Proof", "ok", "boolean", NULL},
    {"Proof", "clones", "[ProofClone]", NULL},
    {"Proof", "checks", "[ProofCheck]", NULL},
    {"Proof", "frozen", "[FrozenFile]", "what the clones grow from"},
    {"ProofClone", "name", "string", NULL},
    {"ProofClone", "random", "string", "drawn first thing after the fork"},
    {"ProofClone", "uuid", "string", NULL},
    {"ProofClone", "machine_id", "string", NULL},
    {"ProofClone", "hostname", "string", NULL},
    {"ProofClone", "boot_id", "string", NULL},
    {"ProofClone", "mac", "string", NULL},
    {"ProofClone", "ip", "string", NULL},
    {"ProofClone", "boot", "string", NULL},
    {"ProofCheck", "what", "string", NULL},
    {"ProofCheck", "ok", "boolean", NULL},
    {"ProofCheck", "message", "string", NULL},
    {"FrozenFile", "what", "string", NULL},
    {"FrozenFile", "path", "string", NULL},
    {"FrozenFile", "inode", "integer", NULL},
    {"FrozenFile", "sha256", "string", NULL},
    {"FrozenFile", "tree", "string", "of a memory base: the digest by which it is compared"},
    {"Verification", "id", "string", NULL},
    {"Verification", "name", "string", NULL},
    {"Verification", "ok", "boolean", NULL},
    {"Verification", "checks", "[VerifyCheck]", NULL},
    {"VerifyCheck", "what", "string", NULL},
    {"VerifyCheck", "path", "string", NULL},
    {"VerifyCheck", "ok", "boolean", NULL},
    {"VerifyCheck", "message", "string", NULL},
    {"Version", "version", "string", NULL},
    {"Version", "api", "integer", "1"},
    {"Version", "pid", "integer", "of the daemon"},
    {"Version", "home", "string", "where everything is kept"},
};

/* "string" → {"type":"string"}, "VM" → {"$ref":…}, "[VM]" → a list of them. */
static json_t *schema_of(const char *type) {
    size_t length = strlen(type);

    if (type[0] == '[') {
        _cleanup_free_ char *item = strndup(type + 1, length - 2);

        return json_pack("{s:s, s:o}", "type", "array", "items", schema_of(item));
    }
    if (isupper((unsigned char)type[0])) {
        _cleanup_free_ char *ref = str_format("#/components/schemas/%s", type);

        return json_pack("{s:s}", "$ref", ref);
    }
    return json_pack("{s:s}", "type", type);
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
    case API_NAME:
        schema =
            json_pack("{s:s, s:s}", "type", "string", "pattern", "^[a-z0-9][a-z0-9_.-]{0,62}$");
        break;
    case API_NUMBER:
        schema = number_schema(field);
        break;
    case API_BOOL:
        schema = json_pack("{s:s}", "type", "boolean");
        break;
    case API_TEXTS:
        schema = json_pack("{s:s, s:{s:s}, s:I}", "type", "array", "items", "type", "string",
                           "maxItems", (json_int_t)field->max);
        break;
    case API_FORWARDS:
        schema = schema_of("[Forward]");
        break;
    case API_EXEC:
        schema = schema_of("Exec");
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
        if (fields->place != API_IN_BODY)
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

static json_t *answer_schemas(void) {
    json_t *schemas = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        const Member *member = &members[i];
        json_t *schema = json_object_get(schemas, member->schema), *property;

        if (!schema) {
            schema = json_pack("{s:s, s:{}}", "type", "object", "properties");
            json_object_set_new(schemas, member->schema, schema);
        }
        property = schema_of(member->type);
        describe(property, member->summary);
        json_object_set_new(json_object_get(schema, "properties"), member->name, property);
    }
    json_object_set_new(schemas, "Exec", object_schema(api_operation(API_VM_EXEC)->fields));
    json_object_set_new(schemas, "Forward", object_schema(api_forward_fields));
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
        if (field->place == API_IN_QUERY)
            json_array_append_new(list,
                                  parameter(field->name, "query", false, field_schema(field)));
    return list;
}

static bool has_body(const ApiOperation *operation) {
    for (const ApiField *field = operation->fields; field && field->name; field++)
        if (field->place == API_IN_BODY)
            return true;
    return false;
}

static json_t *request_body(const ApiOperation *operation) {
    json_t *content =
        json_pack("{s:{s:o}}", "application/json", "schema", object_schema(operation->fields));

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
    default:
        return "application/json";
    }
}

static json_t *success_of(const ApiOperation *operation) {
    json_t *content;

    if (operation->answer == API_ANSWER_UPGRADE)
        return json_pack("{s:s}", "description", "Upgrade: ramet-stream; docs/protocols.md");
    content = json_pack("{s:{s:o}}", answer_type(operation), "schema",
                        operation->answer == API_ANSWER_TEXT ? schema_of("string")
                        : operation->schema                  ? schema_of(operation->schema)
                                                             : schema_of("object"));
    if (operation->events)
        json_object_set_new(content, "application/x-ndjson",
                            json_pack("{s:{s:s}}", "schema", "type", "object"));
    return json_pack("{s:s, s:o}", "description", "success", "content", content);
}

static json_t *describe_operation(const ApiOperation *operation) {
    json_t *row = json_pack(
        "{s:s, s:s, s:o, s:{s:o, s:{s:s, s:{s:{s:o}}}}}", "operationId", operation->name, "summary",
        operation->summary, "parameters", parameters_of(operation), "responses",
        operation->answer == API_ANSWER_UPGRADE ? "101" : "200", success_of(operation), "default",
        "description", "error", "content", "application/json", "schema", schema_of("Error"));

    if (has_body(operation))
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
