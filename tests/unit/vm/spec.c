/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>

#include "base/json.h"
#include "home/identity.h"
#include "home/spec.h"
#include "store/vms.h"
#include "verbs/filter.h"

#include "check.h"

static int parse(const char *text, VmSpec *spec, Error *error) {
    _cleanup_json_ json_t *json = NULL;
    vm_spec_init(spec);
    CHECK_INT(json_parse("test", text, strlen(text), &json, error), 0);
    return vm_spec_parse(json, spec, error);
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
    CHECK_INT(spec.forwards.count, 2);
    CHECK_STR(spec.forwards.items[0].host_ip, "127.0.0.1");
    CHECK(spec.forwards.items[1].udp && spec.remove && spec.cold);
    CHECK_STR(spec.env.items[1], "B=");
    json = vm_spec_to_json(&spec);
    vm_spec_init(&again);
    CHECK_INT(vm_spec_parse(json, &again, NULL), 0);
    json_again = vm_spec_to_json(&again);
    CHECK(json_equal(json, json_again));
}

static void test_defaults(void) {
    _cleanup_vm_spec_ VmSpec spec;
    CHECK_INT(parse("{\"image\":\"busybox\"}", &spec, NULL), 0);
    CHECK_STR(vm_spec_network(&spec), "user");
    CHECK_INT(spec.cpus, 0); /* as the image suggests */
    CHECK_INT(spec.memory_bytes, 0);
    CHECK_STR(spec.name, "");
}

/* Of new VMs; what is stored with less is still read. */
static void test_least_memory(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(vm_spec_check_memory(0, &error), 0);
    CHECK_INT(vm_spec_check_memory(80 * MIB, &error), 0);
    CHECK_INT(vm_spec_check_memory(80 * MIB - 1, &error), -EINVAL);
    CHECK_CONTAINS(error_message(&error), "memory are too few");
    CHECK_CONTAINS(error.hint, "memory of 80M");
}

static void test_networks(void) {
    _cleanup_vm_spec_ VmSpec spec;
    CHECK_INT(parse("{\"image\":\"a\",\"networks\":[\"none\",\"user\"]}", &spec, NULL), 0);
    CHECK_INT(spec.cards.count, 2);
    CHECK_STR(vm_spec_network(&spec), "none");
    CHECK(vm_spec_forward_card(&spec) == &spec.cards.items[1]);
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
        "{\"image\":\"a\",\"network\":\"user\",\"networks\":[\"user\"]}",
        "{\"image\":\"a\",\"networks\":[\"user\",\"user\"]}",
        "{\"image\":\"a\",\"networks\":[\"none\",\"none\",\"none\",\"none\",\"none\"]}",
        "{\"image\":\"a\",\"networks\":[1]}",
        "{\"image\":\"a\",\"network\":\"user,ip=10.0.2.7\"}",
        "{\"image\":\"a\",\"network\":\"lan,ip=10.0.2\"}",
        "{\"image\":\"a\",\"network\":\"lan,mac=01:00:00:00:00:01\"}",
        "{\"image\":\"a\",\"network\":\"lan,size=1\"}",
        "{\"image\":\"a\",\"network\":\"../lan\"}",
        "{\"image\":\"a\",\"cpus\":100000}",
        "{\"image\":\"a\",\"disk_bytes\":9000000000000000000}",
        "{\"image\":\"a\",\"network\":\"none\",\"forwards\":[{\"host_port\":1,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":{}}",
        "{\"image\":\"a\",\"forwards\":[1]}",
        "{\"image\":\"a\",\"hostname\":\"-a\"}",
        "{\"image\":\"a\",\"hostname\":\"a..b\"}",
        "{\"image\":\"a\",\"hostname\":\"a_b\"}",
        "{\"image\":\"a\",\"hostname\":\"a.\"}",
        "{\"image\":\"a\",\"labels\":[]}",
        "{\"image\":\"a\",\"labels\":{\"a\":1}}",
        "{\"image\":\"a\",\"labels\":{\"\":\"x\"}}",
        "{\"image\":\"a\",\"labels\":{\"a b\":\"x\"}}",
        "{\"image\":\"a\",\"labels\":{\"a\":\"x\\n\"}}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":70000,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_ip\":\"1.2.3\",\"host_port\":1,\"guest_port\":1}]}",
        "{\"image\":\"a\",\"forwards\":[{\"host_port\":1,\"guest_port\":1,\"protocol\":\"sctp\"}]}",
        ("{\"image\":\"a\",\"forwards\":[{\"host_port\":1,\"guest_port\":1},"
         "{\"host_ip\":\"0.0.0.0\",\"host_port\":1,\"guest_port\":2}]}"),
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
            vm_spec_parse(json, &spec, &error) >= 0)
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

