/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/str.h"
#include "check.h"
#include "proto/plan.h"

#define N_FDS 10

static void fill(Plan *plan) {
    plan_init(plan);
    strcpy(plan->vm_id, "0123456789abcdef0123456789abcdef");
    strcpy(plan->name, "web1");
    plan->qemu = str_copy("/usr/bin/qemu-system-x86_64");
    strcpy(plan->accel, "tcg");
    strcpy(plan->machine, "microvm");
    strcpy(plan->cpu, "max");
    plan->memory_bytes = 256 * MIB;
    plan->cpus = 2;
    plan->n_cards = 2;
    plan->n_disks = 1;
    plan->disks[0] = (PlanDisk){.serial = "root", .n_files = 2};
    plan->disks[0].files[0] = (PlanDiskFile){.fd = 0, .fd_write = 1, .format = "qcow2"};
    plan->disks[0].files[1] = (PlanDiskFile){.fd = 2, .fd_write = PLAN_NO_FD, .format = "raw"};
    plan->cards[0] = (PlanCard){.network = PLAN_NETWORK_TAP, .fd = 7, .peer_fd = PLAN_NO_FD};
    plan->kernel_fd = 3;
    plan->initrd_fd = 4;
    plan->cmdline = str_copy("console=ttyS0");
    plan->memory_fd = 5;
    plan->console_dir_fd = 6;
    plan->console_max_bytes = MIB;
    memset(plan->marker, 0xab, sizeof(plan->marker));
    strcpy(plan->identity.hostname, "web1");
    memcpy(plan->identity.first.mac, "\x52\x54\x00\x01\x02\x03", 6);
    plan->identity.first.prefix = 24;
    plan->cards[1].network = PLAN_NETWORK_DGRAM;
    plan->cards[1].fd = 7;
    plan->identity.n_further = 1;
    plan->identity.further[0] = (PlanAddress){.ip = "10.77.0.2", .prefix = 24, .ip6 = "fd00::2"};
    plan->uid = 700001;
    plan->remove_on_exit = true;
}

static void round_trip(void) {
    Plan plan, back;
    fill(&plan);
    plan_init(&back);
    _cleanup_json_ json_t *json = plan_to_json(&plan);
    _cleanup_free_ char *text = json_to_text(json);
    _cleanup_json_ json_t *parsed = NULL;
    CHECK_INT(json_parse("plan", text, strlen(text), &parsed, NULL), 0);
    CHECK_INT(plan_from_json(parsed, N_FDS, &back, NULL), 0);
    CHECK_STR(back.qemu, plan.qemu);
    CHECK_STR(back.cmdline, plan.cmdline);
    CHECK_INT(back.disks[0].files[0].fd_write, 1);
    CHECK_INT(back.disks[0].files[1].fd_write, PLAN_NO_FD);
    CHECK(memcmp(back.identity.first.mac, plan.identity.first.mac, 6) == 0);
    CHECK(memcmp(back.marker, plan.marker, 16) == 0);
    CHECK_INT(back.cards[0].network, PLAN_NETWORK_TAP);
    CHECK_INT(back.cards[1].fd, 7);
    CHECK_INT(back.identity.n_further, 1);
    CHECK_STR(back.identity.further[0].ip6, "fd00::2");
    CHECK(back.remove_on_exit);
    _cleanup_json_ json_t *again = plan_to_json(&back);
    CHECK(json_equal(json, again));
    plan_free(&plan);
    plan_free(&back);
}

/* Changes one member of a good plan; the plan must be refused and the output stay untouched. */
static void refuse_in(const char *part, const char *key, json_t *value) {
    Plan plan, back;
    fill(&plan);
    plan_init(&back);
    _cleanup_json_ json_t *json = plan_to_json(&plan);
    json_t *object = part ? json_object_get(json, part) : json;
    if (json_is_array(object))
        object = json_array_get(object, 0);
    json_object_set_new(object, key, value);
    _cleanup_error_ Error error = ERROR_INIT;
    if (plan_from_json(json, N_FDS, &back, &error) >= 0)
        fprintf(stderr, "%s was taken\n", key);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK(!back.qemu);
    CHECK_INT(back.n_disks, 0);
    plan_free(&plan);
}

static json_t *long_text(size_t size) {
    _cleanup_free_ char *text = malloc(size + 1);
    memset(text, 'a', size);
    text[size] = '\0';
    return json_string(text);
}

static json_t *many(size_t count, const char *item) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_loads(item, JSON_DECODE_ANY, NULL));
    return list;
}

