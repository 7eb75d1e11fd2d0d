/* SPDX-License-Identifier: Apache-2.0 */
/* Forks, and then runs a command in each clone. One clone's command is run as `ramet exec` does it;
 * for several see fork_each.h. With --rm and a command the clones live with a stream of this
 * process, so they go when it dies, too. */

#include <errno.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/fork_each.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/spec.h"
#include "cli/verb_rows.h"
#include "proto/api/own_stream.h"

static int run_in_one(const Args *args, const json_t *vm, Error *error) {
    const char *id = json_string_value(json_object_get(vm, "id"));
    Command command = {.interactive = args_flag(args, "interactive"),
                       .tty = args_flag(args, "tty")};
    _cleanup_json_ json_t *request = command_request(args, args->command, &command);
    _cleanup_close_ int fd = -1;
    int r = client_upgrade(API_VM_EXEC, id, request, &fd, error);
    return r < 0 ? r : command_run(fd, &command, NULL, error);
}

static void add_number(json_t *request, const char *key, const Args *args, const char *option) {
    if (args_given(args, option))
        json_object_set_new(request, key, json_integer((json_int_t)args_number(args, option, 0)));
}

static void add_text(json_t *request, const char *option, const Args *args) {
    if (args_text(args, option))
        json_object_set_new(request, option, json_string(args_text(args, option)));
}

static json_t *make_request(const Args *args) {
    json_t *request = json_pack("{s:s, s:I, s:b}", "source", args->operands[0], "count",
                                (json_int_t)args_number(args, "count", 1), "keep_going",
                                args_flag(args, "keep-going"));
    if (args_text(args, "name"))
        json_object_set_new(request, "name", json_string(args_text(args, "name")));
    if (args_flag(args, "clone-volumes"))
        json_object_set_new(request, "clone_volumes", json_true());
    add_number(request, "disk_bytes", args, "disk");
    add_number(request, "memory_bytes", args, "memory");
    add_number(request, "cpus", args, "cpus");
    spec_add_networks(request, args);
    add_text(request, "hostname", args);
    spec_add_forwards(request, args);
    if (args_given(args, "label"))
        json_object_set_new(request, "labels", args_labels(args, "label"));
    policy_from_args(args, request);
    limits_from_args(args, request);
    wait_from_args(args, request);
    if (args_flag(args, "rm"))
        json_object_set_new(request, "remove", json_true());
    return request;
}

/* ---- clones of this process ---- */

typedef struct Owned {
    Progress progress;
    json_t *errors; /* owned: of clones that did not get ready */
} Owned;

static int on_event(void *data, const json_t *event) {
    Owned *owned = data;
    if (!str_equal(json_string_value(json_object_get(event, "event")), "clone_failed"))
        return progress_event(&owned->progress, event);
    (void)json_array_append(owned->errors, (json_t *)event);
    return 0;
}

/* The stream told their ids; the rest is asked for. */
static int look_at_all(const json_t *told, json_t **vms, Error *error) {
    _cleanup_json_ json_t *list = json_array();
    const json_t *item;
    size_t i;
    int r = 0;
    json_array_foreach(told, i, item) {
        const char *id = json_string_value(json_object_get(item, "id"));
        json_t *vm = NULL;
        if (r >= 0)
            r = client_call(API_VM_INSPECT, id ? id : "", NULL, NULL, &vm, error);
        if (vm)
            (void)json_array_append_new(list, vm);
    }
    if (r >= 0)
        *vms = TAKE_PTR(list);
    return r;
}

/* The answer as without a stream. */
static int fork_owned(const json_t *request, int *stream, json_t **answer, Error *error) {
    _cleanup_json_ json_t *ready = NULL, *errors = json_array(), *vms = NULL;
    _cleanup_close_ int fd = -1;
    Owned owned = {.errors = errors};
    int r = client_upgrade(API_FORK, NULL, request, &fd, error);
    if (r < 0)
        return r;
    progress_start(&owned.progress);
    r = own_stream_await(fd, on_event, &owned, &ready, error);
    progress_end(&owned.progress);
    if (r >= 0)
        r = look_at_all(json_object_get(ready, "vms"), &vms, error);
    if (r < 0)
        return r;
    *answer = json_pack("{s:O, s:O}", "vms", vms, "errors", errors);
    *stream = TAKE_FD(fd);
    return 0;
}

