/* SPDX-License-Identifier: Apache-2.0 */

/* What a clone is asked. Commands run as those of `ramet exec` do; the clock is the agent's answer
 * to a ping, which any guest has. */

#include "prove/guest.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define CLOCK_TRIES 24

/* The first thing that a clone is made to do is to draw random bytes. */
static const char ask_script[] =
    "echo random=$(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \\n')\n"
    "echo uuid=$(cat /proc/sys/kernel/random/uuid)\n"
    "echo machine_id=$(cat /etc/machine-id)\n"
    "echo hostname=$(cat /proc/sys/kernel/hostname)\n"
    "echo boot_id=$(cat /proc/sys/kernel/random/boot_id)\n"
    "echo mac=$(cat /sys/class/net/eth0/address 2>/dev/null)\n"
    "read up rest </proc/uptime; echo uptime=$up\n"
    "echo generation=$(cat /run/ramet/generation 2>/dev/null)\n"
    /* Who has memory of their own is no thread of the kernel. */
    "for p in /proc/[0-9]*; do\n"
    "    [ $p = /proc/$$ ] || { read -r x <$p/maps && read -r c <$p/comm && echo program=$c; }\n"
    "done 2>/dev/null\n"
    "for f in /etc/ssh/ssh_host_*_key.pub; do [ -f \"$f\" ] && echo ssh_key=$(cat \"$f\"); done\n"
    "true\n";

int guest_script(const Proof *proof, const char *vm, const char *script, char **out, Error *error) {
    _cleanup_json_ json_t *said = NULL;
    _cleanup_json_ json_t *body = json_pack("{s:[s, s, s]}", "argv", "/bin/sh", "-c", script);
    int r = proof_call(proof, API_VM_EXEC, vm, NULL, body, &said, error);
    if (r < 0)
        return error_add_context(error, "a command in clone %.8s", vm);
    if (json_integer_value(json_object_get(said, "exit_status")) != 0) {
        const char *text = json_string_value(json_object_get(said, "stderr"));
        _cleanup_free_ char *clean = str_sanitize(text ? text : "", text ? strlen(text) : 0);
        return error_set(error, ERROR_FAILED, EIO,
                         "a command in clone %.8s ended with status %d: %.200s", vm,
                         (int)json_integer_value(json_object_get(said, "exit_status")), clean);
    }
    if (out)
        *out = str_copy(json_string_value(json_object_get(said, "stdout")));
    return 0;
}

/* ---- facts ---- */

/* key=value lines; the same key again is added after a comma. */
static void parse_line(json_t *facts, char *line) {
    char *value = strchr(line, '=');
    _cleanup_free_ char *clean = NULL;
    const char *before;
    if (!value)
        return;
    *value++ = '\0';
    clean = str_sanitize(value, strlen(value));
    before = json_string_value(json_object_get(facts, line));
    if (before) {
        _cleanup_free_ char *both = str_format("%s, %s", before, clean);
        (void)json_object_set_new(facts, line, json_string(both));
    } else if (*clean) {
        (void)json_object_set_new(facts, line, json_string(clean));
    }
}

static void copy_fact(json_t *facts, const char *name, const json_t *from, const char *key) {
    if (json_object_get(from, key))
        (void)json_object_set(facts, name, json_object_get(from, key));
}

static int ask(Proof *proof, ProveClone *clone, Error *error) {
    _cleanup_json_ json_t *agent = NULL, *vm = NULL;
    _cleanup_free_ char *out = NULL;
    char *rest = NULL;
    uint64_t existed_usec = clock_monotonic_usec() - proof->ready_usec;
    int r = guest_script(proof, clone->id, ask_script, &out, error);
    if (r < 0)
        return r;
    (void)json_object_set_new(clone->facts, "existed_us", json_integer((json_int_t)existed_usec));
    for (char *line = strtok_r(out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        parse_line(clone->facts, line);
    r = proof_call(proof, API_VM_AGENT, clone->id, NULL, NULL, &agent, error);
    if (r >= 0)
        r = proof_call(proof, API_VM_INSPECT, clone->id, NULL, NULL, &vm, error);
    if (r < 0)
        return r;
    copy_fact(clone->facts, "ram_nonce", agent, "ram_nonce");
    copy_fact(clone->facts, "counter", agent, "counter");
    copy_fact(clone->facts, "boot", vm, "boot");
    copy_fact(clone->facts, "ip", vm, "ip");
    copy_fact(clone->facts, "network", vm, "network");
    if (json_is_string(
            json_object_get(json_array_get(json_object_get(vm, "networks"), 0), "guest_mac")))
        copy_fact(clone->facts, "mac", vm, "mac"); /* which its network knows it by */
    return 0;
}

/* The guest looked at its clock between two looks at ours: it is ahead by something between what
 * the later and what the earlier one say. Each try narrows that down; the first that leaves no
 * doubt ends it. */
static int ask_clock(Proof *proof, ProveClone *clone, Error *error) {
    for (int i = 0; i < CLOCK_TRIES; i++) {
        _cleanup_json_ json_t *agent = NULL;
        double before = (double)clock_realtime_usec(), after, guest;
        int r = proof_call(proof, API_VM_AGENT, clone->id, NULL, NULL, &agent, error);
        if (r < 0)
            return r;
        after = (double)clock_realtime_usec();
        guest = json_number_value(json_object_get(agent, "clock_us"));
        if (guest <= 0)
            return error_set(error, ERROR_UNSUPPORTED, ENOSYS,
                             "the snapshot's agent is too old to tell its time");
        clone->least_ms = MAX_OF(clone->least_ms, (guest - after) / 1000);
        clone->most_ms = MIN_OF(clone->most_ms, (guest - before) / 1000);
        if (i >= 2 && clone->least_ms >= -CLOCK_LIMIT_MS && clone->most_ms <= CLOCK_LIMIT_MS)
            break;
    }
    (void)json_object_set_new(clone->facts, "clock_ms",
                              json_pack("[f, f]", clone->least_ms, clone->most_ms));
    return 0;
}

/* ---- marks ---- */

int guest_write_mark(Proof *proof, const char *vm, const char *mark, Error *error) {
    _cleanup_free_ char *script =
        str_format("set -e; mkdir -p /var/lib /dev/shm; echo %s >/var/lib/ramet-prove; "
                   "head -c 1048576 /dev/urandom >/dev/shm/ramet-prove.fill; "
                   "echo %s >/dev/shm/ramet-prove; sync",
                   mark, mark);
    return guest_script(proof, vm, script, NULL, error);
}

int guest_read_mark(Proof *proof, const char *vm, char **mark, Error *error) {
    return guest_script(proof, vm, "echo $(cat /dev/shm/ramet-prove) $(cat /var/lib/ramet-prove)",
                        mark, error);
}

int guest_ask_all(Proof *proof, Error *error) {
    int r = 0;
    proof_enter(proof, "ask");
    for (size_t i = 0; r >= 0 && i < proof->count; i++)
        r = ask(proof, &proof->clones[i], error);
    for (size_t i = 0; r >= 0 && i < proof->count; i++)
        r = ask_clock(proof, &proof->clones[i], error);
    return r;
}