/* What a VM may be called, how it is chosen by filters. */
static void test_labels(void) {
    static const struct {
        const char *filters;
        bool fits;
    } cases[] = {
        {"[]", true},
        {"[\"label=role\"]", true},
        {"[\"label=role=web\"]", true},
        {"[\"label=role=db\"]", false},
        {"[\"label=empty=\"]", true},
        {"[\"label=role\",\"label=none\"]", false},
        {"[\"name=eb\",\"name=zz\"]", true},
        {"[\"name=w*\"]", true},
        {"[\"name=e*\"]", false},
        {"[\"id=0123\",\"state=running\"]", true},
        {"[\"status=stopped\"]", false},
        {"[\"image=busybox\"]", true},
        {"[\"snapshot=\"]", false},
    };
    VmRow row = {.id = "01234567", .name = "web1", .state = STATE_RUNNING, .image = "busybox"};
    _cleanup_error_ Error error = ERROR_INIT;
    VmFilter wrong = {.list = json_pack("[s]", "nosuch=1")};

    row.spec.labels = json_pack("{s:s, s:s}", "role", "web", "empty", "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *list = json_loads(cases[i].filters, 0, NULL);
        VmFilter filter = {.list = list};
        CHECK_INT(vm_filter_check(&filter, NULL), 0);
        CHECK_INT(vm_filter_matches(&filter, &row), cases[i].fits);
    }
    CHECK(vm_filter_check(&wrong, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
    json_decref((json_t *)wrong.list);
    vm_row_free(&row);
}

static void test_shape_members(void) {
    _cleanup_json_ json_t *json = json_loads(
        "{\"image\":\"a\",\"hostname\":\"a-1.example\",\"labels\":{\"k/a\":\"v w\"},"
        "\"forwards\":[{\"host_port\":0,\"guest_port\":1},{\"host_port\":0,\"guest_port\":2}]}",
        0, NULL);
    _cleanup_json_ json_t *back = NULL;
    _cleanup_vm_spec_ VmSpec spec;
    vm_spec_init(&spec);
    CHECK_INT(vm_spec_parse(json, &spec, NULL), 0);
    CHECK_STR(spec.hostname, "a-1.example");
    CHECK_INT(spec.forwards.count, 2);
    back = vm_spec_to_json(&spec);
    CHECK(json_equal(json_object_get(back, "labels"), json_object_get(json, "labels")));
    CHECK_STR(json_string_value(json_object_get(back, "hostname")), "a-1.example");
}

/* One bound, with its reason and what would do. */
static void test_too_many_cpus(void) {
    _cleanup_vm_spec_ VmSpec spec;
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_json_ json_t *json = json_pack("{s:s, s:i}", "image", "a", "cpus", 5000);
    vm_spec_init(&spec);
    CHECK_INT(vm_spec_parse(json, &spec, &error), -EINVAL);
    CHECK_CONTAINS(error_message(&error), "5000 virtual CPUs are too many");
    CHECK_CONTAINS(error_message(&error), "for each of this host's");
    CHECK_CONTAINS(error.hint, " cpus");
}

static int parse_seed(const char *seed, VmSpec *spec) {
    _cleanup_free_ char *text = str_format("{\"image\":\"x\",\"seeds\":[\"%s\"]}", seed);
    return parse(text, spec, NULL);
}

static void test_seeds(void) {
    static const char *const bad[] = {"home",         "home:root",    ":/root",      "home:/",
                                      "home:/a/../b", "home:/a//b",   "home://",     "home:/./a",
                                      "home:/proc",   "home:/dev/x",  "home:/run/x", "home:/root:",
                                      "home:/root:0", "home:/root:x", "UP:/root",    "a/b:/root"};
    _cleanup_vm_spec_ VmSpec spec;
    CHECK_INT(parse_seed("home:/root//:8G", &spec), 0);
    CHECK_INT(spec.mounts.count, 1);
    CHECK_STR(spec.mounts.items[0].name, "home");
    CHECK_STR(spec.mounts.items[0].path, "/root");
    CHECK_INT(spec.mounts.items[0].bytes, 8 * GIB);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_vm_spec_ VmSpec refused;
        CHECK(parse_seed(bad[i], &refused) < 0);
    }
    {
        _cleanup_vm_spec_ VmSpec twice;
        CHECK(parse("{\"image\":\"x\",\"seeds\":[\"a:/x\",\"b:/x\"]}", &twice, NULL) < 0);
    }
    {
        _cleanup_vm_spec_ VmSpec again = {0};
        _cleanup_json_ json_t *json = vm_spec_to_json(&spec);
        vm_spec_from_json(json, &again);
        CHECK(vm_mounts_equal(&spec.mounts, &again.mounts));
    }
}

int main(void) {
    RUN(test_seeds);
    RUN(test_labels);
    RUN(test_shape_members);
    RUN(test_whole);
    RUN(test_defaults);
    RUN(test_least_memory);
    RUN(test_networks);
    RUN(test_refused);
    RUN(test_hostname);
    RUN(test_too_many_cpus);
    return 0;
}