static void remove_all(const json_t *vms) {
    const json_t *vm;
    size_t i;
    json_array_foreach(vms, i, vm) {
        const char *id = json_string_value(json_object_get(vm, "id"));
        _cleanup_error_ Error error = ERROR_INIT;
        if (client_call(API_VM_REMOVE, id ? id : "", "force=1", NULL, NULL, &error) < 0 &&
            error.kind != ERROR_NOT_FOUND)
            output_error(&error);
    }
}

/* Clones that did not get ready, with --keep-going. */
static int tell_errors(const json_t *answer) {
    const json_t *errors = json_object_get(answer, "errors"), *item;
    size_t i;
    json_array_foreach(errors, i, item) {
        const json_t *error = json_object_get(item, "error");
        const char *message = json_string_value(json_object_get(error, "message"));
        output_note("%s: %s", json_string_value(json_object_get(item, "name")),
                    message ? message : "it did not get ready");
    }
    return json_array_size(errors) > 0 ? 1 : 0;
}

/* One clone that nobody counted is a VM, several are a list. */
static int print_vms(const Args *args, const json_t *vms, Error *error) {
    const json_t *vm;
    size_t i;
    int r = 0;
    if (args->json)
        return output_json(args_given(args, "count") ? vms : json_array_get(vms, 0), error);
    json_array_foreach(vms, i, vm) {
        if (r >= 0)
            r = output_line(json_string_value(json_object_get(vm, "name")), error);
    }
    return r;
}

static int run_in_all(const Args *args, const json_t *answer, char **summary, Error *error) {
    const json_t *vms = json_object_get(answer, "vms");
    if (args_number(args, "count", 1) == 1 && !args->json)
        return run_in_one(args, json_array_get(vms, 0), error);
    return fork_each_run(args, vms, json_object_get(answer, "errors"), summary, error);
}

static int check_tty(const Args *args, Error *error) {
    if (args_number(args, "count", 1) == 1 || !args_flag(args, "tty"))
        return 0;
    error_set(error, ERROR_USAGE, EINVAL,
              "fork: --tty is for one VM, since several cannot share a terminal");
    error_set_hint(error, "leave out -t, and see ramet shell for a terminal in one of them");
    return -EINVAL;
}

