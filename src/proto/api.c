/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself and finding a row in it. The rows are sorted by path, and '{' sorts after
 * letters, so a literal segment is met before a template that would match it too. */

#include "proto/api.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "proto/http_client.h"

#define PATH_BYTES 4096
#define FLAG(name_, place_, summary_) \
    { .name = (name_), .type = API_BOOL, .place = (place_), .summary = (summary_) }
#define TEXT(name_, max_, summary_) \
    { .name = (name_), .type = API_TEXT, .max = (max_), .summary = (summary_) }
#define NUMBER(name_, min_, max_, summary_) \
    { .name = (name_), .type = API_NUMBER, .min = (min_), .max = (max_), .summary = (summary_) }
#define TEXTS(name_, max_, summary_) \
    { .name = (name_), .type = API_TEXTS, .max = (max_), .summary = (summary_) }
#define END \
    { .name = NULL }

#define MEMORY_MAX ((uint64_t)4 << 40)
#define DISK_MAX ((uint64_t)1 << 50)

static const ApiField events_fields[] = {
    {.name = "since",
     .type = API_NUMBER,
     .place = API_IN_QUERY,
     .max = INT64_MAX,
     .summary = "only events after the one with this id"},
    FLAG("follow", API_IN_QUERY, "go on with new events until the client leaves"),
    END,
};

const ApiField api_forward_fields[] = {
    TEXT("host_ip", 15, "address of the host; 127.0.0.1 when absent"),
    {.name = "host_port",
     .type = API_NUMBER,
     .required = true,
     .max = 65535,
     .summary = "0: any free one"},
    {.name = "guest_port",
     .type = API_NUMBER,
     .required = true,
     .min = 1,
     .max = 65535,
     .summary = "port in the guest"},
    {.name = "protocol",
     .type = API_TEXT,
     .max = 3,
     .choices = "tcp|udp",
     .summary = "tcp when absent"},
    END,
};

static const ApiField image_build_fields[] = {
    {.name = "name", .type = API_NAME, .required = true, .summary = "name of the image"},
    {.name = "from",
     .type = API_TEXT,
     .required = true,
     .max = 64,
     .min = 1,
     .summary = "recipe: busybox, debian or debian:SUITE"},
    TEXTS("include", 512, "more packages"),
    NUMBER("size", 1, DISK_MAX, "size of the disk in bytes"),
    TEXT("kernel", PATH_BYTES, "kernel image to use instead of the distribution's"),
    TEXT("modules", PATH_BYTES, "folder of that kernel's modules"),
    END,
};

static const ApiField image_import_fields[] = {
    {.name = "name", .type = API_NAME, .required = true, .summary = "name of the image"},
    TEXT("path", PATH_BYTES, "file on the daemon's host; absent when the body is the file"),
    TEXT("sha256", 64, "expected SHA-256 of the file"),
    TEXT("kernel", PATH_BYTES, "kernel image to use"),
    TEXT("modules", PATH_BYTES, "folder of that kernel's modules"),
    NUMBER("size", 1, DISK_MAX, "size of the disk in bytes, when the file holds a tree"),
    TEXT("format", 32, "what the file is; found out when absent"),
    FLAG("defer_digest", API_IN_BODY,
         "answer before the digest is known, where that takes longer than extracting"),
    END,
};

/* A specification of a VM; API_RUN adds what is to be executed. */
#define SPECIFICATION_FIELDS                                                              \
    {.name = "name", .type = API_NAME, .summary = "name of the VM; made up when absent"}, \
        {.name = "image",                                                                 \
         .type = API_TEXT,                                                                \
         .required = true,                                                                \
         .min = 1,                                                                        \
         .max = 255,                                                                      \
         .summary = "name or digest of the image"},                                       \
        NUMBER("memory_bytes", 1, MEMORY_MAX, "memory of the guest"),                     \
        NUMBER("cpus", 1, 255, "virtual CPUs"),                                           \
        NUMBER("disk_bytes", 1, DISK_MAX, "size of the disk, at least the image's"),      \
        {.name = "network",                                                               \
         .type = API_TEXT,                                                                \
         .max = 63,                                                                       \
         .choices = "user|none",                                                          \
         .summary = "user-mode network, or none"},                                        \
        {.name = "forwards",                                                              \
         .type = API_FORWARDS,                                                            \
         .max = 64,                                                                       \
         .summary = "ports of the host that lead to the guest"},                          \
        TEXTS("env", 1024, "K=V for commands in the guest"),                              \
        FLAG("remove", API_IN_BODY, "remove the VM once it has stopped"),                 \
        FLAG("cold", API_IN_BODY, "boot, and do not restore"),                            \
        FLAG("start", API_IN_BODY, "start it at once (default)")

static const ApiField vm_create_fields[] = {SPECIFICATION_FIELDS, END};

