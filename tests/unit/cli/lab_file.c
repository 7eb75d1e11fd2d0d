/* SPDX-License-Identifier: Apache-2.0 */
/* A lab's description: what the request is, and the line of each mistake. */
#include "cli/lab_file.h"

#include <errno.h>
#include <string.h>

#include "check.h"

static json_t *parse(const char *text) {
    json_t *request = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    if (lab_file_parse("lab.yaml", text, strlen(text), &request, &error) < 0)
        CHECK_STR(error_message(&error), "no error");
    return request;
}

static void check_request(const char *text, const char *expected) {
    _cleanup_json_ json_t *request = parse(text), *wanted = json_loads(expected, 0, NULL);
    _cleanup_free_ char *found = json_to_text(request);
    CHECK(wanted);
    if (!json_equal(request, wanted))
        CHECK_STR(found, expected);
}

static void everything_becomes_a_member(void) {
    check_request("networks:\n"
                  "  lan: {subnet: 10.1.0.0/24, isolated: true, uplink: no}\n"
                  "  wan:\n"
                  "vms:\n"
                  "  web:\n"
                  "    image: busybox\n"
                  "    memory: 256M\n"
                  "    cpus: 2\n"
                  "    disk: 1G\n"
                  "    hostname: www\n"
                  "    networks: [\"lan,ip=10.1.0.7\", wan]\n"
                  "    ports: [8080:80, 127.0.0.1:0:53/udp]\n"
                  "    env: {A: 1, EMPTY: ''}\n"
                  "    labels: {role: web}\n"
                  "    router: true\n"
                  "    run: exec httpd\n"
                  "    ready: wget -qO- localhost\n"
                  "    ready_timeout: 30\n",
                  "{\"networks\":[{\"name\":\"lan\",\"subnet\":\"10.1.0.0/24\",\"isolated\":true,"
                  "\"uplink\":false},{\"name\":\"wan\"}],"
                  "\"vms\":[{\"name\":\"web\",\"image\":\"busybox\",\"memory_bytes\":268435456,"
                  "\"cpus\":2,\"disk_bytes\":1073741824,\"hostname\":\"www\","
                  "\"networks\":[\"lan,ip=10.1.0.7\",\"wan\"],"
                  "\"forwards\":[{\"host_ip\":\"127.0.0.1\",\"host_port\":8080,\"guest_port\":80,"
                  "\"protocol\":\"tcp\"},{\"host_ip\":\"127.0.0.1\",\"host_port\":0,"
                  "\"guest_port\":53,\"protocol\":\"udp\"}],"
                  "\"env\":[\"A=1\",\"EMPTY=\"],\"labels\":{\"role\":\"web\"},\"router\":true,"
                  "\"run\":\"exec httpd\",\"wait_for\":\"wget -qO- localhost\","
                  "\"wait_timeout_s\":30}]}");
}

static void the_only_network_needs_no_name(void) {
    check_request("vms: {a: {image: busybox}}",
                  "{\"networks\":[{\"name\":\"default\"}],\"vms\":[{\"name\":\"a\","
                  "\"image\":\"busybox\",\"networks\":[\"default\"]}]}");
    check_request("networks: {lan: {}}\nvms: {a: {image: busybox}, b: {image: x, networks: []}}",
                  "{\"networks\":[{\"name\":\"lan\"}],\"vms\":[{\"name\":\"a\","
                  "\"image\":\"busybox\",\"networks\":[\"lan\"]},{\"name\":\"b\","
                  "\"image\":\"x\",\"networks\":[]}]}");
}

