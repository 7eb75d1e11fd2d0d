/* SPDX-License-Identifier: Apache-2.0 */

/* A specification comes from a client: every member is bounded here, and nothing behind this file
 * checks it again. */

#include "home/spec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "home/card.h"
#include "home/limits.h"
#include "home/mount.h"
#include "home/policy.h"

#define WHAT "the specification"
#define STORED_MEMORY_MIN_BYTES (16 * MIB)
#define MEMORY_ALIGN_BYTES (2 * MIB)
#define MEMORY_MAX_BYTES (1024 * GIB)
#define DISK_MAX_BYTES (1024 * 1024 * GIB)
#define CPUS_PER_HOST_CPU 4
#define LABELS_MAX 64
#define LABEL_KEY_MAX 63
#define LABEL_VALUE_MAX 255
#define LABEL_KEY_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-"
#define ENV_BYTES_MAX 131071 /* one variable, as execve(2) has it (MAX_ARG_STRLEN without NUL) */

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
    const char *name = NULL, *image;
    int r;
    r = json_get_string(WHAT, json, "image", &image, error);
    if (r >= 0)
        r = name_check("image", image, error);
    if (r >= 0)
        r = json_opt_string(WHAT, json, "name", &name, error);
    if (r >= 0 && name)
        r = name_check("VM", name, error);
    if (r < 0)
        return r;
    str_set(spec->image, image);
    str_set(spec->name, str_or_empty(name));
    return 0;
}

static int read_cards(const json_t *json, VmSpec *spec, Error *error) {
    const json_t *list = json_object_get(json, "networks");
    const char *network = NULL;
    int r = json_opt_string(WHAT, json, "network", &network, error);
    if (r < 0)
        return r;
    if (list && !json_is_array(list))
        return error_set(error, ERROR_USAGE, EINVAL, "networks is no list");
    return vm_cards_parse(network, list, &spec->cards, error);
}

int vm_spec_check_memory(uint64_t bytes, Error *error) {
    if (bytes == 0 || bytes >= SPEC_MEMORY_MIN_BYTES)
        return 0;
    _cleanup_free_ char *size = format_size(bytes), *least = format_size(SPEC_MEMORY_MIN_BYTES);

    error_set(error, ERROR_USAGE, EINVAL, "%s of memory are too few: the kernel needs %s", size,
              least);
    error_set_hint(error, "ask for a memory of %lluM or more",
                   (unsigned long long)(SPEC_MEMORY_MIN_BYTES / MIB));
    return -EINVAL;
}

static int check_memory(uint64_t *bytes, Error *error) {
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
    if (*bytes == 0)
        return 0;
    if (*bytes < STORED_MEMORY_MIN_BYTES) /* of VMs that are there already less is taken */
        return vm_spec_check_memory(*bytes, error);
    if (*bytes > total || *bytes > MEMORY_MAX_BYTES) {
        error_set(error, ERROR_USAGE, EINVAL,
                  "%llu MiB of memory are more than this host has (%llu MiB)",
                  (unsigned long long)(*bytes / MIB), (unsigned long long)(total / MIB));
        error_set_hint(error, "ask for less memory");
        return -EINVAL;
    }
    *bytes -= *bytes % MEMORY_ALIGN_BYTES;
    return 0;
}

/* More virtual CPUs than the host has never make a guest faster, but tests want them; four times as
 * many are let through. */
int vm_spec_check_cpus(uint64_t cpus, Error *error) {
    uint64_t online = (uint64_t)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    uint64_t most = MIN_OF((uint64_t)VM_CPUS_MAX, online * CPUS_PER_HOST_CPU);
    if (cpus <= most)
        return 0;
    error_set(error, ERROR_USAGE, EINVAL,
              "%llu virtual CPUs are too many: a VM may have %d for each of this host's %llu, and "
              "%d in all",
              (unsigned long long)cpus, CPUS_PER_HOST_CPU, (unsigned long long)online, VM_CPUS_MAX);
    error_set_hint(error, "ask for %llu cpus or fewer", (unsigned long long)most);
    return -EINVAL;
}

static int read_sizes(const json_t *json, VmSpec *spec, Error *error) {
    uint64_t memory = spec->memory_bytes, disk = spec->disk_bytes, cpus = spec->cpus;
    int r;
    r = json_opt_u64(WHAT, json, "memory_bytes", &memory, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "disk_bytes", &disk, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "cpus", &cpus, error);
    if (r >= 0 && cpus == 0 && json_object_get(json, "cpus"))
        r = error_set(error, ERROR_USAGE, EINVAL, "a VM has at least one CPU");
    if (r < 0)
        return r;
    spec->memory_bytes = memory;
    spec->disk_bytes = disk;
    spec->cpus = (unsigned)MIN_OF(cpus, (uint64_t)UINT_MAX);
    return 0;
}