static const ApiField run_fields[] = {
    SPECIFICATION_FIELDS,
    {.name = "exec", .type = API_EXEC, .summary = "the command to run once the VM is ready"},
    END,
};

static const ApiField vm_list_fields[] = {
    FLAG("all", API_IN_QUERY, "also those that do not run"),
    END,
};

static const ApiField vm_remove_fields[] = {
    FLAG("force", API_IN_QUERY, "kill it first when it runs"),
    END,
};

static const ApiField vm_start_fields[] = {
    FLAG("cold", API_IN_BODY, "boot, and do not restore"),
    END,
};

static const ApiField vm_stop_fields[] = {
    NUMBER("timeout_s", 0, 86400, "how long the guest may take before it is killed"),
    END,
};

static const ApiField vm_wait_fields[] = {
    {.name = "state",
     .type = API_TEXT,
     .max = 16,
     .choices = "created|starting|running|paused|standby|stopping|stopped|failed",
     .summary = "the state to wait for; stopped when absent"},
    END,
};

static const ApiField vm_logs_fields[] = {
    FLAG("follow", API_IN_QUERY, "go on with what comes until the VM ends"),
    {.name = "tail",
     .type = API_NUMBER,
     .place = API_IN_QUERY,
     .max = UINT32_MAX,
     .summary = "only the last lines"},
    END,
};

static const ApiField vm_exec_fields[] = {
    {.name = "argv",
     .type = API_TEXTS,
     .required = true,
     .min = 1,
     .max = 4096,
     .summary = "program and arguments"},
    TEXTS("env", 1024, "K=V"),
    TEXT("directory", PATH_BYTES, "working directory"),
    TEXT("user", 255, "name or number, optionally :group"),
    FLAG("tty", API_IN_BODY, "give it a terminal"),
    NUMBER("rows", 0, 65535, "of the terminal"),
    NUMBER("columns", 0, 65535, "of the terminal"),
    FLAG("stdin", API_IN_BODY, "the client sends standard input"),
    END,
};

static const ApiField vm_copy_fields[] = {
    {.name = "path",
     .type = API_TEXT,
     .required = true,
     .min = 1,
     .max = PATH_BYTES,
     .summary = "in the guest"},
    NUMBER("flags", 0, UINT32_MAX, "CopyFlags of src/proto/agent.h"),
    END,
};

static const ApiField fork_fields[] = {
    {.name = "source",
     .type = API_TEXT,
     .required = true,
     .min = 1,
     .max = 63,
     .summary = "name or id of a snapshot or a VM"},
    {.name = "name", .type = API_NAME, .summary = "name of the clone; NAME-1 … NAME-n for several"},
    NUMBER("count", 1, 1024, "how many clones; 1 when absent"),
    FLAG("keep_going", API_IN_BODY, "keep those that got ready when others did not"),
    NUMBER("disk_bytes", 1, DISK_MAX, "size of the disk, at least the source's"),
    END,
};

static const ApiField pool_set_fields[] = {
    {.name = "source",
     .type = API_TEXT,
     .required = true,
     .min = 1,
     .max = 63,
     .summary = "name or id of a snapshot, or name of an image"},
    {.name = "count",
     .type = API_NUMBER,
     .required = true,
     .min = 0,
     .max = 256,
     .summary = "how many clones; 0 ends the pool"},
    FLAG("wait", API_IN_BODY, "until all of them are warm"),
    END,
};

static const ApiField snapshot_list_fields[] = {
    FLAG("all", API_IN_QUERY, "also those that belong to standby and to the boot cache"),
    END,
};

static const ApiField snapshot_prove_fields[] = {
    NUMBER("clones", 2, 64, "how many clones; 8 when absent"),
    END,
};

static const ApiField snapshot_remove_fields[] = {
    FLAG("cascade", API_IN_QUERY, "also remove all that grows from it"),
    END,
};

static const ApiField vm_snapshot_fields[] = {
    {.name = "name", .type = API_NAME, .summary = "name of the snapshot; none when absent"},
    {.name = "compress",
     .type = API_TEXT,
     .max = 8,
     .choices = "zstd",
     .summary = "store its memory compressed"},
    END,
};

