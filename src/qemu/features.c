/* SPDX-License-Identifier: Apache-2.0 */

/* The binary is started with no machine (-M none), so it starts in some ten milliseconds and needs
 * no memory, and is asked through its monitor. One table says which question tells which feature.
 * The lists of properties of real machine types are not asked for: QEMU 7.2 aborts on microvm's. */

#include "qemu/features.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "qemu/qmp.h"

#define CACHE_NAME "qemu-features.json"
#define CACHE_FORMAT 2

void qemu_features_free(QemuFeatures *features) {
    free(features->binary);
    features->binary = NULL;
}

int qemu_find_binary(const char *name, char **path, Error *error) {
    const char *wanted = name ? name : getenv("RAMET_QEMU");
    char *found = path_find_program(wanted && *wanted ? wanted : "qemu-system-x86_64");
    if (!found) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT, "there is no QEMU: %s was not found",
                  wanted && *wanted ? wanted : "qemu-system-x86_64");
        error_set_hint(error, "install qemu-system-x86, or set RAMET_QEMU to its path");
        return -ENOENT;
    }
    *path = found;
    return 0;
}

/* The process that is asked */

typedef struct Probe {
    pid_t pid;
    int err_fd; /* owned: QEMU's standard error, a memory file */
    Qmp *qmp;   /* owned */
    uint64_t deadline_usec;
} Probe;

