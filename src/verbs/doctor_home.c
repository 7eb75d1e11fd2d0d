/* SPDX-License-Identifier: Apache-2.0 */

/* The doctor of an open home: finds the leftovers that only the store can tell from what is in use.
 */

#include "verbs/doctor_home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/process.h"
#include "base/str.h"
#include "home/home.h"
#include "home/inside.h"
#include "store/vms.h"
#include "verbs/doctor.h"
#include "verbs/doctor_checks.h"
#include "zygote/client.h"

static bool has_row(const VmRow *rows, size_t count, const char *id) {
    for (size_t i = 0; i < count; i++)
        if (str_equal(rows[i].id, id))
            return true;
    return false;
}

static void list_folders(Home *home, StrList *names) {
    int copy = openat(home->vms_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;
    if (!folder) {
        (void)fd_close(copy);
        return;
    }
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            strlist_add(names, entry->d_name);
    (void)closedir(folder);
}

/* The folders were listed before the rows: one that is being made has its row by now. One that was
 * being removed is gone by now. */
static void find_stray_folders(Home *home, const StrList *names, const VmRow *rows, size_t count,
                               StrList *strays) {
    for (size_t i = 0; i < names->count; i++)
        if (!has_row(rows, count, names->items[i]) &&
            faccessat(home->vms_fd, names->items[i], F_OK, 0) == 0)
            strlist_add(strays, names->items[i]);
}

static void find_stray_vms(const VmRow *rows, size_t count, StrList *strays) {
    for (size_t i = 0; i < count; i++) {
        ProcessIdentity keeper = rows[i].runtime.keeper;
        if (rows[i].state == STATE_RUNNING && process_signal(&keeper, 0) == -ESRCH)
            strlist_add(strays, rows[i].name);
    }
}

int home_doctor(Home *home, json_t **json, Error *error) {
    char *helper[] = {home->keeper, (char *)"--probe-kvm", NULL};
    _cleanup_(doctor_report_free_p) DoctorReport *report = NULL;
    _cleanup_(strlist_free) StrList names = {0}, folders = {0}, vms = {0};
    _cleanup_free_ char *library = path_find_sibling(ZYGOTE_LIBRARY);
    DoctorInput input = {.home = home->path,
                         .qemu = home->qemu,
                         .accel_helper = helper,
                         .zygote_library = home->use_zygote ? library : NULL,
                         .cgroup = home->cgroup,
                         .daemon_runs = true};
    VmRow *rows = NULL;
    size_t count = 0;
    int r;
    list_folders(home, &names);
    r = vms_list(home->store, &rows, &count, error);
    if (r < 0)
        return r;
    find_stray_folders(home, &names, rows, count, &folders);
    find_stray_vms(rows, count, &vms);
    vm_rows_free(rows, count);
    input.accel = home->accel ? home->accel : getenv("RAMET_ACCEL");
    input.stray_folders = &folders;
    input.stray_vms = &vms;
    doctor_run(&input, &report);
    *json = doctor_report_to_json(report);
    return 0;
}
