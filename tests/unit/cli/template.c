/* SPDX-License-Identifier: Apache-2.0 */
/* What --format makes of a thing. */
#include "cli/template.h"

#include "check.h"

static const char thing_text[] =
    "{\"name\":\"web1\",\"state\":\"running\",\"memory_bytes\":5,\"ip\":null,\"remove\":false,"
    "\"disk\":{\"path\":\"/x\"},\"forwards\":[{\"host_port\":80}],\"labels\":{\"a/b\":\"c\"}}";

static const struct {
    const char *template;
    const char *expected; /* a part of the message when it begins with '!' */
} cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"{{.Name}}", "web1"},
    {"{{ .Name }}-{name}", "web1-web1"},
    {"{{.MemoryBytes}} {{.memory_bytes}} {memory_bytes}", "5 5 5"},
    {"{{.Names}}\\t{{.Status}}\\n", "web1\trunning\n"},
    {"[{{.IP}}]", "[]"},
    {"{{json .IP}}", "null"},
    {"{{json .Name}}", "\"web1\""},
    {"{{.Disk}} {{.Disk.Path}} {disk.path}", "{\"path\":\"/x\"} /x /x"},
    {"{{json .Disk}}", "{\"path\":\"/x\"}"},
    {"{forwards.0.host_port}", "80"},
    {"{{.Remove}}", "false"},
    {"{\"name\":\"{name}\"}", "{\"name\":\"web1\"}"},
    {"{} { } {a b}", "{} { } {a b}"},
    {"\\x", "\\x"},
    {"{{.IP.x}}", ""},
    {"{{.Nosuch}}", "!no field Nosuch"},
    {"{nosuch}", "!no field nosuch"},
    {"{forwards.1}", "!no field"},
    {"{{.Name.x}}", "!no field"},
    {"{{.Name", "!{{ without }}"},
    {"{{range .}}", "!neither .FIELD"},
    {"{{}}", "!neither .FIELD"},
    {"{{. Name}}", "!neither .FIELD"},
};

static void test_cases(void) {
    _cleanup_json_ json_t *thing = json_loads(thing_text, 0, NULL);
    CHECK(thing);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(strbuf_free) StrBuf line = {0};
        _cleanup_error_ Error error = ERROR_INIT;
        int r = template_apply(cases[i].template, thing, &line, &error);
        if (cases[i].expected[0] == '!') {
            CHECK(r < 0);
            CHECK_INT(error.kind, ERROR_USAGE);
            CHECK_CONTAINS(error.message, cases[i].expected + 1);
            continue;
        }
        CHECK_INT(r, 0);
        CHECK_STR(line.data ? line.data : "", cases[i].expected);
    }
}

static void test_json(void) {
    _cleanup_json_ json_t *thing = json_pack("{s:s}", "a", "b");
    _cleanup_(strbuf_free) StrBuf line = {0}, whole = {0};
    CHECK_INT(template_apply("json", thing, &line, NULL), 0);
    CHECK_STR(line.data, "{\"a\":\"b\"}");
    CHECK_INT(template_apply("{{json .}}", thing, &whole, NULL), 0);
    CHECK_STR(whole.data, "{\"a\":\"b\"}");
}

int main(void) {
    RUN(test_cases);
    RUN(test_json);
    return 0;
}
