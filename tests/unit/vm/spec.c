/* SPDX-License-Identifier: Apache-2.0 */

#include "vm/spec.h"

#include "base/error.h"
#include "check.h"
#include "vm/internal.h"

static int parse(const char *text, VmSpec *spec, Error *error) {
    _cleanup_json_ json_t *json = NULL;

    vm_spec_init(spec);
    CHECK_INT(json_parse("test", text, strlen(text), &json, error), 0);
    return vm_spec_from_json(json, spec, error);
}

static void test_whole(void) {
    _cleanup_vm_spec_ VmSpec spec, again;
    _cleanup_json_ json_t *json = NULL, *json_again = NULL;

    CHECK_INT(
        parse("{\"name\":\"web1\",\"image\":\"debian\",\"memory_bytes\":67108864,\"cpus\":2,"
              "\"disk_bytes\":1000,\"network\":\"user\",\"forwards\":[{\"host_port\":8080,"
              "\"guest_port\":80},{\"host_ip\":\"0.0.0.0\",\"host_port\":53,\"guest_port\":53,"
              "\"protocol\":\"udp\"}],\"env\":[\"A=1\",\"B=\"],\"remove\":true,\"cold\":true,"
              "\"start\":true}",
              &spec, NULL),
        0);
    CHECK_STR(spec.name, "web1");
    CHECK_INT(spec.disk_bytes, 1024);
    CHECK_INT(spec.n_forwards, 2);
    CHECK_STR(spec.forwards[0].host_ip, "127.0.0.1");
    CHECK(spec.forwards[1].udp && spec.remove && spec.cold);
    CHECK_STR(spec.env.items[1], "B=");
    json = vm_spec_to_json(&spec);
    vm_spec_init(&again);
    CHECK_INT(vm_spec_from_json(json, &again, NULL), 0);
    json_again = vm_spec_to_json(&again);
    CHECK(json_equal(json, json_again));
}

static void test_defaults(void) {
    _cleanup_vm_spec_ VmSpec spec;

    CHECK_INT(parse("{\"image\":\"busybox\"}", &spec, NULL), 0);
    CHECK_STR(spec.network, "user");
    CHECK_INT(spec.cpus, 1);
    CHECK_INT(spec.memory_bytes, 0);
    CHECK_STR(spec.name, "");
}

static void test_refused(void) {
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"image\":1}",
        "{\"image\":\"../x\"}",
        "{\"image\":\"a/b\"}",
        "{\"image\":\"a\",\"name\":\"../etc\"}",
        "{\"image\":\"a\",\"name\":\"\"}",
        "{\"image\":\"a\",\"name\":\"A\"}",
        "{\"image\":\"a\",\"name\":\"a\\u0000b\"}",
        "{\"image\":\"a\",\"memory_bytes\":1}",
        "{\"image\":\"a\",\"memory_bytes\":-1}",
        "{\"image\":\"a\",\"memory_bytes\":9000000000000000000}",
        "{\"image\":\"a\",\"memory_bytes\":\"512M\"}",
        "{\"image\":\"a\",\"cpus\":0}",
        "{\"image\":\"a\",\"cpus\":100000}",
        "{\"image\":\"a\",\"disk_bytes\":9000000000000000000}",
        "{\"image\":\"a\",\"network\":\"br0\"}",
        "{\"image\":\"a\",\"network\":\"none\",\"forwards\":[{\"host_port\":1,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":{}}",
        "{\"image\":\"a\",\"forwards\":[1]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":0,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":70000,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_ip\":\"1.2.3\",\"host_port\":1,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":1,\"guest_port\":1,\"protocol\":\"sctp\"}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":1,\"guest_port\":1},"
        "{\"host_ip\":\"0.0.0.0\",\"host_port\":1,\"guest_port\":2}]}",
        "{\"image\":\"a\",\"env\":[\"novalue\"]}",
        "{\"image\":\"a\",\"env\":[\"=x\"]}",
        "{\"image\":\"a\",\"env\":[1]}",
        "{\"image\":\"a\",\"env\":\"A=1\"}",
        "{\"image\":\"a\",\"remove\":1}",
        "{\"image\":\"a\",\"unknown\":1}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ Error error = ERROR_INIT;
        _cleanup_vm_spec_ VmSpec spec;

        _cleanup_json_ json_t *json = NULL;

        vm_spec_init(&spec);
        if (json_parse("test", bad[i], strlen(bad[i]), &json, &error) == 0 &&
            vm_spec_from_json(json, &spec, &error) >= 0)
            fprintf(stderr, "taken: %s\n", bad[i]);
        CHECK_INT(error.kind, ERROR_USAGE);
    }
}

static void test_hostname(void) {
    static const struct {
        const char *name, *hostname;
    } cases[] = {
        {"web1", "web1"},        {"a-b", "a-b"},       {"a_b", "a-b-01234567"},
        {"a.b", "a-b-01234567"}, {"a-", "a-01234567"},
    };
    _cleanup_free_ char *longest = NULL;
    char name[64];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *hostname = identity_hostname(cases[i].name, "0123456789abcdef");

        CHECK_STR(hostname, cases[i].hostname);
    }
    memset(name, 'a', sizeof(name));
    name[62] = '_';
    name[63] = '\0';
    longest = identity_hostname(name, "0123456789abcdef");
    CHECK(strlen(longest) <= 63);
}

int main(void) {
    RUN(test_whole);
    RUN(test_defaults);
    RUN(test_refused);
    RUN(test_hostname);
    return 0;
}