int vm_spec_check(VmSpec *spec, Error *error) {
    int r = vm_cards_check(&spec->cards, error);
    if (r >= 0)
        r = check_memory(&spec->memory_bytes, error);
    if (r >= 0)
        r = vm_spec_check_cpus(spec->cpus, error);
    if (r < 0)
        return r;
    if (spec->disk_bytes > DISK_MAX_BYTES)
        return error_set(error, ERROR_USAGE, EINVAL, "a disk of %llu bytes is too large",
                         (unsigned long long)spec->disk_bytes);
    spec->disk_bytes = (spec->disk_bytes + 511) / 512 * 512;
    return 0;
}

static int read_forward(const json_t *json, PortForward *forward, Error *error) {
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
    if (host_port > UINT16_MAX || guest_port < 1 || guest_port > UINT16_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "a port is not between 1 and 65535");
    if (!str_equal(protocol, "tcp") && !str_equal(protocol, "udp"))
        return error_set(error, ERROR_USAGE, EINVAL, "%.16s is neither tcp nor udp", protocol);
    forward->host_port = (uint16_t)host_port;
    forward->guest_port = (uint16_t)guest_port;
    forward->udp = str_equal(protocol, "udp");
    (void)inet_ntop(AF_INET, &address, forward->host_ip, sizeof(forward->host_ip));
    return 0;
}

static bool forwards_clash(const PortForward *a, const PortForward *b) {
    return a->udp == b->udp && a->host_port == b->host_port && a->host_port != 0 &&
           (str_equal(a->host_ip, b->host_ip) || str_equal(a->host_ip, "0.0.0.0") ||
            str_equal(b->host_ip, "0.0.0.0"));
}

int vm_spec_parse_forwards(const json_t *list, VmSpec *spec, Error *error) {
    PortForward *items = spec->forwards.items;
    int r;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > PLAN_FORWARDS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "forwards is no list of at most %d",
                         PLAN_FORWARDS_MAX);
    if (json_array_size(list) > 0 && !vm_spec_forward_card(spec))
        return error_set(error, ERROR_USAGE, EINVAL,
                         "ports are forwarded with --network user only");
    for (size_t i = 0; i < json_array_size(list); i++) {
        r = read_forward(json_array_get(list, i), &items[i], error);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (forwards_clash(&items[i], &items[j]))
                return error_set(error, ERROR_USAGE, EINVAL, "host port %u is forwarded twice",
                                 items[i].host_port);
        spec->forwards.count = i + 1;
    }
    return 0;
}

