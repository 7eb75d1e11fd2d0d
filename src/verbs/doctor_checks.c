/* SPDX-License-Identifier: Apache-2.0 */

#include "verbs/doctor_checks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/process/empty_network.h"
#include "base/str.h"
#include "disk/sparse.h"

void doctor_check_set(DoctorCheck *check, DoctorStatus status, char *found, char *mend) {
    free(check->found);
    free(check->mend);
    check->status = status;
    check->found = found;
    check->mend = mend;
}

#define MEMORY_LEAST (512 * MIB) /* QEMU, keeper and a small guest */
#define DISK_LEAST (1 * GIB)     /* below: nothing works for long */
#define DISK_GOOD (8 * GIB)      /* a Debian image, its build and some VMs */

/* Tools and what to install for them on Debian */

typedef struct Tool {
    const char *program, *package, *what;
    bool root_does_without;
} Tool;

static const Tool tools[] = {
    {"mke2fs", "e2fsprogs", "making disks of root file systems", false},
    {"debugfs", "e2fsprogs", "making the same disk each time", false},
    {"fakeroot", "fakeroot", "disks with files of several owners", true},
    {"mmdebstrap", "mmdebstrap", "image build --from debian", false},
    {"newuidmap", "uidmap", "image build --from debian, for this user", true},
    {"dpkg-deb", "dpkg", "unpacking kernel packages", false},
    {"apt-get", "apt", "fetching kernel packages", false},
    {"depmod", "kmod", "ordering kernel modules", false},
    {"busybox", "busybox-static", "image build --from busybox", false},
};

void doctor_check_tools(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_(strbuf_free) StrBuf missing = {0}, packages = {0};
    (void)input;
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
        _cleanup_free_ char *path = path_find_program(tools[i].program);
        if (path || (tools[i].root_does_without && geteuid() == 0))
            continue;
        strbuf_add_format(&missing, "%s%s (%s)", missing.size ? ", " : "", tools[i].program,
                          tools[i].what);
        if (!packages.data || !str_has_suffix(packages.data, tools[i].package))
            strbuf_add_format(&packages, " %s", tools[i].package);
    }
    if (missing.size)
        doctor_check_set(check, DOCTOR_WARNING, str_format("missing: %s", missing.data),
                         str_format("apt-get install%s", packages.data));
    else
        doctor_check_set(check, DOCTOR_OK, str_copy("all there"), NULL);
}

/* QEMU's network */

/* A thread has a network of its own when it wants one, and takes it along. */
static void *try_empty_network(void *data) {
    *(int *)data = empty_network_enter();
    return NULL;
}

void doctor_check_namespace(const DoctorInput *input, DoctorCheck *check) {
    pthread_t thread;
    int r = -EAGAIN;
    (void)input;
    if (pthread_create(&thread, NULL, try_empty_network, &r) == 0)
        (void)pthread_join(thread, NULL);
    if (r == 0)
        doctor_check_set(check, DOCTOR_OK,
                         str_copy("QEMUs and keepers are in an empty network namespace"), NULL);
    else
        doctor_check_set(check, DOCTOR_INFO,
                         str_format("QEMUs and keepers are in the host's network namespace, though "
                                    "they use nothing of it: there can be no other (%s)",
                                    strerror(-r)),
                         str_copy("run the daemon as root, with CAP_SYS_ADMIN in a container"));
}

/* Home */

void doctor_check_file_system(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_error_ Error error = ERROR_INIT;
    bool reflink = false;
    if (reflink_probe(input->home, &reflink, &error) < 0)
        doctor_check_set(check, DOCTOR_ERROR, str_copy(error_message(&error)),
                         str_format("look at the file system of %s", input->home));
    else if (reflink)
        doctor_check_set(check, DOCTOR_OK, str_copy("reflinks work"), NULL);
    else
        doctor_check_set(check, DOCTOR_INFO,
                         str_copy("no reflinks: copies are sparse, but take time and room"),
                         str_copy("put the home on XFS or Btrfs"));
}