static void probe_end(Probe *probe) {
    qmp_free(probe->qmp);
    if (probe->pid > 0) {
        (void)kill(probe->pid, SIGKILL);
        while (waitpid(probe->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    (void)fd_close(probe->err_fd);
}

static int probe_spawn(Probe *probe, const char *binary, int qmp_fd, Error *error) {
    SpawnFd fds[] = {{probe->err_fd, 2}, {qmp_fd, 3}};
    _cleanup_(strlist_free) StrList argv = {0};
    SpawnOptions options = {
        .program = binary, .fds = fds, .n_fds = ARRAY_SIZE(fds), .die_with_parent = true};
    strlist_add_many(&argv, binary, "-M", "none", "-accel", "tcg", "-nodefaults", "-no-user-config",
                     NULL);
    strlist_add_many(&argv, "-display", "none", "-S", "-chardev", "socket,id=qmp,fd=3", NULL);
    strlist_add_many(&argv, "-mon", "chardev=qmp,mode=control", NULL);
    options.argv = argv.items;
    return spawn_process(&options, &probe->pid, error);
}

static int probe_begin(Probe *probe, const char *binary, Error *error) {
    _cleanup_close_ int theirs = -1;
    int pair[2], r;
    probe->err_fd = memfd_create("qemu-stderr", MFD_CLOEXEC);
    if (probe->err_fd < 0)
        return error_set_errno(error, errno, "cannot make a memory file");
    r = fd_socketpair(SOCK_STREAM, pair);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make a socket pair");
    probe->qmp = qmp_new(pair[0]);
    theirs = pair[1];
    return probe_spawn(probe, binary, theirs, error);
}

/* Puts what QEMU said on its standard error behind the reason. */
static int probe_failed(const Probe *probe, const char *binary, Error *error, Error *reason) {
    char text[512];
    ssize_t n = fd_pread_full(probe->err_fd, text, sizeof(text), 0);
    _cleanup_free_ char *said = str_sanitize(text, n > 0 ? (size_t)n : 0);
    ErrorKind kind = reason->kind == ERROR_TIMEOUT ? ERROR_TIMEOUT : ERROR_UNSUPPORTED;
    while (said[0] && said[strlen(said) - 1] == '\n')
        said[strlen(said) - 1] = '\0';
    error_set(error, kind, reason->errnum, "%s does not answer: %s%s%s", binary,
              error_message(reason), said[0] ? "; it said: " : "", said);
    error_set_hint(error, "try it by hand: %s --version", binary);
    return -reason->errnum;
}

/* Questions */

/* Does the array hold an object whose member `key` is `value`? */
static json_t *find_object(const json_t *array, const char *key, const char *value) {
    size_t i;
    json_t *item;
    json_array_foreach(
        (json_t *)array, i,
        item) if (str_equal(json_string_value(json_object_get(item, key)), value)) return item;
    return NULL;
}

static bool has_name(const json_t *array, const char *name) {
    return find_object(array, "name", name);
}

static int ask(Probe *probe, const char *command, const char *key, const char *value,
               json_t **answer, Error *error) {
    _cleanup_json_ json_t *arguments = key ? json_pack("{s:s}", key, value) : NULL;
    return qmp_call(probe->qmp, command, arguments, probe->deadline_usec, answer, error);
}

static int ask_machines(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *machines = NULL;
    int r = ask(probe, "query-machines", NULL, NULL, &machines, error);
    features->microvm = has_name(machines, "microvm");
    features->q35 = has_name(machines, "q35") || find_object(machines, "alias", "q35");
    return r;
}

static int ask_commands(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *commands = NULL;
    int r = ask(probe, "query-commands", NULL, NULL, &commands, error);
    features->save_devices = has_name(commands, "xen-save-devices-state");
    features->fdset = has_name(commands, "add-fd") && has_name(commands, "getfd");
    features->snapshot =
        has_name(commands, "blockdev-snapshot") && has_name(commands, "blockdev-add");
    return r;
}

static int ask_accelerators(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *types = NULL;
    int r = ask(probe, "qom-list-types", "implements", "accel", &types, error);
    features->tcg = has_name(types, "tcg-accel");
    features->kvm = has_name(types, "kvm-accel");
    return r;
}

/* A QEMU without the type answers with an error: then it has none of its properties. */
static int ask_properties(Probe *probe, const char *type, json_t **properties, Error *error) {
    _cleanup_error_ Error reason = ERROR_INIT;
    int r = ask(probe, "qom-list-properties", "typename", type, properties, &reason);
    return r == 0 || r == -ENODEV || r == -EREMOTEIO ? 0 : error_move(error, &reason);
}

static int ask_memory(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *file = NULL, *machine = NULL;
    int r = ask_properties(probe, "memory-backend-file", &file, error);
    features->memory_file = has_name(file, "mem-path");
    features->memory_rom = has_name(file, "rom") && has_name(file, "readonly");
    if (r == 0)
        r = ask_properties(probe, "none-machine", &machine, error);
    features->suppress_vmdesc = has_name(machine, "suppress-vmdesc");
    return r;
}

static int ask_options(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *options = NULL;
    int r = ask(probe, "query-command-line-options", NULL, NULL, &options, error);
    const json_t *chardev = find_object(options, "option", "chardev");
    features->chardev_fd = has_name(json_object_get(chardev, "parameters"), "fd");
    features->sandbox = find_object(options, "option", "sandbox");
    return r;
}

/* The cases of netdev_add's argument, by the schema: "user" is there when QEMU was built with
 * slirp. */
static int ask_network(Probe *probe, QemuFeatures *features, Error *error) {
    _cleanup_json_ json_t *schema = NULL;
    int r = ask(probe, "query-qmp-schema", NULL, NULL, &schema, error);
    const json_t *command = find_object(schema, "name", "netdev_add");
    const char *type = json_string_value(json_object_get(command, "arg-type"));
    const json_t *argument = type ? find_object(schema, "name", type) : NULL;
    features->user_network = find_object(json_object_get(argument, "variants"), "case", "user");
    return r;
}

static void read_version(const json_t *greeting, QemuFeatures *features) {
    const json_t *qmp = json_object_get(greeting, "QMP"),
                 *version = json_object_get(qmp, "version");
    const json_t *numbers = json_object_get(version, "qemu");
    const char *package = json_string_value(json_object_get(version, "package"));
    _cleanup_free_ char *clean =
        str_sanitize(package ? package : "", package ? strlen(package) : 0);
    (void)snprintf(features->version, sizeof(features->version), "%d.%d.%d%s%s%s",
                   (int)json_integer_value(json_object_get(numbers, "major")),
                   (int)json_integer_value(json_object_get(numbers, "minor")),
                   (int)json_integer_value(json_object_get(numbers, "micro")), clean[0] ? " (" : "",
                   clean, clean[0] ? ")" : "");
}

static int ask_all(Probe *probe, QemuFeatures *features, Error *error) {
    static int (*const questions[])(Probe *, QemuFeatures *, Error *) = {
        ask_machines, ask_commands, ask_accelerators, ask_memory, ask_options, ask_network};
    _cleanup_json_ json_t *greeting = NULL;
    int r = qmp_greeting(probe->qmp, probe->deadline_usec, &greeting, error);
    read_version(greeting, features);
    for (size_t i = 0; i < ARRAY_SIZE(questions) && r == 0; i++)
        r = questions[i](probe, features, error);
    return r;
}

/* The binary's identity */

static uint64_t mtime_nsec(const struct stat *st) {
    return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

static int identify_binary(const char *binary, QemuFeatures *features, Error *error) {
    _cleanup_close_ int fd = open(binary, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int r;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot open %s", binary);
    r = sha256_file(fd, features->sha256, error);
    features->size_bytes = (uint64_t)st.st_size;
    features->mtime_nsec = mtime_nsec(&st);
    return r;
}

bool qemu_features_fit(const QemuFeatures *features, const char *binary) {
    struct stat st;
    return str_equal(features->binary, binary) && stat(binary, &st) == 0 &&
           (uint64_t)st.st_size == features->size_bytes && mtime_nsec(&st) == features->mtime_nsec;
}

int qemu_probe_features(const char *binary, uint64_t deadline_usec, QemuFeatures *features,
                        Error *error) {
    _cleanup_error_ Error reason = ERROR_INIT;
    _cleanup_(probe_end) Probe probe = {.pid = -1, .err_fd = -1, .deadline_usec = deadline_usec};
    QemuFeatures found = {0};
    int r = identify_binary(binary, &found, error);
    if (r < 0)
        return r;
    r = probe_begin(&probe, binary, error);
    if (r < 0)
        return r;
    r = ask_all(&probe, &found, &reason);
    if (r < 0)
        return probe_failed(&probe, binary, error, &reason);
    found.binary = str_copy(binary);
    *features = found;
    return 0;
}

/* What it is worth, and JSON: one table of the switches */

typedef struct Switch {
    const char *name;
    size_t offset;
    bool required; /* no VM can run without it */
    const char *what;
} Switch;

static const Switch switches[] = {
    {"microvm", offsetof(QemuFeatures, microvm), true, "machine type microvm"},
    {"q35", offsetof(QemuFeatures, q35), false, "machine type q35"},
    {"tcg", offsetof(QemuFeatures, tcg), false, "software emulation"},
    {"kvm", offsetof(QemuFeatures, kvm), false, "KVM"},
    {"memory_file", offsetof(QemuFeatures, memory_file), true, "memory-backend-file"},
    {"memory_rom", offsetof(QemuFeatures, memory_rom), false,
     "private mappings of read-only files (rom=off)"},
    {"save_devices", offsetof(QemuFeatures, save_devices), false, "xen-save-devices-state"},
    {"suppress_vmdesc", offsetof(QemuFeatures, suppress_vmdesc), true,
     "machine option suppress-vmdesc"},
    {"chardev_fd", offsetof(QemuFeatures, chardev_fd), true, "sockets given as descriptors"},
    {"fdset", offsetof(QemuFeatures, fdset), true, "descriptor sets"},
    {"user_network", offsetof(QemuFeatures, user_network), false, "user-mode networking"},
    {"sandbox", offsetof(QemuFeatures, sandbox), true, "-sandbox (seccomp)"},
    {"snapshot", offsetof(QemuFeatures, snapshot), false, "blockdev-snapshot"},
};

static bool *switch_of(const Switch *item, const QemuFeatures *features) {
    return (bool *)((char *)features + item->offset);
}

int qemu_features_check(const QemuFeatures *features, Error *error) {
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
        if (switches[i].required && !*switch_of(&switches[i], features)) {
            error_set(error, ERROR_UNSUPPORTED, ENOSYS, "%s (version %s) lacks %s",
                      features->binary, features->version, switches[i].what);
            error_set_hint(error,
                           "use the QEMU of Debian 12 or later (7.2 or later), or set RAMET_QEMU");
            return -ENOSYS;
        }
    return 0;
}

json_t *qemu_features_to_json(const QemuFeatures *features) {
    json_t *json = json_pack("{s:i, s:s, s:I, s:I, s:s, s:s}", "format", CACHE_FORMAT, "binary",
                             features->binary, "size_bytes", (json_int_t)features->size_bytes,
                             "mtime_nsec", (json_int_t)features->mtime_nsec, "sha256",
                             features->sha256, "version", features->version);
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
        if (json_object_set_new(json, switches[i].name,
                                json_boolean(*switch_of(&switches[i], features))) < 0)
            abort();
    return json;
}

static int read_text(const json_t *json, const char *key, char *text, size_t room, Error *error) {
    const char *value = NULL;
    int r = json_get_string("QEMU's features", json, key, &value, error);
    if (r == 0 && strlen(value) >= room)
        return error_set(error, ERROR_USAGE, EINVAL, "%s of QEMU's features is too long", key);
    if (r == 0)
        (void)snprintf(text, room, "%s", value);
    return r;
}

static int read_switches(const json_t *json, QemuFeatures *features, Error *error) {
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        int r = json_opt_bool("QEMU's features", json, switches[i].name,
                              switch_of(&switches[i], features), error);
        if (r < 0)
            return r;
    }
    return 0;
}

int qemu_features_from_json(const json_t *json, QemuFeatures *features, Error *error) {
    static const char *const what = "QEMU's features";
    QemuFeatures found = {0};
    const char *binary = NULL;
    uint64_t format = 0;
    int r = json_get_u64(what, json, "format", &format, error);
    if (r == 0 && format != CACHE_FORMAT)
        return error_set(error, ERROR_USAGE, EINVAL, "QEMU's features are of another format");
    if (r == 0)
        r = json_get_string(what, json, "binary", &binary, error);
    if (r == 0)
        r = json_get_u64(what, json, "size_bytes", &found.size_bytes, error);
    if (r == 0)
        r = json_get_u64(what, json, "mtime_nsec", &found.mtime_nsec, error);
    if (r == 0)
        r = read_text(json, "sha256", found.sha256, sizeof(found.sha256), error);
    if (r == 0)
        r = read_text(json, "version", found.version, sizeof(found.version), error);
    if (r == 0)
        r = read_switches(json, &found, error);
    if (r < 0)
        return r;
    found.binary = str_copy(binary);
    *features = found;
    return 0;
}

/* The cache */

static int load_cache(int folder_fd, const char *binary, QemuFeatures *features) {
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ char *text = NULL;
    QemuFeatures found = {0};
    size_t size;
    int r = fd_read_file_at(folder_fd, CACHE_NAME, 64 * KIB, &text, &size);
    if (r == 0)
        r = json_parse("the cache", text, size, &json, NULL);
    if (r == 0)
        r = qemu_features_from_json(json, &found, NULL);
    if (r < 0)
        return r;
    if (!qemu_features_fit(&found, binary)) {
        qemu_features_free(&found);
        return -ESTALE;
    }
    *features = found;
    return 0;
}

int qemu_features_cached(const char *folder, const char *binary, uint64_t deadline_usec,
                         QemuFeatures *features, Error *error) {
    _cleanup_close_ int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_json_ json_t *json = NULL;
    _cleanup_free_ char *text = NULL;
    int r;
    if (load_cache(folder_fd, binary, features) == 0)
        return 0;
    r = qemu_probe_features(binary, deadline_usec, features, error);
    if (r < 0)
        return r;
    json = qemu_features_to_json(features);
    text = json_to_text(json);
    (void)path_write_atomic_at(folder_fd, CACHE_NAME, text, strlen(text), 0600);
    return 0;
}
