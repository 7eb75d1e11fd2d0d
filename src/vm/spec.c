/* SPDX-License-Identifier: Apache-2.0 */

/* A specification comes from a client: every member is bounded here, and nothing behind this file
 * checks it again. */

#include "vm/spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"

#define WHAT "the specification"
#define MEMORY_ALIGN_BYTES (2 * MIB)
#define MEMORY_MAX_BYTES (1024 * GIB)
#define DISK_MAX_BYTES (1024 * 1024 * GIB)
#define CPUS_MAX 64
#define ENV_BYTES_MAX 4096

void vm_spec_init(VmSpec *spec) {
    *spec = (VmSpec){.cpus = 1, .network = "user"};
}

void vm_spec_free(VmSpec *spec) {
    strlist_free(&spec->env);
}

static int check_members(const char *what, const json_t *json, const char *const *known,
                         Error *error) {
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value) {
        size_t i = 0;

        while (known[i] && !str_equal(known[i], key))
            i++;
        if (!known[i])
            return error_set(error, ERROR_USAGE, EINVAL, "%s has an unknown member %.40s", what,
                             key);
    }
    return 0;
}

static int read_names(const json_t *json, VmSpec *spec, Error *error) {
    const char *name = NULL, *image, *network = spec->network;
    int r;

    r = json_get_string(WHAT, json, "image", &image, error);
    if (r >= 0)
        r = name_check("image", image, error);
    if (r >= 0)
        r = json_opt_string(WHAT, json, "name", &name, error);
    if (r >= 0 && name)
        r = name_check("VM", name, error);
    if (r >= 0)
        r = json_opt_string(WHAT, json, "network", &network, error);
    if (r < 0)
        return r;
    if (!str_equal(network, "user") && !str_equal(network, "none")) {
        error_set(error, ERROR_USAGE, EINVAL, "there is no network %.64s", network);
        error_set_hint(error, "try --network user or --network none");
        return -EINVAL;
    }
    (void)snprintf(spec->image, sizeof(spec->image), "%s", image);
    (void)snprintf(spec->name, sizeof(spec->name), "%s", name ? name : "");
    if (network != spec->network)
        (void)snprintf(spec->network, sizeof(spec->network), "%s", network);
    return 0;
}

static int check_memory(uint64_t *bytes, Error *error) {
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);

    if (*bytes == 0)
        return 0;
    if (*bytes < SPEC_MEMORY_MIN_BYTES)
        return error_set(
            error, ERROR_USAGE, EINVAL, "%llu KiB of memory are too few (least: %llu MiB)",
            (unsigned long long)(*bytes / KIB), (unsigned long long)(SPEC_MEMORY_MIN_BYTES / MIB));
    if (*bytes > total || *bytes > MEMORY_MAX_BYTES) {
        error_set(error, ERROR_USAGE, EINVAL,
                  "%llu MiB of memory are more than this host has (%llu MiB)",
                  (unsigned long long)(*bytes / MIB), (unsigned long long)(total / MIB));
        error_set_hint(error, "try a smaller --memory");
        return -EINVAL;
    }
    *bytes -= *bytes % MEMORY_ALIGN_BYTES;
    return 0;
}

/* More virtual CPUs than the host has never make a guest faster, but tests want them; four times as
 * many are let through. */
static uint64_t cpus_max(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    return MIN_OF((uint64_t)CPUS_MAX, (uint64_t)(online > 0 ? online : 1) * 4);
}

static int read_sizes(const json_t *json, VmSpec *spec, Error *error) {
    uint64_t memory = spec->memory_bytes, disk = spec->disk_bytes, cpus = spec->cpus;
    int r;

    r = json_opt_u64(WHAT, json, "memory_bytes", &memory, error);
    if (r >= 0)
        r = check_memory(&memory, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "disk_bytes", &disk, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "cpus", &cpus, error);
    if (r < 0)
        return r;
    if (cpus < 1 || cpus > cpus_max())
        return error_set(error, ERROR_USAGE, EINVAL, "%llu CPUs are not between 1 and %llu",
                         (unsigned long long)cpus, (unsigned long long)cpus_max());
    if (disk > DISK_MAX_BYTES)
        return error_set(error, ERROR_USAGE, EINVAL, "a disk of %llu bytes is too large",
                         (unsigned long long)disk);
    spec->memory_bytes = memory;
    spec->disk_bytes = (disk + 511) / 512 * 512;
    spec->cpus = (unsigned)cpus;
    return 0;
}