void doctor_check_disk(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_free_ char *room = NULL;
    DoctorStatus status = DOCTOR_OK;
    struct statvfs fs;
    uint64_t free_bytes;
    if (statvfs(input->home, &fs) < 0) {
        doctor_check_set(check, DOCTOR_ERROR,
                         str_format("cannot look at %s: %s", input->home, strerror(errno)), NULL);
        return;
    }
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    room = format_size(MAX_OF(free_bytes, (uint64_t)1));
    if (free_bytes < DISK_GOOD)
        status = free_bytes < DISK_LEAST ? DOCTOR_ERROR : DOCTOR_WARNING;
    doctor_check_set(check, status, str_format("%s free in %s", room, input->home),
                     status == DOCTOR_OK
                         ? NULL
                         : str_copy("remove images and VMs, or set RAMET_HOME to a bigger disk"));
}

void doctor_check_socket(const DoctorInput *input, DoctorCheck *check) {
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
           length = strlen(input->home) + strlen("/ramet.sock");
    if (length <= most)
        doctor_check_set(check, DOCTOR_OK, str_format("%zu of %zu bytes", length, most), NULL);
    else
        doctor_check_set(
            check, DOCTOR_WARNING,
            str_format("%zu bytes, and %zu fit: ramet itself copes, other clients do not", length,
                       most),
            str_copy("set RAMET_HOME to a shorter path"));
}

/* Memory */

int meminfo_find_bytes(const char *text, const char *key, uint64_t *bytes) {
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        unsigned long long kib;
        if (strncmp(line, key, length) != 0 || line[length] != ':')
            continue;
        if (sscanf(line + length + 1, " %llu kB", &kib) != 1)
            return -EBADMSG;
        *bytes = (uint64_t)kib * KIB;
        return 0;
    }
    return -ENOENT;
}

void doctor_check_memory(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_free_ char *text = NULL, *available_text = NULL, *total_text = NULL;
    uint64_t available = 0, total = 0;
    bool little;
    (void)input;
    if (fd_read_file_at(AT_FDCWD, "/proc/meminfo", 64 * KIB, &text, NULL) < 0 ||
        meminfo_find_bytes(text, "MemAvailable", &available) < 0 ||
        meminfo_find_bytes(text, "MemTotal", &total) < 0) {
        doctor_check_set(check, DOCTOR_WARNING, str_copy("/proc/meminfo does not tell"), NULL);
        return;
    }
    little = available < MEMORY_LEAST;
    available_text = format_size(MAX_OF(available, (uint64_t)1));
    total_text = format_size(MAX_OF(total, (uint64_t)1));
    doctor_check_set(check, little ? DOCTOR_WARNING : DOCTOR_OK,
                     str_format("%s available of %s", available_text, total_text),
                     little ? str_copy("stop some VMs, or give them less with --memory") : NULL);
}

/* Leftovers */

static size_t count_entries(const char *home, const char *name) {
    _cleanup_free_ char *path = path_join(home, name);
    DIR *folder = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    if (!folder)
        return 0;
    while ((entry = readdir(folder)))
        count += entry->d_name[0] != '.' || (entry->d_name[1] && !str_equal(entry->d_name, ".."));
    (void)closedir(folder);
    return count;
}

static void add_list(StrBuf *text, const char *what, const StrList *list) {
    for (size_t i = 0; list && i < list->count && i < 8; i++)
        strbuf_add_format(text, "%s%s", i ? ", " : what, list->items[i]);
    if (list && list->count > 8)
        strbuf_add_format(text, " and %zu more", list->count - 8);
    if (list && list->count)
        strbuf_add_text(text, "; ");
}

void doctor_check_leftovers(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_(strbuf_free) StrBuf found = {0};
    size_t scratch = count_entries(input->home, "tmp");
    add_list(&found, "folders of no VM: ", input->stray_folders);
    add_list(&found, "VMs that should run and have no keeper: ", input->stray_vms);
    if (found.size) {
        found.data[found.size - 2] = '\0';
        doctor_check_set(
            check, DOCTOR_WARNING, strbuf_steal(&found),
            str_copy("ramet daemon stop; the next command starts it again and it cleans up"));
    } else if (scratch)
        doctor_check_set(check, DOCTOR_INFO,
                         str_format("%zu scratch %s in tmp/%s", scratch,
                                    scratch == 1 ? "entry" : "entries",
                                    input->daemon_runs ? ", perhaps in use" : ""),
                         str_copy("a start of the daemon empties it"));
    else
        doctor_check_set(check, DOCTOR_OK, str_copy("none"), NULL);
}
