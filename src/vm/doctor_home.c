/* SPDX-License-Identifier: Apache-2.0 */

/* The doctor of an open home: finds the leftovers that only the store can tell from what is in use.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "vm/doctor.h"
#include "vm/internal.h"

static bool has_row(const VmRow *rows, size_t count, const char *id) {
    for (size_t i = 0; i < count; i++)
        if (str_equal(rows[i].id, id))
            return true;
    return false;
}

static void list_folders(Ramet *ramet, StrList *names) {
    int copy = openat(ramet->vms_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
static void find_stray_folders(Ramet *ramet, const StrList *names, const VmRow *rows, size_t count,
                               StrList *strays) {
    for (size_t i = 0; i < names->count; i++)
        if (!has_row(rows, count, names->items[i]) &&
            faccessat(ramet->vms_fd, names->items[i], F_OK, 0) == 0)
            strlist_add(strays, names->items[i]);
}

static void find_stray_vms(const VmRow *rows, size_t count, StrList *strays) {
    for (size_t i = 0; i < count; i++) {
        ProcessIdentity keeper = row_process(&rows[i], "keeper");

        if (str_equal(rows[i].state, STATE_RUNNING) && process_signal(&keeper, 0) == -ESRCH)
            strlist_add(strays, rows[i].name);
    }
}

int ramet_doctor(Ramet *ramet, json_t **json, Error *error) {
    char *helper[] = {ramet->keeper, (char *)"--probe-kvm", NULL};
    _cleanup_(doctor_report_free_p) DoctorReport *report = NULL;
    _cleanup_(strlist_free) StrList names = {0}, folders = {0}, vms = {0};
    _cleanup_free_ char *library = path_find_sibling(ZYGOTE_LIBRARY);
    DoctorInput input = {.home = ramet->home,
                         .qemu = ramet->qemu,
                         .accel_helper = helper,
                         .zygote_library = ramet->use_zygote ? library : NULL,
                         .daemon_runs = true};
    VmRow *rows = NULL;
    size_t count = 0;
    int r;

    list_folders(ramet, &names);
    r = vms_list(ramet->store, &rows, &count, error);
    if (r < 0)
        return r;
    find_stray_folders(ramet, &names, rows, count, &folders);
    find_stray_vms(rows, count, &vms);
    vm_rows_free(rows, count);
    input.accel = ramet->accel ? ramet->accel : getenv("RAMET_ACCEL");
    input.stray_folders = &folders;
    input.stray_vms = &vms;
    doctor_run(&input, &report);
    *json = doctor_report_to_json(report);
    return 0;
}
