/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu/preload.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

#define MAPS_MAX_BYTES (1u << 20)

/* The one whose symbols are looked for most often comes first. */
static const char *const wanted[] = {"libcrypto.so.", "libc.so.", "libglib-2.0.so."};

/* "libglib-2.0.so.0.7400.6" is the file, "libglib-2.0.so.0" what the linker knows it by. */
static size_t soname_length(const char *file, const char *prefix) {
    return strlen(prefix) + strspn(file + strlen(prefix), "0123456789");
}

static void add(const char *file, const char *prefix, char preload[QEMU_PRELOAD_SIZE]) {
    size_t used = strlen(preload);

    (void)snprintf(preload + used, QEMU_PRELOAD_SIZE - used, "%s%.*s", used ? " " : "",
                   (int)soname_length(file, prefix), file);
}

static const char *find_file(const char *maps, const char *prefix) {
    _cleanup_free_ char *name = str_format("/%s", prefix);
    const char *found = strstr(maps, name);

    return found ? found + 1 : NULL;
}

void qemu_preload_read(const char *maps, char preload[QEMU_PRELOAD_SIZE]) {
    preload[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const char *file = find_file(maps, wanted[i]);

        if (file)
            add(file, wanted[i], preload);
    }
}

void qemu_preload_find(pid_t pid, char preload[QEMU_PRELOAD_SIZE]) {
    _cleanup_free_ char *path = str_format("/proc/%d/maps", (int)pid), *maps = NULL;
    size_t size;

    preload[0] = '\0';
    if (fd_read_file_at(AT_FDCWD, path, MAPS_MAX_BYTES, &maps, &size) == 0)
        qemu_preload_read(maps, preload);
}