int vm_env_check(const json_t *value, Error *error) {
    const char *text = json_string_value(value);
    const char *equals = text ? strchr(text, '=') : NULL;
    if (!equals || equals == text)
        return error_set(error, ERROR_USAGE, EINVAL, "%.60s is not KEY=VALUE",
                         text ? text : "a member of env");
    if (json_string_length(value) > ENV_BYTES_MAX)
        return error_set(error, ERROR_USAGE, E2BIG,
                         "the environment variable %.*s is longer than %d bytes",
                         (int)MIN_OF(equals - text, 60), text, ENV_BYTES_MAX);
    if (strlen(text) != json_string_length(value))
        return error_set(error, ERROR_USAGE, EINVAL, "the environment variable %.*s holds a NUL",
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

static int read_ssh_keys(const json_t *json, VmSpec *spec, Error *error) {
    const json_t *list = json_object_get(json, "ssh_keys"), *item;
    size_t i, bytes = 0;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return error_set(error, ERROR_USAGE, EINVAL, "ssh_keys is no list of public keys");
    json_array_foreach(list, i, item) {
        const char *line = str_or_empty(json_string_value(item));
        int r = ssh_key_check_public(line, error);
        if (r < 0)
            return r;
        bytes += strlen(line) + 1;
        strlist_add(&spec->ssh_keys, line);
    }
    return bytes < SSH_AUTHORIZED_KEYS_SIZE
               ? 0
               : error_set(error, ERROR_USAGE, E2BIG,
                           "these SSH keys have more than the %d bytes that a VM takes of them",
                           SSH_AUTHORIZED_KEYS_SIZE - 1);
}

/* A label of a host name: RFC 1123, section 2.1. */
static bool is_label(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-')
            return false;
    return size > 0 && text[0] != '-' && text[size - 1] != '-';
}

int vm_hostname_check(const char *hostname, Error *error) {
    const char *rest = hostname;
    bool fine = strlen(hostname) <= 63;
    for (;; rest++) {
        size_t n = strcspn(rest, ".");
        fine &= is_label(rest, n);
        rest += n;
        if (!*rest)
            break;
    }
    return fine ? 0
                : error_set(error, ERROR_USAGE, EINVAL,
                            "\"%.64s\" is no host name (up to 63 letters, digits, inner hyphens "
                            "and dots)",
                            hostname);
}

static int read_hostname(const json_t *json, VmSpec *spec, Error *error) {
    const char *hostname = NULL;
    int r = json_opt_string(WHAT, json, "hostname", &hostname, error);
    if (r < 0 || !hostname || !*hostname)
        return r;
    r = vm_hostname_check(hostname, error);
    if (r >= 0)
        (void)snprintf(spec->hostname, sizeof(spec->hostname), "%s", hostname);
    return r;
}

static int check_label(const char *key, const json_t *value, Error *error) {
    const char *text = json_string_value(value);
    size_t length = strlen(key);
    if (length == 0 || length > LABEL_KEY_MAX || strspn(key, LABEL_KEY_CHARACTERS) != length)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "\"%.64s\" is no key of a label (1 to %d of letters, digits and ._/-)",
                         key, LABEL_KEY_MAX);
    if (!text || json_string_length(value) > LABEL_VALUE_MAX)
        return error_set(error, ERROR_USAGE, EINVAL,
                         "the value of the label %s is no text of up to %d bytes", key,
                         LABEL_VALUE_MAX);
    for (size_t i = 0; i < json_string_length(value); i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return error_set(error, ERROR_USAGE, EINVAL,
                             "the value of the label %s has control characters", key);
    return 0;
}

int vm_spec_add_labels(VmSpec *spec, const json_t *labels, Error *error) {
    const char *key;
    json_t *value;
    if (!labels || json_is_null(labels))
        return 0;
    if (!spec->labels)
        spec->labels = json_object();
    if (json_object_update(spec->labels, (json_t *)labels) < 0 ||
        json_object_size(spec->labels) > LABELS_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "labels is no object of at most %d",
                         LABELS_MAX);
    json_object_foreach(spec->labels, key, value) {
        int r = check_label(key, value, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_limit(const json_t *json, VmSpec *spec, Error *error) {
    const char *text = "";
    int r = json_opt_string(WHAT, json, "net_limit", &text, error);
    if (r < 0 || !*text)
        return r;
    for (size_t i = 0; i < spec->cards.count; i++)
        if (!str_equal(spec->cards.items[i].network, "none"))
            return net_limit_parse(text, &spec->net_limit, error);
    error_set(error, ERROR_USAGE, EINVAL, "limits are of a network, and it is in none");
    error_set_hint(error, "choose one with --network");
    return -EINVAL;
}

static int read_wait(const json_t *json, VmSpec *spec, Error *error) {
    const char *command = "";
    int r = json_opt_string(WHAT, json, "wait_for", &command, error);
    if (r >= 0)
        r = json_opt_u64(WHAT, json, "wait_timeout_s", &spec->wait_timeout_s, error);
    if (r < 0)
        return r;
    if (strlen(command) >= sizeof(spec->wait_for))
        return error_set(error, ERROR_USAGE, EINVAL, "the command to wait for is too long");
    (void)snprintf(spec->wait_for, sizeof(spec->wait_for), "%s", command);
    return 0;
}

static int read_flags(const json_t *json, VmSpec *spec, Error *error) {
    int r = json_opt_bool(WHAT, json, "router", &spec->router, error);
    if (r >= 0)
        r = json_opt_bool(WHAT, json, "remove", &spec->remove, error);
    return r < 0 ? r : json_opt_bool(WHAT, json, "cold", &spec->cold, error);
}

static int read_policy(const json_t *json, VmSpec *spec, Error *error) {
    int r = vm_policy_parse(json, &spec->policy, error);
    if (r < 0 || !spec->remove || spec->policy.restart == RESTART_NO)
        return r;
    error_set(error, ERROR_USAGE, EINVAL,
              "a VM that is removed at its end cannot be started again");
    error_set_hint(error, "leave out --rm or --restart");
    return -EINVAL;
}

static int read_words(const json_t *json, const char *key, StrList *words, bool *given,
                      Error *error) {
    const json_t *list = json_object_get(json, key), *word;
    size_t i;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SPEC_ENV_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "%s is no list of words", key);
    json_array_foreach(list, i, word) {
        const char *text = json_string_value(word);
        if (!text || strlen(text) != json_string_length(word))
            return error_set(error, ERROR_USAGE, EINVAL, "%s has a word that is no text", key);
        strlist_add(words, text);
    }
    *given = true;
    return 0;
}

static int read_text(const json_t *json, const char *key, char **text, Error *error) {
    const char *said = NULL;
    int r = json_opt_string(WHAT, json, key, &said, error);
    if (r >= 0 && said && *said)
        *text = str_copy(said);
    return r;
}

/* What is to run in it instead of what its image says. */
static int read_program(const json_t *json, VmSpec *spec, Error *error) {
    int r = read_words(json, "entrypoint", &spec->config.entrypoint, &spec->own_entrypoint, error);
    if (r >= 0)
        r = read_words(json, "command", &spec->config.command, &spec->own_command, error);
    if (r >= 0)
        r = read_text(json, "directory", &spec->config.directory, error);
    if (r >= 0)
        r = read_text(json, "user", &spec->config.user, error);
    return r < 0 ? r : json_opt_bool(WHAT, json, "publish_all", &spec->publish_all, error);
}

static int read_machine(const json_t *json, VmSpec *spec, Error *error) {
    const char *machine = NULL;
    int r = json_opt_string(WHAT, json, "machine", &machine, error);
    if (r < 0 || !machine || !*machine)
        return MIN_OF(r, 0);
    spec->microvm = str_equal(machine, "microvm");
    return spec->microvm ? 0
                         : error_set(error, ERROR_USAGE, EINVAL,
                                     "\"%.16s\" is no machine to choose: microvm", machine);
}

static const char *const MEMBERS[] = {"name",
                                      "image",
                                      "memory_bytes",
                                      "cpus",
                                      "disk_bytes",
                                      "network",
                                      "networks",
                                      "forwards",
                                      "env",
                                      "remove",
                                      "cold",
                                      "start",
                                      "exec",
                                      "hostname",
                                      "labels",
                                      "wait_for",
                                      "wait_timeout_s",
                                      "router",
                                      "net_limit",
                                      "ttl_ms",
                                      "restart",
                                      "idle_standby_ms",
                                      "entrypoint",
                                      "command",
                                      "directory",
                                      "user",
                                      "publish_all",
                                      "seeds",
                                      "ssh_keys",
                                      "volumes",
                                      "cpu_limit",
                                      "io_limit",
                                      "memory_limit",
                                      "pids_limit",
                                      "config_disk",
                                      "machine",
                                      NULL};

int vm_spec_parse(const json_t *json, VmSpec *spec, Error *error) {
    int r;
    if (!json_is_object(json))
        return error_set(error, ERROR_USAGE, EINVAL, WHAT " is no JSON object");
    r = check_members(WHAT, json, MEMBERS, error);
    if (r >= 0)
        r = read_names(json, spec, error);
    if (r >= 0)
        r = read_machine(json, spec, error);
    if (r >= 0)
        r = read_cards(json, spec, error);
    if (r >= 0)
        r = read_sizes(json, spec, error);
    if (r >= 0)
        r = vm_mounts_parse(json_object_get(json, "seeds"), json_object_get(json, "volumes"),
                            &spec->mounts, error);
    if (r >= 0)
        r = read_text(json, "config_disk", &spec->config_disk, error);
    if (r >= 0)
        r = vm_spec_check(spec, error);
    if (r >= 0)
        r = vm_spec_parse_forwards(json_object_get(json, "forwards"), spec, error);
    if (r >= 0)
        r = read_limit(json, spec, error);
    if (r >= 0)
        r = read_env(json, spec, error);
    if (r >= 0)
        r = read_ssh_keys(json, spec, error);
    if (r >= 0)
        r = read_hostname(json, spec, error);
    if (r >= 0)
        r = vm_spec_add_labels(spec, json_object_get(json, "labels"), error);
    if (r >= 0)
        r = read_wait(json, spec, error);
    if (r >= 0)
        r = read_program(json, spec, error);
    if (r >= 0)
        r = read_flags(json, spec, error);
    if (r >= 0)
        r = read_policy(json, spec, error);
    return r < 0 ? r : vm_limits_parse(json, &spec->limits, error);
}
