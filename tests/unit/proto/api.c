/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/api/api.h"

#include <errno.h>

#include "base/str.h"
#include "check.h"
#include "proto/api/api_members.h"

static const ApiOperation *row_at(size_t i) {
    return api_operation((ApiId)i);
}

static void test_table_is_sorted_and_complete(void) {
    for (size_t i = 0; i < API_ID_COUNT; i++) {
        CHECK_INT(row_at(i)->id, i);
        CHECK(row_at(i)->method && row_at(i)->path && row_at(i)->name && row_at(i)->summary);
        CHECK(str_has_prefix(row_at(i)->path, "/v1/"));
        if (i > 0) {
            int order = strcmp(row_at(i - 1)->path, row_at(i)->path);
            CHECK(order < 0 ||
                  (order == 0 && strcmp(row_at(i - 1)->method, row_at(i)->method) < 0));
        }
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(row_at(i)->name, row_at(j)->name) != 0);
    }
}

static ApiId matched(const char *method, const char *path, const char *argument) {
    char found[API_ARGUMENT_MAX], allowed[64];
    const ApiOperation *row;
    CHECK_INT(api_match(method, path, &row, found, allowed), 0);
    CHECK_STR(found, argument);
    return row->id;
}

static void test_match(void) {
    char found[API_ARGUMENT_MAX], allowed[64];
    const ApiOperation *row;
    CHECK_INT(matched("GET", "/v1/version", ""), API_VERSION);
    CHECK_INT(matched("GET", "/v1/vms/web1", "web1"), API_VM_INSPECT);
    CHECK_INT(matched("POST", "/v1/vms/web1/copy-in", "web1"), API_VM_COPY_IN);
    CHECK_INT(matched("POST", "/v1/images/build", ""), API_IMAGE_BUILD);
    CHECK_INT(matched("GET", "/v1/images/build", "build"), API_IMAGE_INSPECT);
    CHECK_INT(matched("GET", "/v1/vms/lab%2fweb1", "lab/web1"), API_VM_INSPECT);
    CHECK_INT(matched("POST", "/v1/vms/lab%2Fweb1/start", "lab/web1"), API_VM_START);
    CHECK_INT(matched("GET", "/v1/vms/a%00b%zz%2",
                      "a\x01"
                      "b%zz%2"),
              API_VM_INSPECT);
    CHECK_INT(api_match("GET", "/v1/vms/", &row, found, allowed), -ENOENT);
    CHECK_INT(api_match("GET", "/v1/vms/a/b", &row, found, allowed), -ENOENT);
    CHECK_INT(api_match("GET", "/v1", &row, found, allowed), -ENOENT);
    CHECK_INT(api_match("PUT", "/v1/vms/web1", &row, found, allowed), -EOPNOTSUPP);
    CHECK_STR(allowed, "DELETE, GET");
}

static void test_long_argument_does_not_match(void) {
    char path[1024] = "/v1/vms/", found[API_ARGUMENT_MAX], allowed[64];
    const ApiOperation *row;
    memset(path + 8, 'a', API_ARGUMENT_MAX);
    path[8 + API_ARGUMENT_MAX] = '\0';
    CHECK_INT(api_match("GET", path, &row, found, allowed), -ENOENT);
}

static void check_path(ApiId id, const char *argument, const char *query, const char *expected) {
    _cleanup_free_ char *path = api_path(id, argument, query);
    CHECK_STR(path, expected);
}

static void test_path(void) {
    check_path(API_VERSION, NULL, NULL, "/v1/version");
    check_path(API_VM_STOP, "web1", NULL, "/v1/vms/web1/stop");
    check_path(API_VM_INSPECT, "a/b ?", "all=1", "/v1/vms/a%2Fb%20%3F?all=1");
}

static int check_input(ApiId id, const char *text, Error *error) {
    _cleanup_json_ json_t *input = NULL;
    CHECK_INT(json_parse("input", text, strlen(text), &input, NULL), 0);
    return api_check_input(api_operation(id), input, error);
}

