/* SPDX-License-Identifier: Apache-2.0 */
/* What each operation's request may have. */

#include "proto/api/api_fields.h"

#include "base/str.h"

#define PATH_BYTES 4096
#define WORDS_MAX 262144 /* one byte and a pointer each in 2 MiB: more than execve(2) takes */
#define ENV_MAX 65536
#define LAB_LINE_MAX 65536
#define FLAG(name_, in_, summary_) \
    { .name = (name_), .type = API_BOOL, .in = (in_), .summary = (summary_) }
#define TEXT(name_, max_, summary_) \
    { .name = (name_), .type = API_TEXT, .max = (max_), .summary = (summary_) }
#define BYTES(name_, max_, summary_) \
    { .name = (name_), .type = API_BYTES, .max = (max_), .summary = (summary_) }
#define NUMBER(name_, min_, max_, summary_) \
    { .name = (name_), .type = API_NUMBER, .min = (min_), .max = (max_), .summary = (summary_) }
#define TEXTS(name_, max_, summary_) \
    { .name = (name_), .type = API_TEXTS, .max = (max_), .summary = (summary_) }
#define NAME(summary_) \
    { .name = "name", .type = API_NAME, .summary = (summary_) }
#define REQUIRED_NAME(summary_) \
    { .name = "name", .type = API_NAME, .required = true, .summary = (summary_) }
#define REQUIRED_TEXT(name_, max_, summary_)                                          \
    {                                                                                 \
        .name = (name_), .type = API_TEXT, .required = true, .min = 1, .max = (max_), \
        .summary = (summary_)                                                         \
    }
#define CHOICE(name_, max_, choices_, summary_)                                  \
    {                                                                            \
        .name = (name_), .type = API_TEXT, .max = (max_), .choices = (choices_), \
        .summary = (summary_)                                                    \
    }
#define QUERY_PATH(summary_)                                                               \
    {                                                                                      \
        .name = "path", .type = API_BYTES, .in = API_IN_QUERY, .required = true, .min = 1, \
        .max = PATH_BYTES, .summary = (summary_)                                           \
    }
#define REPLACE FLAG("replace", API_IN_BODY, "take the name from another image that has it")
#define LABELS                                           \
    {                                                    \
        .name = "labels", .type = API_LABELS, .max = 64, \
        .summary = "labels, by which VMs can be chosen"  \
    }
#define FORWARDS                                              \
    {                                                         \
        .name = "forwards", .type = API_FORWARDS, .max = 64,  \
        .summary = "ports of the host that lead to the guest" \
    }
#define NETWORKS_MAX 4
#define NETWORKS                                                                      \
    TEXT("network", 255,                                                              \
         "the only network: user[,allow-host], none or NAME[,ip=ADDRESS][,mac=MAC]"), \
        TEXTS("networks", NETWORKS_MAX,                                               \
              "several of them, the card eth0 first, in place of network")
#define END \
    { .name = NULL }

