/* SPDX-License-Identifier: Apache-2.0 */
#include "frozen/uefi_firmware.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/str.h"
#include "frozen/stamp.h"

/* Of the file as it was last seen. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards these */
static FileStamp known;
static char digest[SHA256_HEX_SIZE];

static bool is_known(const FileStamp *stamp) {
    return known.inode && known.inode == stamp->inode && known.size == stamp->size &&
           known.mtime_ns == stamp->mtime_ns;
}

char *uefi_firmware_digest(void) {
    _cleanup_close_ int fd = open(UEFI_CODE, O_RDONLY | O_CLOEXEC);
    FileStamp stamp;
    if (fd < 0 || stamp_make(fd, &stamp, NULL) < 0)
        return NULL;
    (void)pthread_mutex_lock(&mutex);
    int r = is_known(&stamp) ? 0 : sha256_file(fd, digest, NULL);
    known = stamp;
    if (r < 0)
        known.inode = 0; /* unknown */
    char *found = r < 0 ? NULL : str_copy(digest);
    (void)pthread_mutex_unlock(&mutex);
    return found;
}
