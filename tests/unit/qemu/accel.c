/* SPDX-License-Identifier: Apache-2.0 */

/* The decision with scripted helpers (a shell that says the line), and the real probe: this
 * program, started again with --probe-kvm. */

#include "qemu/accel.h"

#include <errno.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "check.h"

static void ask(const char *script, uint64_t bound_usec, AccelProbe *probe) {
    char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char *)script, NULL};
    accel_probe(argv, bound_usec, probe);
}

#define LONG_BOUND (60 * USEC_PER_SEC)

static void expect(const char *script, AccelOutcome outcome, const char *words) {
    AccelProbe probe;
    _cleanup_free_ char *text = NULL;
    ask(script, LONG_BOUND, &probe);
    CHECK_INT(probe.outcome, outcome);
    text = accel_probe_describe(&probe);
    CHECK_CONTAINS(text, words);
}

static void test_scripted_outcomes(void) {
    expect("echo works 0 - 1000000 700", ACCEL_OUTCOME_WORKS, "works");
    expect("echo no_device 2 open 0 0", ACCEL_OUTCOME_NO_DEVICE, "there is no /dev/kvm");
    expect("echo no_permission 13 open 0 0", ACCEL_OUTCOME_NO_PERMISSION, "may not be opened");
    expect("echo interpreted 4 KVM_RUN 72000 100000", ACCEL_OUTCOME_INTERPRETED,
           "about 1388 times too slowly");
    expect("echo interpreted 4 KVM_RUN 0 100000", ACCEL_OUTCOME_INTERPRETED, "too slowly");
    expect("echo broken 22 KVM_CREATE_VM 0 0", ACCEL_OUTCOME_BROKEN,
           "KVM_CREATE_VM: Invalid argument");
}

static void test_sick_helpers(void) {
    expect("exit 1", ACCEL_OUTCOME_BROKEN, "hear from the helper");
    expect("echo", ACCEL_OUTCOME_BROKEN, "helper");
    expect("echo works", ACCEL_OUTCOME_BROKEN, "helper");
    expect("echo hung 0 - 0 0", ACCEL_OUTCOME_BROKEN, "helper");
    expect("echo fine 0 - 0 0", ACCEL_OUTCOME_BROKEN, "helper");
    expect("yes | tr -d '\\n'", ACCEL_OUTCOME_BROKEN, "helper");
}

static void test_missing_helper(void) {
    char *argv[] = {(char[]){"/no/such/program"}, NULL};
    AccelProbe probe;
    accel_probe(argv, LONG_BOUND, &probe);
    CHECK_INT(probe.outcome, ACCEL_OUTCOME_BROKEN);
    CHECK_INT(probe.errnum, ENOENT);
}

static void test_hang(void) {
    AccelProbe probe;
    _cleanup_free_ char *text = NULL;
    ask("exec sleep 1000", 50000, &probe);
    CHECK_INT(probe.outcome, ACCEL_OUTCOME_HUNG);
    text = accel_probe_describe(&probe);
    CHECK_CONTAINS(text, "does not answer in time");
}

static void test_choose(void) {
    AccelProbe good = {.outcome = ACCEL_OUTCOME_WORKS};
    AccelProbe bad = {.outcome = ACCEL_OUTCOME_INTERPRETED, .turns = 72000, .guest_usec = 100000};
    _cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *d = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    const char *accel = NULL;
    CHECK_INT(accel_choose(NULL, &good, &accel, &a, &error), 0);
    CHECK_STR(accel, "kvm");
    CHECK_INT(accel_choose("auto", &bad, &accel, &b, &error), 0);
    CHECK_STR(accel, "tcg");
    CHECK_CONTAINS(b, "(it interprets): using software emulation");
    CHECK_INT(accel_choose("kvm", &good, &accel, &c, &error), 0);
    CHECK_STR(accel, "kvm");
    free(c);
    c = NULL;
    CHECK_INT(accel_choose("kvm", &bad, &accel, &c, &error), 0);
    CHECK_STR(accel, "kvm");
    CHECK_CONTAINS(c, "RAMET_ACCEL asks for KVM, though");
    CHECK_INT(accel_choose("tcg", NULL, &accel, &d, &error), 0);
    CHECK_STR(accel, "tcg");
    CHECK(!accel_wish_needs_probe("tcg") && accel_wish_needs_probe(NULL) &&
          accel_wish_needs_probe("kvm"));
}

