/* SPDX-License-Identifier: Apache-2.0 */

#include "run/interrupted_save.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "frozen/layers.h"
#include "home/home.h"
#include "home/inside.h"
#include "home/row.h"
#include "store/vms.h"

/* Is the file that the VM writes to the new overlay? */
static bool has_switched(Home *home, const VmRow *row, const json_t *status) {
    const json_t *disk = json_array_get(json_object_get(status, "disks"), 0);
    _cleanup_close_ int dir_fd = -1;
    struct stat info;
    if (!status)
        return layer_freezing_has_content(home, row);
    if (vm_folder_open(home, row->id, &dir_fd, NULL) < 0 ||
        fstatat(dir_fd, row->runtime.root.freezing.file, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    return json_integer_value(json_object_get(disk, "inode")) == (json_int_t)info.st_ino;
}

int run_recover_save(Home *home, VmRow *row, const json_t *status, bool *go_on_paused,
                     Error *error) {
    int r = 0;
    if (layer_is_freezing(row))
        r = layer_freeze_recover(home, row, has_switched(home, row, status), error);
    if (row->runtime.standing_by) {
        *go_on_paused = status && row->state == STATE_RUNNING;
        row->runtime.standing_by = false;
        if (r >= 0)
            r = vms_update(home->store, row, error);
    }
    return r;
}