/* As the version before wrote it. */
static void another_format(void) {
    Plan plan, back;
    fill(&plan);
    plan_init(&back);
    _cleanup_json_ json_t *json = plan_to_json(&plan);
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(json_object_del(json, "format"), 0);
    CHECK_INT(plan_from_json(json, N_FDS, &back, &error), -EPROTO);
    CHECK_CONTAINS(error_message(&error), "another version");
    plan_free(&plan);
    plan_free(&back);
}

static void hostile_values(void) {
    refuse_in(NULL, "format", json_string("x"));
    refuse_in(NULL, "kernel_fd", json_integer(N_FDS));
    refuse_in(NULL, "kernel_fd", json_integer(-2));
    refuse_in(NULL, "kernel_fd", json_integer(-1)); /* a cold boot needs one */
    refuse_in(NULL, "memory_fd", json_string("5"));
    refuse_in(NULL, "vm_id", long_text(33));
    refuse_in(NULL, "vm_id", json_string("a/b"));
    refuse_in(NULL, "qemu", json_string("qemu"));
    refuse_in(NULL, "qemu", json_null());
    refuse_in(NULL, "cmdline", json_string("a\nb"));
    refuse_in(NULL, "cmdline", long_text(5000));
    refuse_in(NULL, "accel", json_string("xen"));
    refuse_in(NULL, "machine", json_string("microvm,accel=kvm"));
    refuse_in(NULL, "cpus", json_integer(0));
    refuse_in(NULL, "cpus", json_integer(1 << 20));
    refuse_in(NULL, "memory_bytes", json_integer(-1));
    refuse_in(NULL, "memory_bytes", json_integer(4096));
    refuse_in(NULL, "memory_bytes", json_integer(0));
    refuse_in(NULL, "cpu", json_string("host;x"));
    refuse_in("cards", "network", json_string("user")); /* of earlier versions */
    refuse_in("cards", "fd", json_integer(-1));         /* where the network needs one */
    refuse_in("cards", "fd", json_integer(N_FDS));
    refuse_in("cards", "mac", json_string("52540001020"));
    refuse_in(NULL, "identity", json_null());
    refuse_in(NULL, "marker", json_string("abcd"));
    refuse_in(NULL, "remove_on_exit", json_integer(1));
    refuse_in(NULL, "uid", json_integer(UINT32_MAX));
    refuse_in(NULL, "boot", json_string("warm"));
    refuse_in(NULL, "boot", json_string("restore")); /* without a state_fd */
    refuse_in("cards", "network", json_integer(1));
    refuse_in(NULL, "identity", json_array());
    refuse_in("identity", "prefix", json_integer(33));
    refuse_in("identity", "hostname", long_text(64));
    refuse_in("identity", "mac", json_string("52540001020"));
}

static void hostile_lists(void) {
    refuse_in(NULL, "disks", json_object());
    refuse_in(NULL, "disks", many(PLAN_DISKS_MAX + 1, "{}"));
    refuse_in(NULL, "disks", many(1, "7"));
    refuse_in(NULL, "cards", json_object());
    refuse_in(NULL, "cards", many(PLAN_CARDS_MAX + 1, "{}"));
    refuse_in(NULL, "cards", many(1, "[]"));
    refuse_in(NULL, "patch_fds", many(PLAN_PATCHES_MAX + 1, "1"));
    refuse_in(NULL, "patch_fds", many(1, "\"x\""));
    refuse_in("disks", "files", json_array());
    refuse_in("disks", "files", many(PLAN_CHAIN_MAX + 1, "{\"fd\":1,\"format\":\"raw\"}"));
    refuse_in("disks", "files", many(1, "{\"fd\":1,\"format\":\"vmdk\"}"));
    refuse_in("disks", "files", many(1, "{\"fd\":1,\"format\":\"raw\"}")); /* not writable */
    refuse_in("disks", "files", many(2, "{\"fd\":1,\"fd_write\":2,\"format\":\"raw\"}"));
    refuse_in("disks", "files",
              many(2, "{\"fd\":1,\"fd_write\":-1,\"format\":\"raw\"}")); /* one over another */
    refuse_in("disks", "serial", json_string("root,x=y"));
}

static void no_object(void) {
    Plan plan;
    plan_init(&plan);
    CHECK_INT(plan_from_json(NULL, 1, &plan, NULL), -EINVAL);
    _cleanup_json_ json_t *list = json_array();
    CHECK_INT(plan_from_json(list, 1, &plan, NULL), -EINVAL);
}

int main(void) {
    RUN(round_trip);
    RUN(another_format);
    RUN(hostile_values);
    RUN(hostile_lists);
    RUN(no_object);
    return 0;
}
