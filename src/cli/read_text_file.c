/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/read_text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

/* One byte more than there may be shows that there is too much. */
int read_text_file(const char *name, size_t max, char **text, size_t *size, Error *error) {
    bool standard = str_equal(name, "-");
    _cleanup_close_ int opened = standard ? -1 : open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    _cleanup_free_ char *buffer = malloc(max + 1);
    ssize_t n;
    if (!buffer)
        abort();
    if (!standard && opened < 0)
        return error_set_errno(error, errno, "cannot read %s", name);
    n = fd_read_full(standard ? STDIN_FILENO : opened, buffer, max + 1);
    if (n < 0)
        return error_set_errno(error, (int)-n, "cannot read %s", name);
    *text = TAKE_PTR(buffer);
    *size = (size_t)n;
    return 0;
}
