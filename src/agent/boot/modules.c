/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/boot/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/base/util.h"

static void load_one(const char *name) {
    char path[512];
    (void)snprintf(path, sizeof(path), "/modules/%s", name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
        agent_log("cannot load module %s: %s", name, strerror(errno));
}

void modules_load(void) {
    char list[8192];
    char *rest = list;
    if (read_text("/modules/order", list, sizeof(list)) < 0)
        return; /* everything is built in */
    for (char *line; (line = strsep(&rest, "\n"));)
        if (line[0] != '\0' && !strchr(line, '/'))
            load_one(line);
}