static void refuses(ApiId id, const char *text, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(check_input(id, text, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
}

static void test_good_input(void) {
    CHECK_INT(api_check_input(api_operation(API_VERSION), NULL, NULL), 0);
    CHECK_INT(
        check_input(API_VM_CREATE,
                    "{\"image\":\"busybox\",\"name\":null,\"cpus\":2,\"start\":true,"
                    "\"forwards\":[{\"host_port\":0,\"guest_port\":80,\"protocol\":\"udp\"}]}",
                    NULL),
        0);
    CHECK_INT(check_input(API_RUN, "{\"image\":\"b\",\"exec\":{\"argv\":[\"true\"]}}", NULL), 0);
    CHECK_INT(check_input(API_RUN, "{\"image\":\"b\",\"exec\":{}}", NULL), 0); /* its own program */
    CHECK_INT(check_input(API_VM_WAIT, "{\"state\":\"paused\"}", NULL), 0);
}

static void test_bad_input(void) {
    refuses(API_VM_CREATE, "{}", "lacks \"image\"");
    refuses(API_VM_CREATE, "{\"image\":1}", "image is not a string");
    refuses(API_VM_CREATE, "{\"image\":\"\"}", "image is empty");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"name\":\"../x\"}", "name");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"cpus\":0}", "cpus is not within 1");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"cpus\":-1}", "cpus is not within 1");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"cpus\":1.5}", "not a whole number");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"cold\":1}", "neither true nor false");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"colour\":1}", "unknown member \"colour\"");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"forwards\":[{\"host_port\":1}]}", "forward 1");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"forwards\":[7]}", "not a JSON object");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"env\":\"K=V\"}", "not a list");
    refuses(API_VM_WAIT, "{\"state\":\"stop\"}", "is none of");
    refuses(API_VM_WAIT, "{\"state\":\"\"}", "is none of");
    refuses(API_VM_EXEC, "{\"argv\":[]}", "argv is empty");
    refuses(API_RUN, "{\"image\":\"b\",\"exec\":{\"argv\":[]}}", "exec: argv is empty");
    refuses(API_VERSION, "{\"x\":1}", "unknown member");
    refuses(API_VM_CREATE, "{\"image\":\"b\",\"labels\":[]}", "labels is not an object");
    refuses(API_FORK, "{\"source\":\"b\",\"labels\":{\"a\":1}}", "labels is not a string");
    refuses(API_VM_RENAME, "{}", "lacks \"name\"");
    refuses(API_VM_RENAME, "{\"name\":\"A\"}", "name");
}

/* A list comes as several parameters of one name. */
static void test_query_list(void) {
    _cleanup_json_ json_t *input = json_object();
    const ApiOperation *list = api_operation(API_VM_LIST);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(api_add_query(list, "filter", "label=a", input, NULL), 0);
    CHECK_INT(api_add_query(list, "filter", "state=b", input, NULL), 0);
    CHECK_INT(json_array_size(json_object_get(input, "filter")), 2);
    CHECK_INT(api_check_input(list, input, NULL), 0);
    for (int i = 2; i < 64; i++)
        CHECK_INT(api_add_query(list, "filter", "name=x", input, NULL), 0);
    CHECK(api_add_query(list, "filter", "name=x", input, &error) < 0);
    CHECK_CONTAINS(error_message(&error), "too often");
}

static void test_times(void) {
    static const char *const bad[] = {"", "-1", "10m", "2026-11-20", "1e9", "99999999999999999999"};
    uint64_t usec;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_json_ json_t *input = json_pack("{s:s}", "since", bad[i]);
        CHECK(api_check_input(api_operation(API_VM_LOGS), input, NULL) < 0);
        CHECK(api_time(json_object_get(input, "since"), &usec) < 0);
    }
    _cleanup_json_ json_t *times = json_pack("[s, s, i, b]", "1970-01-01T00:00:02Z", "17", 18, 1);
    CHECK_INT(api_time(json_array_get(times, 0), &usec), 0);
    CHECK_INT(usec, 2000000);
    CHECK_INT(api_time(json_array_get(times, 1), &usec), 0);
    CHECK_INT(usec, 17);
    CHECK_INT(api_time(json_array_get(times, 2), &usec), 0);
    CHECK_INT(usec, 18);
    CHECK(api_time(json_array_get(times, 3), &usec) < 0);
}

static void test_query(void) {
    _cleanup_json_ json_t *input = json_object();
    const ApiOperation *logs = api_operation(API_VM_LOGS);
    CHECK_INT(api_add_query(logs, "follow", "1", input, NULL), 0);
    CHECK_INT(api_add_query(logs, "tail", "20", input, NULL), 0);
    CHECK(json_is_true(json_object_get(input, "follow")));
    CHECK_INT(json_integer_value(json_object_get(input, "tail")), 20);
    CHECK_INT(api_check_input(logs, input, NULL), 0);
    CHECK(api_add_query(logs, "tail", "21", input, NULL) < 0);
    CHECK(api_add_query(logs, "tale", "1", input, NULL) < 0);
    CHECK_INT(api_add_query(logs, "since", "2026-11-20T17:33:17Z", input, NULL), 0);
    CHECK_INT(api_check_input(logs, input, NULL), 0);
    CHECK(api_add_query(api_operation(API_VM_STOP), "timeout_s", "1", input, NULL) < 0);
    CHECK_INT(api_add_query(api_operation(API_IMAGE_IMPORT), "name", "x", input, NULL), 0);
    CHECK(api_add_query(api_operation(API_EVENTS), "since", "-1", input, NULL) < 0);
    CHECK(api_add_query(api_operation(API_VM_LIST), "all", "yes", input, NULL) < 0);
}