static void mistakes_have_lines(void) {
#define VM "vms:\n  a:\n    image: busybox\n    "
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"", "lab.yaml: it is empty", NULL},
        {"- a\n", "lab.yaml:1: this is a list, not a mapping", NULL},
        {"networks: {a: }\n", "lab.yaml:1: there are no vms", NULL},
        {"vms:\n", "lab.yaml:1: there are no vms", NULL},
        {"networks:\nvms: {a: {image: x}}\n", "lab.yaml:1: there are no networks", NULL},
        {"vms: [a]\n", "lab.yaml:1: vms is a list, not a mapping", NULL},
        {"\nvm: {}\n", "lab.yaml:2: the key vm is not known here", "known are: networks, vms"},
        {"vms:\n  a:\n    memory: 1G\n", "lab.yaml:2: a has no image", NULL},
        {"vms:\n  a: busybox\n", "lab.yaml:2: a is a single value, not a mapping", NULL},
        {"vms:\n  A!:\n    image: x\n", "lab.yaml:2: A!: ", NULL},
        {"vms:\n  a:\n    image: ../x\n", "lab.yaml:3: image: ", NULL},
        {"vms:\n  a:\n    image:\n", "lab.yaml:3: image has no value", NULL},
        {VM "ram: 1G\n", "lab.yaml:4: the key ram is not known here", "image, memory, cpus"},
        {VM "memory: lots\n", "lab.yaml:4: memory: \"lots\" is no size", NULL},
        {VM "memory: 5T\n", "lab.yaml:4: memory: \"5T\" is more than 4 TiB", NULL},
        {VM "memory: [1G]\n", "lab.yaml:4: memory is a list, not a single value", NULL},
        {VM "cpus: 0\n", "lab.yaml:4: cpus: \"0\" is no number from 1 to 64", NULL},
        {VM "cpus: two\n", "lab.yaml:4: cpus: \"two\" is no number", NULL},
        {VM "ready_timeout: -1\n", "lab.yaml:4: ready_timeout: \"-1\" is no number", NULL},
        {VM "ports:\n      - 80:80\n      - 80\n", "lab.yaml:6: \"80\" is not [IP:]HOST", NULL},
        {VM "ports: [80:80, 81:80, 80:81]\n", "lab.yaml:4: \"80:81\": that port of the host leads",
         NULL},
        {VM "router: 1\n", "lab.yaml:4: router: \"1\" is neither", NULL},
        {VM "ports: 80:80\n", "lab.yaml:4: ports is a single value, not a list", NULL},
        {VM "env: [A=1]\n", "lab.yaml:4: env is a list, not a mapping", NULL},
        {VM "env: {A=B: 1}\n", "lab.yaml:4: \"A=B\" is no name of a variable", NULL},
        {VM "env: {A: [1]}\n", "lab.yaml:4: A is a list, not a single value", NULL},
        {VM "networks:\n      - lan\n", "lab.yaml:5: there is no network lan", NULL},
        {VM "labels: {a: {}}\n", "lab.yaml:4: a is a mapping", NULL},
        {VM "run:\n", "lab.yaml:4: run has no value", NULL},
        {VM "run: x\n    run: y\n", "lab.yaml:5: the key run comes a second time", NULL},
        {"networks: {user: }\n" VM "cpus: 1\n", "lab.yaml:1: a network cannot be called user",
         NULL},
        {"networks: {a b: }\n" VM "cpus: 1\n", "lab.yaml:1: a b: ", NULL},
        {"networks: {a: x}\n" VM "cpus: 1\n", "lab.yaml:1: a is a single value", NULL},
        {"networks: {a: {isolated: maybe}}\n" VM "cpus: 1\n", "isolated: \"maybe\" is neither",
         NULL},
        {"networks: {a: {isolated: 'true'}}\n" VM "cpus: 1\n", "isolated: \"true\" is neither",
         NULL},
        {"networks: {a: {subnet: 10.1.0.1/24}}\n" VM "cpus: 1\n", "\"10.1.0.1/24\" is no IPv4",
         NULL},
        {"networks: {a: {subnet: 10.1.0.0}}\n" VM "cpus: 1\n", "\"10.1.0.0\" is no IPv4", NULL},
        {"networks: {a: {subnet: 10.1.0.0/33}}\n" VM "cpus: 1\n", "is no IPv4 network", NULL},
        {"networks: {a: , b: }\n" VM "cpus: 1\n", "lab.yaml:3: a does not say in which", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *request = NULL;
        _cleanup_error_ Error error = ERROR_INIT;
        CHECK_INT(
            lab_file_parse("lab.yaml", cases[i].text, strlen(cases[i].text), &request, &error),
            -EINVAL);
        CHECK(!request);
        CHECK_INT(error.kind, ERROR_USAGE);
        CHECK_CONTAINS(error.message, cases[i].message);
        if (cases[i].hint)
            CHECK_CONTAINS(error.hint, cases[i].hint);
    }
}

int main(void) {
    RUN(everything_becomes_a_member);
    RUN(the_only_network_needs_no_name);
    RUN(mistakes_have_lines);
    return 0;
}