static int read_forward(const json_t *json, SpecForward *forward, Error *error) {
    static const char *const known[] = {"host_ip", "host_port", "guest_port", "protocol", NULL};
    const char *host_ip = "127.0.0.1", *protocol = "tcp";
    uint64_t host_port = 0, guest_port;
    struct in_addr address;
    int r;

    r = check_members("a forward", json, known, error);
    if (r >= 0)
        r = json_opt_string("a forward", json, "host_ip", &host_ip, error);
    if (r >= 0)
        r = json_opt_string("a forward", json, "protocol", &protocol, error);
    if (r >= 0)
        r = json_opt_u64("a forward", json, "host_port", &host_port, error);
    if (r >= 0)
        r = json_get_u64("a forward", json, "guest_port", &guest_port, error);
    if (r < 0)
        return r;
    if (inet_pton(AF_INET, host_ip, &address) != 1)
        return error_set(error, ERROR_USAGE, EINVAL, "%.40s is no IPv4 address", host_ip);
    if (host_port < 1 || host_port > UINT16_MAX || guest_port < 1 || guest_port > UINT16_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a port is not between 1 and 65535");
    if (!str_equal(protocol, "tcp") && !str_equal(protocol, "udp"))
        return error_set(error, ERROR_USAGE, EINVAL, "%.16s is neither tcp nor udp", protocol);
    forward->host_port = (uint16_t)host_port;
    forward->guest_port = (uint16_t)guest_port;
    forward->udp = str_equal(protocol, "udp");
    (void)inet_ntop(AF_INET, &address, forward->host_ip, sizeof(forward->host_ip));
    return 0;
}

static bool forwards_clash(const SpecForward *a, const SpecForward *b) {
    return a->udp == b->udp && a->host_port == b->host_port &&
           (str_equal(a->host_ip, b->host_ip) || str_equal(a->host_ip, "0.0.0.0") ||
            str_equal(b->host_ip, "0.0.0.0"));
}

static int read_forwards(const json_t *json, VmSpec *spec, Error *error) {
    const json_t *list = json_object_get(json, "forwards");
    int r;

    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SPEC_FORWARDS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "forwards is no list of at most %d",
                         SPEC_FORWARDS_MAX);
    if (json_array_size(list) > 0 && !str_equal(spec->network, "user"))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "ports are forwarded with --network user only");
    for (size_t i = 0; i < json_array_size(list); i++) {
        r = read_forward(json_array_get(list, i), &spec->forwards[i], error);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (forwards_clash(&spec->forwards[i], &spec->forwards[j]))
                return error_set(error, ERROR_USAGE, EINVAL, "host port %u is forwarded twice",
                                 spec->forwards[i].host_port);
        spec->n_forwards = i + 1;
    }
    return 0;
}

int vm_env_check(const json_t *value, Error *error) {
    const char *text = json_string_value(value);
    const char *equals = text ? strchr(text, '=') : NULL;

    if (!equals || equals == text)
        return error_set(error, ERROR_USAGE, EINVAL, "%.60s is not KEY=VALUE",
                         text ? text : "a member of env");
    if (json_string_length(value) > ENV_BYTES_MAX || strlen(text) != json_string_length(value))
        return error_set(error, ERROR_USAGE, EINVAL, "the environment variable %.*s is too long",
                         (int)MIN_OF(equals - text, 60), text);
    return 0;
}

static int read_env(const json_t *json, VmSpec *spec, Error *error) {
    const json_t *list = json_object_get(json, "env");
    int r;

    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SPEC_ENV_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "env is no list of at most %d", SPEC_ENV_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        r = vm_env_check(json_array_get(list, i), error);
        if (r < 0)
            return r;
        strlist_add(&spec->env, json_string_value(json_array_get(list, i)));
    }
    return 0;
}

int vm_spec_from_json(const json_t *json, VmSpec *spec, Error *error) {
    static const char *const known[] = {
        "name", "image",  "memory_bytes", "cpus",  "disk_bytes", "network", "forwards",
        "env",  "remove", "cold",         "start", "exec",       NULL};
    int r;

    if (!json_is_object(json))
        return error_set(error, ERROR_USAGE, EINVAL, WHAT " is no JSON object");
    r = check_members(WHAT, json, known, error);
    if (r >= 0)
        r = read_names(json, spec, error);
    if (r >= 0)
        r = read_sizes(json, spec, error);
    if (r >= 0)
        r = read_forwards(json, spec, error);
    if (r >= 0)
        r = read_env(json, spec, error);
    if (r >= 0)
        r = json_opt_bool(WHAT, json, "remove", &spec->remove, error);
    if (r >= 0)
        r = json_opt_bool(WHAT, json, "cold", &spec->cold, error);
    return r;
}

json_t *vm_spec_forwards_to_json(const VmSpec *spec) {
    json_t *list = json_array();

    for (size_t i = 0; i < spec->n_forwards; i++) {
        const SpecForward *forward = &spec->forwards[i];

        (void)json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:s}", "host_ip", forward->host_ip, "host_port",
                            forward->host_port, "guest_port", forward->guest_port, "protocol",
                            forward->udp ? "udp" : "tcp"));
    }
    return list;
}

json_t *vm_spec_to_json(const VmSpec *spec) {
    json_t *env = json_array();

    for (size_t i = 0; i < spec->env.count; i++)
        (void)json_array_append_new(env, json_string(spec->env.items[i]));
    return json_pack("{s:s, s:s, s:I, s:i, s:I, s:s, s:o, s:o, s:b, s:b}", "name", spec->name,
                     "image", spec->image, "memory_bytes", (json_int_t)spec->memory_bytes, "cpus",
                     (int)spec->cpus, "disk_bytes", (json_int_t)spec->disk_bytes, "network",
                     spec->network, "forwards", vm_spec_forwards_to_json(spec), "env", env,
                     "remove", spec->remove, "cold", spec->cold);
}