static void test_choose_refuses(void) {
    AccelProbe bad = {.outcome = ACCEL_OUTCOME_NO_PERMISSION, .errnum = EACCES};
    _cleanup_error_ Error error = ERROR_INIT;
    const char *accel = "unset";
    char *reason = NULL;
    CHECK_INT(accel_choose("kvm", &bad, &accel, &reason, &error), -ENODEV);
    CHECK_INT(error.kind, ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error_message(&error), "may not be opened");
    CHECK_INT(accel_choose("fast", &bad, &accel, &reason, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_STR(accel, "unset");
    CHECK(!reason);
}

static void test_cache(void) {
    char folder[] = "/tmp/ramet-test-accel-XXXXXX";
    AccelProbe stored = {.outcome = ACCEL_OUTCOME_INTERPRETED,
                         .turns = 5,
                         .guest_usec = 6,
                         .step = "KVM_RUN"},
               probe;
    AccelProbe absent = {.outcome = ACCEL_OUTCOME_NO_DEVICE};
    bool fresh;
    CHECK(mkdtemp(folder));
    CHECK_INT(accel_cache_load(folder, "boot-1", &probe), -ENOENT);
    CHECK_INT(accel_cache_store(folder, "boot-1", &absent), 0);
    CHECK_INT(accel_cache_load(folder, "boot-1", &probe), -ENOENT);
    CHECK_INT(accel_cache_store(folder, "boot-1", &stored), 0);
    CHECK_INT(accel_cache_load(folder, "boot-2", &probe), -ENOENT);
    CHECK_INT(accel_cache_load(folder, "boot-1", &probe), 0);
    CHECK_INT(probe.outcome, ACCEL_OUTCOME_INTERPRETED);
    CHECK_INT(probe.turns, 5);
    CHECK_STR(probe.step, "KVM_RUN");
    char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"echo works 0 - 1 1"}, NULL};
    accel_probe_cached(folder, NULL, argv, &probe, &fresh);
    CHECK(fresh && probe.outcome == ACCEL_OUTCOME_WORKS);
    argv[2][0] = '#';
    accel_probe_cached(folder, NULL, argv, &probe, &fresh);
    CHECK(!fresh && probe.outcome == ACCEL_OUTCOME_WORKS);
    CHECK_INT(path_remove_tree(folder), 0);
}

/* A host that was busy for a moment is not without KVM until it reboots. */
static void test_cache_of_a_hang(void) {
    char folder[] = "/tmp/ramet-test-accel-XXXXXX";
    char *slow[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"sleep 0.4; echo works 0 - 1 1"},
                    NULL};
    AccelProbe hung = {.outcome = ACCEL_OUTCOME_HUNG}, probe;
    bool fresh;
    CHECK(mkdtemp(folder));
    CHECK_INT(accel_cache_store(folder, NULL, &hung), 0);
    accel_probe_cached(folder, "auto", slow, &probe, &fresh);
    CHECK(!fresh && probe.outcome == ACCEL_OUTCOME_HUNG);
    accel_probe_cached(folder, "kvm", slow, &probe, &fresh);
    CHECK(fresh && probe.outcome == ACCEL_OUTCOME_WORKS);
    accel_probe_cached(folder, NULL, slow, &probe, &fresh);
    CHECK(!fresh && probe.outcome == ACCEL_OUTCOME_WORKS);
    CHECK_INT(path_remove_tree(folder), 0);
}

static void test_json_refuses(void) {
    static const char *const bad[] = {"{}", "{\"outcome\":\"x\"}",
                                      "{\"outcome\":\"works\",\"turns\":\"1\"}"};
    _cleanup_error_ Error error = ERROR_INIT;
    AccelProbe probe;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_json_ json_t *json = json_loads(bad[i], 0, NULL);
        CHECK(accel_probe_from_json(json, &probe, &error) < 0);
    }
}

static void test_probe_without_device(void) {
    AccelProbe probe;
    accel_probe_run("/no/such/device", &probe);
    CHECK_INT(probe.outcome, ACCEL_OUTCOME_NO_DEVICE);
    CHECK_INT(probe.errnum, ENOENT);
    accel_probe_run("/dev/null", &probe);
    CHECK_INT(probe.outcome, ACCEL_OUTCOME_BROKEN);
    CHECK_STR(probe.step, "KVM_CREATE_VM");
}

/* Whatever this host has, an answer must come; 2 s leaves room for a busy machine. */
static void test_real(void) {
    char *argv[] = {(char[]){"/proc/self/exe"}, (char[]){"--probe-kvm"}, NULL};
    _cleanup_free_ char *words = NULL;
    AccelProbe probe;
    accel_probe(argv, ACCEL_PROBE_BOUND_USEC, &probe);
    words = accel_probe_describe(&probe);
    printf("# %s: %llu us, %llu turns in %llu us\n", words, (unsigned long long)probe.duration_usec,
           (unsigned long long)probe.turns, (unsigned long long)probe.guest_usec);
    CHECK(probe.duration_usec < 2 * USEC_PER_SEC);
}

int main(int argc, char *argv[]) {
    if (argc > 1 && str_equal(argv[1], "--probe-kvm"))
        return accel_probe_main(NULL);
    RUN(test_scripted_outcomes);
    RUN(test_sick_helpers);
    RUN(test_missing_helper);
    RUN(test_hang);
    RUN(test_choose);
    RUN(test_choose_refuses);
    RUN(test_cache);
    RUN(test_cache_of_a_hang);
    RUN(test_json_refuses);
    RUN(test_probe_without_device);
    RUN(test_real);
    return 0;
}