const ApiField api_events_fields[] = {
    {.name = "since",
     .type = API_NUMBER,
     .in = API_IN_QUERY,
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
    CHOICE("protocol", 3, "tcp|udp", "tcp when absent"),
    END,
};

const ApiField api_image_build_fields[] = {
    REQUIRED_NAME("name of the image"),
    REQUIRED_TEXT("from", 64, "recipe: busybox, debian or debian:SUITE"),
    TEXTS("include", 512, "more packages"),
    TEXTS("seeds", 7, "DIR:PATH: a folder of which each VM of the image has a disk at PATH"),
    NUMBER("size", 1, API_DISK_MAX, "size of the disk in bytes"),
    BYTES("kernel", PATH_BYTES, "kernel image to use instead of the distribution's"),
    BYTES("modules", PATH_BYTES, "folder of that kernel's modules"),
    REPLACE,
    END,
};

const ApiField api_image_recipe_fields[] = {
    REQUIRED_NAME("name of the image"),
    {.name = "recipe_bytes",
     .type = API_NUMBER,
     .required = true,
     .min = 1,
     .max = 4 << 20,
     .summary = "length of the recipe, as JSON, at the end of the body; before it are the archives "
                "of its copies, one after the other (docs/recipes.md)"},
    {.name = "keep",
     .type = API_NAME,
     .summary = "a VM of this name stays when a step fails: the one in which it failed"},
    FLAG("replace", API_IN_BODY, "take the name from an image that no recipe made, too"),
    END,
};

const ApiField api_image_tag_fields[] = {
    REQUIRED_NAME("one more name"),
    REPLACE,
    END,
};

const ApiField api_image_import_fields[] = {
    NAME("name of the image; an archive that ramet exported has one"),
    BYTES("path", PATH_BYTES, "file on the daemon's host; absent when the body is the file"),
    TEXT("sha256", 64, "expected SHA-256 of the file"),
    BYTES("kernel", PATH_BYTES, "kernel image to use"),
    BYTES("modules", PATH_BYTES, "folder of that kernel's modules"),
    NUMBER("size", 1, API_DISK_MAX, "size of the disk in bytes, when the file holds a tree"),
    TEXT("format", 32,
         "what the file must be: raw, qcow2, vmdk, vhdx or tar; found out when absent"),
    TEXT("boot", 16,
         "what boots it: its own loader by bios or uefi, or a kernel; found out when absent"),
    TEXT("machine", 16, "microvm: the disk's own kernel boots it, without firmware"),
    REPLACE,
    END,
};

const ApiField api_image_pull_fields[] = {
    REQUIRED_TEXT("reference", 1024,
                  "docker://[HOST[:PORT]/]PATH[:TAG][@sha256:HEX], oci:FOLDER[:TAG], "
                  "oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME[:TAG]]"),
    NAME("name of the image; the last part of its path when absent"),
    TEXT("platform", 100, "OS/ARCH[/VARIANT]; linux/amd64 when absent"),
    FLAG("insecure", API_IN_BODY, "a registry that speaks http, or that nobody vouches for"),
    BYTES("authfile", PATH_BYTES, "file with credentials, as skopeo and podman keep them"),
    BYTES("kernel", PATH_BYTES, "kernel image to use"),
    BYTES("modules", PATH_BYTES, "folder of that kernel's modules"),
    NUMBER("size", 1, API_DISK_MAX, "size of the disk in bytes"),
    REPLACE,
    END,
};

/* What is waited for beyond a ready VM. */
#define WAIT_FIELDS                                                                  \
    TEXT("wait_for", 1023, "a shell's line that has to succeed in the guest first"), \
        NUMBER("wait_timeout_s", 1, 86400, "how long it is tried; 300 when absent")

#define NET_LIMIT                                                                   \
    TEXT("net_limit", 127,                                                          \
         "of each card in a network: in=10M,out=10M (bits a second),packets=5k (a " \
         "second, each way),connections=100 (to outside, at a time)")

/* Of what it may use of the host; of update too. */
#define LIMIT_FIELDS                                                                    \
    TEXT("cpu_limit", 16, "CPUs that its processes may use, such as 0.5; 0: no limit"), \
        TEXT("memory_limit", 16, "memory of its processes, such as 1G; 0: no limit"),   \
        NUMBER("pids_limit", 0, INT32_MAX, "threads of its processes; 0: no limit"),    \
        TEXT("io_limit", 127, "of each disk, a second: bytes=10M,ops=500; 0: no limit")

#define CONFIG_DISK                  \
    BYTES("config_disk", PATH_BYTES, \
          "file or folder on the daemon's host of which it has a disk that it reads")

/* What a VM is asked to be, wherever it is asked for. */
#define VM_FIELDS                                                                                \
    REQUIRED_TEXT("image", 255, "name or digest of the image"),                                  \
        NUMBER("memory_bytes", 1, API_MEMORY_MAX, "memory of the guest"),                        \
        NUMBER("cpus", 1, API_CPUS_MAX, "virtual CPUs"),                                         \
        NUMBER("disk_bytes", 1, API_DISK_MAX, "size of the disk, at least the image's"),         \
        TEXTS("seeds", 7, "NAME:PATH[:SIZE]: a disk of its own over the seed, mounted there"),   \
        TEXTS("volumes", 7, "NAME:PATH[:ro]: the volume, mounted there"), CONFIG_DISK, NETWORKS, \
        NET_LIMIT, FORWARDS, TEXTS("env", ENV_MAX, "K=V for commands in the guest"),             \
        TEXTS("ssh_keys", 3000, "public keys of those who may log in, beside the home's"),       \
        TEXT("hostname", 63, "host name in the guest; made of the name when absent"), LABELS,    \
        WAIT_FIELDS, FLAG("router", API_IN_BODY, "it passes on what others of its networks send")

/* What happens to a VM by itself. */
#define POLICY_FIELDS                                                                    \
    NUMBER("ttl_ms", 0, API_MSEC_MAX, "it is stopped after so long; 0: never"),          \
        TEXT("restart", 32, "start it again after its end: no, always, on-failure[:N]"), \
        NUMBER("idle_standby_ms", 0, API_MSEC_MAX,                                       \
               "it goes to standby when it was idle for so long; 0: never")

/* A specification of a VM; API_RUN adds what is to be executed. */
#define SPECIFICATION_FIELDS                                                                       \
    NAME("name of the VM; made up when absent"), VM_FIELDS, LIMIT_FIELDS, POLICY_FIELDS,           \
        FLAG("remove", API_IN_BODY, "remove the VM once it has stopped"),                          \
        TEXTS("entrypoint", WORDS_MAX, "program to run instead of the image's"),                   \
        TEXTS("command", WORDS_MAX, "what follows the entrypoint instead of the image's"),         \
        BYTES("directory", PATH_BYTES, "working directory of commands in the guest"),              \
        BYTES("user", 255, "user of commands in the guest: name or number, optionally :group"),    \
        FLAG("publish_all", API_IN_BODY, "ports that the image serves, to free ones of the host"), \
        TEXT("machine", 16, "microvm: without the firmware and boot loader of its image"),         \
        FLAG("cold", API_IN_BODY, "boot, and do not restore"),                                     \
        FLAG("start", API_IN_BODY, "start it at once (default)")

const ApiField api_vm_create_fields[] = {SPECIFICATION_FIELDS, END};

const ApiField api_run_fields[] = {
    SPECIFICATION_FIELDS,
    {.name = "exec",
     .type = API_EXEC,
     .summary = "the command to run once the VM is ready; without argv the image's program"},
    END,
};

const ApiField api_vm_port_remove_fields[] = {
    {.name = "host_port",
     .type = API_NUMBER,
     .in = API_IN_QUERY,
     .required = true,
     .min = 1,
     .max = 65535,
     .summary = "the host's port"},
    {.name = "protocol",
     .type = API_TEXT,
     .in = API_IN_QUERY,
     .max = 3,
     .choices = "tcp|udp",
     .summary = "tcp when absent"},
    END,
};

const ApiField api_vm_proxy_fields[] = {
    {.name = "port",
     .type = API_NUMBER,
     .required = true,
     .min = 1,
     .max = 65535,
     .summary = "TCP port of the guest"},
    NUMBER("wait_s", 0, 3600,
           "how long it is tried again while nobody listens there; 0 when absent"),
    END,
};

const ApiField api_vm_limit_fields[] = {
    NET_LIMIT,
    END,
};

const ApiField api_vm_rename_fields[] = {
    REQUIRED_NAME("the new name"),
    END,
};

const ApiField api_vm_list_fields[] = {
    FLAG("all", API_IN_QUERY, "also those that do not run"),
    {.name = "filter",
     .type = API_TEXTS,
     .in = API_IN_QUERY,
     .max = 64,
     .summary = "KEY=VALUE, several times: label, name, id, state, image, snapshot"},
    END,
};

const ApiField api_stats_fields[] = {
    {.name = "vm",
     .type = API_TEXTS,
     .in = API_IN_QUERY,
     .max = 1024,
     .summary = "name or id, several times; without any, all that run"},
    {.name = "interval_ms",
     .type = API_NUMBER,
     .in = API_IN_QUERY,
     .max = 60000,
     .summary = "measure the use of the processors over so long; not at all when absent"},
    END,
};

const ApiField api_vm_remove_fields[] = {
    FLAG("force", API_IN_QUERY, "kill it first when it runs"),
    END,
};

const ApiField api_vm_start_fields[] = {
    WAIT_FIELDS,
    FLAG("cold", API_IN_BODY, "boot, and do not restore"),
    END,
};

const ApiField api_vm_stop_fields[] = {
    NUMBER("timeout_s", 0, 86400, "how long the guest may take before it is killed"),
    END,
};

const ApiField api_vm_update_fields[] = {
    POLICY_FIELDS,
    LIMIT_FIELDS,
    NUMBER("snapshot_every_ms", 0, API_MSEC_MAX, "take a snapshot of it so often; 0: none"),
    NUMBER("snapshot_keep", 1, 1000, "so many of those are kept"),
    END,
};

const ApiField api_vm_wait_fields[] = {
    CHOICE("state", 16, "created|starting|running|paused|standby|stopping|stopped|failed",
           "the state to wait for; stopped when absent"),
    FLAG("program", API_IN_BODY, "or that the VM's program has ended"),
    END,
};

const ApiField api_vm_logs_fields[] = {
    FLAG("follow", API_IN_QUERY, "go on with what comes until the VM ends"),
    {.name = "tail",
     .type = API_NUMBER,
     .in = API_IN_QUERY,
     .max = UINT32_MAX,
     .summary = "only the last lines"},
    {.name = "since",
     .type = API_TIME,
     .in = API_IN_QUERY,
     .summary = "from the first line at or after this time on: RFC 3339, or microseconds since "
                "1970; the header Ramet-Note tells when the log does not know its lines' times"},
    END,
};

const ApiField api_vm_exec_fields[] = {
    {.name = "argv",
     .type = API_TEXTS,
     .required = true,
     .min = 1,
     .max = WORDS_MAX,
     .summary = "program and arguments"},
    TEXTS("env", ENV_MAX, "K=V"),
    BYTES("directory", PATH_BYTES, "working directory"),
    BYTES("user", 255, "name or number, optionally :group"),
    FLAG("tty", API_IN_BODY, "give it a terminal"),
    NUMBER("rows", 0, 65535, "of the terminal"),
    NUMBER("columns", 0, 65535, "of the terminal"),
    FLAG("stdin", API_IN_BODY, "the client sends standard input"),
    {.name = "input", .type = API_DATA, .summary = "standard input (without an upgrade)"},
    CHOICE("output", 8, "auto|text|base64",
           "how output becomes JSON (without an upgrade): a string, and base64 for what is no "
           "UTF-8 (auto, the default); always a string, with U+FFFD for what is none; or "
           "always base64"),
    NUMBER("timeout_s", 1, 31536000,
           "end it after so many seconds: TERM, then KILL; its status is 124"),
    FLAG("detach", API_IN_BODY,
         "answer {\"id\"} at once, without an upgrade; the command is waited for later, or never"),
    END,
};

#define DETACHED_ID REQUIRED_TEXT("id", 16, "of the detached command")

const ApiField api_vm_exec_wait_fields[] = {
    DETACHED_ID,
    NUMBER("timeout_s", 0, 31536000, "wait no longer; \"running\" tells then that it goes on"),
    CHOICE("output", 8, "auto|text|base64", "as for the command itself"),
    END,
};

const ApiField api_vm_exec_kill_fields[] = {
    DETACHED_ID,
    NUMBER("signal", 1, 64, "number of the signal; 15 (TERM) when absent"),
    END,
};

const ApiField api_vm_file_fields[] = {
    QUERY_PATH("in the guest"),
    END,
};

const ApiField api_vm_file_write_fields[] = {
    QUERY_PATH("in the guest: the file, or for a tar the folder that it goes into"),
    {.name = "mode",
     .type = API_TEXT,
     .in = API_IN_QUERY,
     .min = 1,
     .max = 5,
     .summary = "permissions of a new file, octal; 0644 when absent"},
    END,
};

const ApiField api_vm_copy_fields[] = {
    {.name = "path",
     .type = API_BYTES,
     .required = true,
     .min = 1,
     .max = PATH_BYTES,
     .summary = "in the guest"},
    NUMBER("flags", 0, UINT32_MAX, "CopyFlags of src/proto/agent.h"),
    END,
};

const ApiField api_fork_fields[] = {
    REQUIRED_TEXT("source", 127, "name or id of a snapshot or a VM"),
    NAME("name of the clone; NAME-1 … NAME-n for several"),
    NUMBER("count", 1, 1024, "how many clones; 1 when absent"),
    FLAG("clone_volumes", API_IN_BODY, "copies of volumes that the source writes to"),
    FLAG("keep_going", API_IN_BODY, "keep those that got ready when others did not"),
    FLAG("remove", API_IN_BODY, "remove each clone once it has stopped"),
    NUMBER("disk_bytes", 1, API_DISK_MAX, "size of the disk, at least the source's"),
    NUMBER("memory_bytes", 1, API_MEMORY_MAX, "memory, where the source has none frozen"),
    NUMBER("cpus", 1, API_CPUS_MAX, "virtual CPUs, where the source has no memory frozen"),
    CONFIG_DISK,
    NETWORKS,
    FORWARDS,
    TEXT("hostname", 63, "host name in the guest, for a single clone"),
    LABELS,
    LIMIT_FIELDS,
    POLICY_FIELDS,
    WAIT_FIELDS,
    END,
};

const ApiField api_lab_network_fields[] = {
    REQUIRED_NAME("what the lab calls it"),
    TEXT("subnet", 18, "its IPv4 addresses, as 10.1.0.0/24; a free block when absent"),
    FLAG("isolated", API_IN_BODY, "its VMs do not reach each other"),
    FLAG("uplink", API_IN_BODY, "they reach what is outside (default)"),
    END,
};

const ApiField api_lab_vm_fields[] = {
    REQUIRED_NAME("what the lab calls it"),
    VM_FIELDS,
    {.name = "run",
     .type = API_TEXT,
     .min = 1,
     .max = LAB_LINE_MAX,
     .summary = "a shell's line, put into the background once all VMs run; without it the image's "
                "program"},
    END,
};

const ApiField api_lab_fork_fields[] = {
    REQUIRED_TEXT("source", 63, "name or id of a lab's snapshot, or of a lab that runs"),
    NAME("name of the copy; NAME-1 … NAME-n for several; made of the source's when absent"),
    NUMBER("count", 1, 64, "how many copies; 1 when absent"),
    FLAG("clone_volumes", API_IN_BODY, "of a lab: copies of volumes that its VMs write to"),
    END,
};

const ApiField api_lab_snapshot_fields[] = {
    REQUIRED_NAME("name of the snapshot"),
    FLAG("clone_volumes", API_IN_BODY, "copies of volumes that its VMs write to"),
    END,
};

const ApiField api_lab_up_fields[] = {
    REQUIRED_NAME("name of the lab"),
    {.name = "networks",
     .type = API_LAB_NETWORKS,
     .max = 64,
     .summary = "the networks between its VMs"},
    {.name = "vms",
     .type = API_LAB_VMS,
     .required = true,
     .min = 1,
     .max = 256,
     .summary = "its VMs; networks are the lab's own, user or none"},
    END,
};

const ApiField api_network_create_fields[] = {
    REQUIRED_NAME("name of the network"),
    TEXT("subnet", 18, "its IPv4 addresses, as 10.1.0.0/24; a free block when absent"),
    CHOICE("backend", 8, "auto|switch|bridge", "what forwards its frames; auto when absent"),
    FLAG("isolated", API_IN_BODY, "its VMs do not reach each other"),
    FLAG("no_uplink", API_IN_BODY, "they reach nothing outside"),
    FLAG("allow_host", API_IN_BODY, "they reach the host's own addresses"),
    NUMBER("taps", 0, 1024, "TAP devices made ahead"),
    END,
};

#define IMPAIR_USEC_MAX 60000000u

const ApiField api_capture_fields[] = {
    TEXT("card", 8, "of a VM, such as eth1; else the first one in a network"),
    END,
};

const ApiField api_impair_fields[] = {
    NUMBER("latency_us", 0, IMPAIR_USEC_MAX, "each frame is late by so much"),
    NUMBER("jitter_us", 0, IMPAIR_USEC_MAX, "and by up to so much more or less"),
    NUMBER("loss_ppm", 0, 1000000, "so many of a million frames are lost"),
    NUMBER("rate_bits", 0, INT64_MAX, "bits a second; 0: as it comes"),
    FLAG("cut", API_IN_BODY, "no frame passes"),
    END,
};

const ApiField api_pool_set_fields[] = {
    REQUIRED_TEXT("source", 63,
                  "name or id of a snapshot or of a lab's snapshot, or name of an image"),
    {.name = "count",
     .type = API_NUMBER,
     .required = true,
     .min = 0,
     .max = 256,
     .summary = "how many clones, or copies of the lab; 0 ends the pool"},
    FLAG("wait", API_IN_BODY, "until all of them are warm"),
    END,
};

const ApiField api_df_fields[] = {
    FLAG("items", API_IN_QUERY, "also each thing by itself"),
    END,
};

const ApiField api_prune_fields[] = {
    FLAG("all", API_IN_BODY, "also what has a name"),
    FLAG("dry_run", API_IN_BODY, "only tell what would go"),
    {.name = "before", .type = API_TIME, .summary = "only what was made before that"},
    NUMBER("keep_bytes", 0, INT64_MAX, "only until what nothing needs takes no more than that"),
    END,
};

const ApiField api_snapshot_export_fields[] = {
    {.name = "since",
     .type = API_TEXT,
     .in = API_IN_QUERY,
     .max = 63,
     .summary = "name or id of a snapshot that the reader has; what that has is left out"},
    END,
};

const ApiField api_snapshot_import_fields[] = {
    NAME("name of the snapshot; that of the archive when absent"),
    BYTES("path", PATH_BYTES, "file on the daemon's host; absent when the body is the file"),
    END,
};

const ApiField api_snapshot_pull_fields[] = {
    REQUIRED_TEXT("reference", 1024,
                  "docker://HOST[:PORT]/PATH[:TAG][@sha256:HEX], or oci:FOLDER[:TAG]"),
    NAME("name of the snapshot; that which it had when absent"),
    FLAG("insecure", API_IN_BODY, "a registry that speaks http, or that nobody vouches for"),
    BYTES("authfile", PATH_BYTES, "file with credentials, as skopeo and podman keep them"),
    END,
};

const ApiField api_snapshot_list_fields[] = {
    FLAG("all", API_IN_QUERY, "also those that belong to standby and to the boot cache"),
    END,
};

const ApiField api_snapshot_remove_fields[] = {
    FLAG("cascade", API_IN_QUERY, "also remove all that grows from it"),
    END,
};

const ApiField api_vm_commit_fields[] = {
    REQUIRED_NAME("name of the image"),
    REPLACE,
    END,
};

const ApiField api_volume_create_fields[] = {
    REQUIRED_NAME("name of the volume"),
    NUMBER("size", 1, API_DISK_MAX, "size in bytes; as what it is made of when absent"),
    TEXT("seed", 127, "name of a seed, whose content it gets"),
    BYTES("from", PATH_BYTES,
          "a raw, qcow2, VMDK or VHDX file on the daemon's host, whose content it gets"),
    END,
};

const ApiField api_volume_export_fields[] = {
    {.name = "path",
     .type = API_BYTES,
     .required = true,
     .min = 1,
     .max = PATH_BYTES,
     .summary = "of the new file on the daemon's host"},
    CHOICE("format", 8, "raw|qcow2", "raw when absent"),
    END,
};

const ApiField api_seed_create_fields[] = {
    REQUIRED_NAME("name of the seed"),
    {.name = "from",
     .type = API_BYTES,
     .required = true,
     .min = 1,
     .max = PATH_BYTES,
     .summary = "folder on the daemon's host"},
    NUMBER("size", 1, API_DISK_MAX, "size of the disk in bytes; by its content when absent"),
    FLAG("replace", API_IN_BODY, "take the name from another seed that has it"),
    END,
};

const ApiField api_vm_snapshot_fields[] = {
    NAME("name of the snapshot; none when absent"),
    CHOICE("compress", 8, "zstd", "store its memory compressed"),
    FLAG("clone_volumes", API_IN_BODY, "copies of volumes that it writes to"),
    END,
};