static int fork_run(const Args *args, Error *error) {
    _cleanup_json_ json_t *request = make_request(args), *answer = NULL;
    _cleanup_free_ char *summary = NULL;
    _cleanup_close_ int stream = -1;
    bool owned = args_flag(args, "rm") && args->n_command > 0;
    const json_t *vms;
    int status, r = spec_add_config_disk(request, args, error);
    if (r >= 0)
        r = owned ? fork_owned(request, &stream, &answer, error)
                  : client_call(API_FORK, NULL, NULL, request, &answer, error);
    if (r < 0)
        return r;
    vms = json_object_get(answer, "vms");
    status = tell_errors(answer);
    if (args->n_command == 0)
        r = print_vms(args, vms, error);
    else
        r = run_in_all(args, answer, &summary, error);
    if (owned)
        remove_all(vms);
    if (summary && args_number(args, "count", 1) > 1)
        (void)fprintf(stderr, "%s\n", summary);
    return r != 0 ? r : status;
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the VM, or NAME-1 ... NAME-N; made up when absent"},
    {'n', "count", ARG_NUMBER, "COUNT", .min = 1, .max = 1024, .help = "how many (default 1)"},
    {0, "clone-volumes", ARG_FLAG,
     .help = "of volumes that SOURCE writes to it has a copy, as they are then"},
    CONFIG_DISK_OPTION("a raw file or a folder in place of the source's config disk"),
    {0, "keep-going", ARG_FLAG, .help = "keep those that get ready when others do not"},
    {0, "disk", ARG_SIZE, .help = "size of the disk, at least the source's", .min = MIB,
     .max = API_DISK_MAX},
    {'m', "memory", ARG_SIZE, .min = MIB, .max = API_MEMORY_MAX, .aliases = "mem|ram",
     .help = "memory, where SOURCE is a VM that is stopped, or a snapshot of one"},
    {'c', "cpus", ARG_NUMBER, .min = 1, .max = API_CPUS_MAX, .aliases = "cpu|vcpus",
     .help = "virtual CPUs, where SOURCE is a VM that is stopped, or a snapshot of one"},
    {0, "network", ARG_NETWORK, .many = true, .aliases = "net",
     .help = "user[,allow-host], none or NAME[,ip=ADDRESS][,mac=MAC], for each card; the source's "
             "when absent"},
    {'p', "publish", ARG_FORWARD, .many = true, .aliases = "port|ports",
     .help = "lead a port of this host to the VM; 0:GUEST any free one, also for several VMs"},
    {0, "hostname", ARG_TEXT, .help = "host name in the VM; made of its name when absent"},
    {'l', "label", ARG_LABEL, .many = true, .help = "label, beside those of the source"},
    LIMIT_OPTIONS,
    POLICY_OPTIONS,
    WAIT_OPTIONS,
    {'i', "interactive", ARG_FLAG, .help = "pass standard input on to the command"},
    {'t', "tty", ARG_FLAG, .help = "give the command a terminal"},
    {'e', "env", ARG_ENV, .many = true,
     .help = "variable for the command; K alone takes the caller's value"},
    {'d', "detach", ARG_FLAG, .help = "do nothing more once they are ready, as without CMD"},
    {0, "rm", ARG_FLAG, .help = "remove the VMs at the end of CMD, or else once they stop"},
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"SOURCE", ARG_FORK_SOURCE, "name or id of a snapshot, or of a VM", 1, 1},
    {"CMD", ARG_COMMAND, "program and arguments to run in each VM", 0, MANY},
    {.name = NULL},
};

const Verb verb_fork = {
    .name = "fork",
    .aliases = "clone",
    .summary = "make VMs that grow from a snapshot or from a VM",
    .options = options,
    .operands = operands,
    .description =
        "Makes COUNT VMs that go on where SOURCE was frozen, each with an identity of its own, and "
        "prints their names once all of them are ready. When one does not get ready none is left, "
        "unless --keep-going is given. A SOURCE that is a VM is frozen first, and runs on; that "
        "snapshot goes by itself when nothing grows from it any more. A snapshot of that name is "
        "taken before a VM.\n"
        "\n"
        "A clone has the memory, CPUs, disk, network, limits and labels of its source, but none of "
        "its "
        "ports. The options change that. Memory and CPUs are part of what is frozen while a VM "
        "runs; a VM that is stopped has none frozen, and its clones boot with what they are "
        "given. --network puts a clone into other networks than its source, or none; a source "
        "that had no network cannot be given one. In a network with a name each clone has an "
        "address of its own. --config-disk is for a SOURCE that has such a disk; without it its "
        "clones read the same.\n"
        "\n"
        "With CMD it runs in each of them; with more than one VM the name stands before each "
        "line, the exit status is the first that is not 0, and when one is not, a last line on "
        "standard error says which failed: 3 of 4 ok; ci-3 exited 3. With --interactive each CMD "
        "reads a copy of standard input, as fast as the slowest takes it; --tty is for one VM. "
        "With --rm the VMs are gone when this program has ended, whatever ended it. "
        "With --json the document is the "
        "VM, or with --count a list of them; with CMD a list of {\"name\",\"exit_status\","
        "\"stdout\",\"stderr\",\"vm\"}.",
    .examples = "ramet fork ready\n"
                "ramet fork web1 --name test -n 8 -- hostname",
    .flags = VERB_JSON | VERB_COMMAND_STATUS,
    .check = check_tty,
    .run = fork_run,
};