/* Two things under one name would be one schema, with the members of both. */
static void test_members_stand_together(void) {
    for (size_t i = 1; i < api_members_count; i++) {
        const ApiMember *member = &api_members[i], *before = &api_members[i - 1];
        bool first = strcmp(before->schema, member->schema) != 0;
        for (size_t j = 0; j < i; j++) {
            bool same = strcmp(api_members[j].schema, member->schema) == 0;
            CHECK(!same || (!first && strcmp(api_members[j].name, member->name) != 0));
        }
    }
}

/* Each reference must lead to a schema, each operation be there. *used gets the schemas' names. */
static void check_references(const json_t *node, const json_t *schemas, json_t *used) {
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_array(node)) {
        json_array_foreach(node, i, value) check_references(value, schemas, used);
        return;
    }
    json_object_foreach((json_t *)node, key, value) {
        if (strcmp(key, "$ref") == 0 && json_is_string(value)) {
            CHECK(str_has_prefix(json_string_value(value), "#/components/schemas/"));
            CHECK(json_object_get(schemas, json_string_value(value) + 21));
            json_object_set_new(used, json_string_value(value) + 21, json_true());
        }
        check_references(value, schemas, used);
    }
}

static void check_member(const json_t *schemas, const char *schema, const char *name,
                         const char *expected, bool required) {
    const json_t *whole = json_object_get(schemas, schema), *value;
    _cleanup_json_ json_t *found =
        json_copy(json_object_get(json_object_get(whole, "properties"), name));
    _cleanup_free_ char *text = NULL;
    bool is_required = false;
    size_t i;
    (void)json_object_del(found, "description");
    text = json_to_text(found);
    CHECK_STR(text, expected);
    json_array_foreach(json_object_get(whole, "required"), i, value) is_required |=
        strcmp(json_string_value(value), name) == 0;
    CHECK_INT(is_required, required);
}

/* Null, absent, one of two: as the table has it. */
static void check_types(const json_t *schemas) {
    check_member(schemas, "VM", "id", "{\"type\":\"string\"}", true);
    check_member(schemas, "VM", "qemu_pid", "{\"type\":[\"integer\",\"null\"]}", true);
    check_member(
        schemas, "VM", "error",
        "{\"anyOf\":[{\"$ref\":\"#/components/schemas/ErrorDetail\"},{\"type\":\"null\"}]}", true);
    check_member(schemas, "VM", "env",
                 "{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Bytes\"}}", true);
    check_member(schemas, "Event", "detail", "{\"type\":[\"object\",\"array\",\"null\"]}", true);
    check_member(schemas, "Kept", "seed", "{\"type\":\"string\"}", false);
}

static void test_openapi(void) {
    _cleanup_json_ json_t *document = api_openapi();
    _cleanup_json_ json_t *used = json_object();
    const json_t *paths = json_object_get(document, "paths");
    const json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    CHECK_STR(json_string_value(json_object_get(document, "openapi")), "3.1.0");
    for (size_t i = 0; i < API_ID_COUNT; i++) {
        const json_t *path = json_object_get(paths, row_at(i)->path);
        const char *method = strcmp(row_at(i)->method, "GET") == 0    ? "get"
                             : strcmp(row_at(i)->method, "POST") == 0 ? "post"
                             : strcmp(row_at(i)->method, "PUT") == 0  ? "put"
                                                                      : "delete";
        CHECK_STR(json_string_value(json_object_get(json_object_get(path, method), "operationId")),
                  row_at(i)->name);
    }
    check_references(document, schemas, used);
    CHECK_INT(json_object_size(used), json_object_size(schemas));
    check_types(schemas);
}

int main(void) {
    RUN(test_table_is_sorted_and_complete);
    RUN(test_match);
    RUN(test_long_argument_does_not_match);
    RUN(test_path);
    RUN(test_good_input);
    RUN(test_bad_input);
    RUN(test_query_list);
    RUN(test_times);
    RUN(test_query);
    RUN(test_members_stand_together);
    RUN(test_openapi);
    return 0;
}
