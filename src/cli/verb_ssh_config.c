/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/ssh_config.h"
#include "cli/verb_rows.h"
#include "cli/vm_host.h"
#include "proto/paths.h"

static bool is_same_file(const char *a, const char *b) {
    struct stat first, second;
    return a && stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* "ramet" when that is this program; else where it is. The caller owns it. */
static char *find_program(void) {
    _cleanup_free_ char *found = path_find_program("ramet");
    char *own = is_same_file(found, "/proc/self/exe") ? NULL : path_find_sibling("ramet");
    return own ? own : str_copy("ramet");
}

/* What the caller has set, as it is from any folder. The caller owns it. */
static char *variable(const char *name, const char *absolute) {
    return getenv(name) ? str_format("%s=%s", name, absolute) : NULL;
}

static void add_vm(const SshConfig *config, const json_t *vm, StrBuf *out) {
    ssh_config_add_vm(config, json_string_value(json_object_get(vm, "name")),
                      json_string_value(json_object_get(vm, "id")), out);
}

static int add_one(const SshConfig *config, const char *reference, StrBuf *out, Error *error) {
    _cleanup_json_ json_t *vm = NULL;
    int r = client_call(API_VM_INSPECT, reference, NULL, NULL, &vm, error);
    if (r >= 0)
        add_vm(config, vm, out);
    return r;
}

static int add_all(const SshConfig *config, StrBuf *out, Error *error) {
    _cleanup_json_ json_t *vms = NULL;
    const json_t *vm;
    size_t i;
    int r = client_call(API_VM_LIST, NULL, "all=1", NULL, &vms, error);
    if (r < 0)
        return r;
    json_array_foreach(vms, i, vm) add_vm(config, vm, out);
    ssh_config_add_others(config, out);
    return 0;
}

/* "[web1.ramet]:2222" is web1.ramet at another port. The caller owns it. */
static char *host_of(const char *host) {
    size_t size = host[0] == '[' ? strcspn(host + 1, "]") : strlen(host);
    return str_format("%.*s", (int)size, host[0] == '[' ? host + 1 : host);
}

/* What ssh reads as lines of a known_hosts file, under the name that it looks for. Nothing for what
 * is not known: ssh then goes by its other settings. */
static int print_host_key(const char *host, Error *error) {
    _cleanup_free_ char *plain = host_of(host), *name = vm_host_name(plain);
    _cleanup_json_ json_t *vm = NULL;
    const char *key;
    int r = name ? client_call(API_VM_INSPECT, name, NULL, NULL, &vm, error) : -ENOENT;
    if (r < 0) {
        error_clear(error);
        return 0;
    }
    key = json_string_value(json_object_get(vm, "ssh_host_key"));
    if (key)
        (void)printf("%s %s\n", host, key);
    return output_flush(error);
}

static int ssh_config_run(const Args *args, Error *error) {
    _cleanup_(strbuf_free) StrBuf out = {0};
    _cleanup_free_ char *program = find_program(), *home = NULL, *socket = NULL;
    _cleanup_free_ char *home_variable = NULL, *socket_variable = NULL;
    SshConfig config = {.program = program};
    int r;
    if (args_text(args, "host-key"))
        return print_host_key(args_text(args, "host-key"), error);
    r = paths_home(&home, error);
    if (r >= 0)
        r = paths_socket(&socket, error);
    if (r < 0)
        return r;
    config.home = home;
    home_variable = variable("RAMET_HOME", home);
    socket_variable = variable("RAMET_SOCKET", socket);
    config.env[0] = home_variable ? home_variable : socket_variable;
    config.env[1] = home_variable ? socket_variable : NULL;
    r = args->n_operands > 0 ? add_one(&config, args->operands[0], &out, error)
                             : add_all(&config, &out, error);
    if (r < 0)
        return r;
    (void)fwrite(out.data, 1, out.size, stdout);
    return output_flush(error);
}

static const VerbOption options[] = {
    {0, "host-key", ARG_TEXT, "HOST",
     .help = "print HOST's key as a line of a known_hosts file instead; for ssh itself"},
    {.name = NULL},
};

static const VerbOperand operands[] = {
    {"VM", ARG_VM, "name or id of a VM", 0, 1},
    {.name = NULL},
};

const Verb verb_ssh_config = {
    .name = "ssh-config",
    .summary = "print settings by which ssh finds VMs",
    .options = options,
    .operands = operands,
    .description =
        "Prints settings for ssh (ssh_config(5)) by which NAME.ramet is a VM: the one named, or "
        "all, and then those to come as well. ssh, scp, sftp, rsync and editors that work over ssh "
        "reach it by `ramet proxy`, whatever network it has, and none. The VM needs an SSH server; "
        "it lets in whoever has the home's key, which lies in its folder ssh, and those that "
        "--ssh-key of ramet-run(1) named.\n"
        "\n"
        "Ramet gives each VM a host key before its server starts, clones too, and tells ssh which "
        "it is. Where that is not known, since an image was made otherwise, it is taken when it is "
        "seen first, and kept in the home under the VM's id; of a VM that has no block of its own "
        "it is not kept: no network lies between.",
    .examples =
        "ramet ssh-config > ~/.ssh/ramet.conf     # and in ~/.ssh/config: Include ramet.conf\n"
        "ssh web1.ramet\n"
        "scp -r site web1.ramet:/srv",
    .run = ssh_config_run,
};