static const ApiOperation operations[] = {
    {API_DAEMON_STOP, "POST", "/v1/daemon/stop", "daemonStop", "End the daemon; VMs stay", NULL,
     API_ANSWER_JSON, NULL, false, false},
    {API_DOCTOR, "GET", "/v1/doctor", "doctor", "Examine the host", NULL, API_ANSWER_JSON, "Doctor",
     false, false},
    {API_EVENTS, "GET", "/v1/events", "events", "The life of all VMs, one event a line",
     events_fields, API_ANSWER_LINES, "Event", false, false},
    {API_FORK, "POST", "/v1/fork", "fork", "Make VMs that grow from a snapshot or a VM",
     fork_fields, API_ANSWER_JSON, "Fork", true, false},
    {API_IMAGE_LIST, "GET", "/v1/images", "imageList", "All images", NULL, API_ANSWER_JSON,
     "[Image]", false, false},
    {API_IMAGE_BUILD, "POST", "/v1/images/build", "imageBuild", "Build an image from a recipe",
     image_build_fields, API_ANSWER_JSON, "Image", true, false},
    {API_IMAGE_IMPORT, "POST", "/v1/images/import", "imageImport", "Import an image from a file",
     image_import_fields, API_ANSWER_JSON, "Image", true, true},
    {API_IMAGE_REMOVE, "DELETE", "/v1/images/{image}", "imageRemove", "Remove an image", NULL,
     API_ANSWER_JSON, NULL, false, false},
    {API_IMAGE_INSPECT, "GET", "/v1/images/{image}", "imageInspect", "One image", NULL,
     API_ANSWER_JSON, "Image", false, false},
    {API_OPENAPI, "GET", "/v1/openapi.json", "openapi", "This description", NULL, API_ANSWER_JSON,
     NULL, false, false},
    {API_POOL_LIST, "GET", "/v1/pools", "poolList", "All pools of warm clones", NULL,
     API_ANSWER_JSON, "[Pool]", false, false},
    {API_POOL_SET, "POST", "/v1/pools", "poolSet", "Keep so many clones warm", pool_set_fields,
     API_ANSWER_JSON, "Pool", true, false},
    {API_PRUNE, "POST", "/v1/prune", "prune", "Remove what nothing needs", NULL, API_ANSWER_JSON,
     "Prune", true, false},
    {API_RUN, "POST", "/v1/run", "run",
     "Create and start a VM and run a command in it, all on one stream", run_fields,
     API_ANSWER_UPGRADE, NULL, false, false},
    {API_SNAPSHOT_TREE, "GET", "/v1/snapshot-tree", "snapshotTree",
     "Snapshots and the VMs that grow from them", NULL, API_ANSWER_JSON, "[Node]", false, false},
    {API_SNAPSHOT_LIST, "GET", "/v1/snapshots", "snapshotList", "All snapshots",
     snapshot_list_fields, API_ANSWER_JSON, "[Snapshot]", false, false},
    {API_SNAPSHOT_REMOVE, "DELETE", "/v1/snapshots/{snapshot}", "snapshotRemove",
     "Remove a snapshot", snapshot_remove_fields, API_ANSWER_JSON, "Removed", false, false},
    {API_SNAPSHOT_INSPECT, "GET", "/v1/snapshots/{snapshot}", "snapshotInspect", "One snapshot",
     NULL, API_ANSWER_JSON, "Snapshot", false, false},
    {API_SNAPSHOT_PROVE, "POST", "/v1/snapshots/{snapshot}/prove", "snapshotProve",
     "Show on clones that they are distinct and leave the snapshot as it is", snapshot_prove_fields,
     API_ANSWER_JSON, "Proof", true, false},
    {API_SNAPSHOT_VERIFY, "POST", "/v1/snapshots/{snapshot}/verify", "snapshotVerify",
     "Read all that a snapshot stands on", NULL, API_ANSWER_JSON, "Verification", true, false},
    {API_VERSION, "GET", "/v1/version", "version", "Version of the daemon", NULL, API_ANSWER_JSON,
     "Version", false, false},
    {API_VM_LIST, "GET", "/v1/vms", "vmList", "The running VMs", vm_list_fields, API_ANSWER_JSON,
     "[VM]", false, false},
    {API_VM_CREATE, "POST", "/v1/vms", "vmCreate", "Create a VM, and start it unless told not to",
     vm_create_fields, API_ANSWER_JSON, "VM", true, false},
    {API_VM_REMOVE, "DELETE", "/v1/vms/{vm}", "vmRemove", "Remove a VM", vm_remove_fields,
     API_ANSWER_JSON, NULL, false, false},
    {API_VM_INSPECT, "GET", "/v1/vms/{vm}", "vmInspect", "One VM", NULL, API_ANSWER_JSON, "VM",
     false, false},
    {API_VM_COPY_IN, "POST", "/v1/vms/{vm}/copy-in", "vmCopyIn", "Copy a tar stream into the guest",
     vm_copy_fields, API_ANSWER_UPGRADE, NULL, false, false},
    {API_VM_COPY_OUT, "POST", "/v1/vms/{vm}/copy-out", "vmCopyOut",
     "Copy a tar stream out of the guest", vm_copy_fields, API_ANSWER_UPGRADE, NULL, false, false},
    {API_VM_EXEC, "POST", "/v1/vms/{vm}/exec", "vmExec", "Run a command in the guest",
     vm_exec_fields, API_ANSWER_UPGRADE, NULL, false, false},
    {API_VM_KILL, "POST", "/v1/vms/{vm}/kill", "vmKill", "End a VM at once", NULL, API_ANSWER_JSON,
     "VM", true, false},
    {API_VM_LOGS, "GET", "/v1/vms/{vm}/logs", "vmLogs", "What the console printed", vm_logs_fields,
     API_ANSWER_TEXT, NULL, false, false},
    {API_VM_PAUSE, "POST", "/v1/vms/{vm}/pause", "vmPause", "Halt the virtual CPUs", NULL,
     API_ANSWER_JSON, "VM", true, false},
    {API_VM_RESTART, "POST", "/v1/vms/{vm}/restart", "vmRestart", "Stop a VM and start it again",
     vm_start_fields, API_ANSWER_JSON, "VM", true, false},
    {API_VM_RESUME, "POST", "/v1/vms/{vm}/resume", "vmResume",
     "Let a VM in standby go on where it was", NULL, API_ANSWER_JSON, "VM", true, false},
    {API_VM_SNAPSHOT, "POST", "/v1/vms/{vm}/snapshot", "vmSnapshot", "Freeze a VM",
     vm_snapshot_fields, API_ANSWER_JSON, "Snapshot", true, false},
    {API_VM_STAGES, "GET", "/v1/vms/{vm}/stages", "vmStages", "Where the last start's time went",
     NULL, API_ANSWER_JSON, "Stages", false, false},
    {API_VM_STANDBY, "POST", "/v1/vms/{vm}/standby", "vmStandby", "Save a VM and end its process",
     NULL, API_ANSWER_JSON, "VM", true, false},
    {API_VM_START, "POST", "/v1/vms/{vm}/start", "vmStart", "Start a VM", vm_start_fields,
     API_ANSWER_JSON, "VM", true, false},
    {API_VM_STOP, "POST", "/v1/vms/{vm}/stop", "vmStop", "Stop a VM in good order", vm_stop_fields,
     API_ANSWER_JSON, "VM", true, false},
    {API_VM_UNPAUSE, "POST", "/v1/vms/{vm}/unpause", "vmUnpause", "Let the virtual CPUs go on",
     NULL, API_ANSWER_JSON, "VM", true, false},
    {API_VM_WAIT, "POST", "/v1/vms/{vm}/wait", "vmWait", "Wait until a VM is in a state",
     vm_wait_fields, API_ANSWER_JSON, "VM", false, false},
};
_Static_assert(ARRAY_SIZE(operations) == API_ID_COUNT, "one row for each ApiId");

const ApiOperation *api_operation(ApiId id) {
    return &operations[id];
}

/* Does the path fit the template? The argument is copied out when it does. */
static bool path_matches(const char *template, const char *path, char argument[API_ARGUMENT_MAX]) {
    const char *brace = strchr(template, '{'), *rest;
    size_t prefix, length;

    argument[0] = '\0';
    if (!brace)
        return strcmp(template, path) == 0;
    prefix = (size_t)(brace - template);
    if (strncmp(template, path, prefix) != 0)
        return false;
    rest = strchr(brace, '}') + 1;
    length = strcspn(path + prefix, "/");
    if (length == 0 || length >= API_ARGUMENT_MAX || strcmp(path + prefix + length, rest) != 0)
        return false;
    memcpy(argument, path + prefix, length);
    argument[length] = '\0';
    return true;
}

int api_match(const char *method, const char *path, const ApiOperation **operation,
              char argument[API_ARGUMENT_MAX], char allowed[64]) {
    char scratch[API_ARGUMENT_MAX], methods[64] = "";

    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        if (!path_matches(operations[i].path, path, scratch))
            continue;
        if (strcmp(operations[i].method, method) == 0) {
            *operation = &operations[i];
            memcpy(argument, scratch, sizeof(scratch));
            return 0;
        }
        if (strstr(methods, operations[i].method))
            continue;
        if (methods[0])
            strcat(methods, ", ");
        strcat(methods, operations[i].method); /* three short names at most */
    }
    if (!methods[0])
        return -ENOENT;
    memcpy(allowed, methods, sizeof(methods));
    return -EOPNOTSUPP;
}

char *api_path(ApiId id, const char *argument, const char *query) {
    const char *template = operations[id].path;
    const char *brace = strchr(template, '{');
    _cleanup_free_ char *encoded = brace ? http_encode(argument ? argument : "") : NULL;
    _cleanup_(strbuf_free) StrBuf path = {0};

    if (brace) {
        strbuf_add(&path, template, (size_t)(brace - template));
        strbuf_add_text(&path, encoded);
        strbuf_add_text(&path, strchr(brace, '}') + 1);
    } else {
        strbuf_add_text(&path, template);
    }
    if (query && query[0])
        strbuf_add_format(&path, "?%s", query);
    return strbuf_take(&path);
}
