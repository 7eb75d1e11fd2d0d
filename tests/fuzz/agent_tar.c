/* SPDX-License-Identifier: Apache-2.0 */
/* Archives from outside, parsed and, when they are small, unpacked into a folder of their own.
 * Nothing may appear beside that folder. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/files/copy.h"
#include "agent/files/tar.h"

static char outer[64], inner[80];

static void remove_tree(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = NULL;
    if (fd >= 0) {
        (void)fchmod(fd, 0700);
        folder = fdopendir(fd);
    }
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(dirfd(folder), entry->d_name);
    if (folder)
        (void)closedir(folder);
    if (unlinkat(parent, name, 0) < 0)
        (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void parse(int fd) {
    static TarReader reader;
    static TarEntry entry;
    Result result = {0};
    tar_reader_init(&reader, fd);
    while (tar_reader_next(&reader, &entry, &result) > 0) {
        const uint8_t *data;
        uint64_t end = 0;
        for (size_t i = 0; i < entry.segments.n; i++) {
            if (entry.segments.list[i].offset < end ||
                entry.segments.list[i].size > entry.size - entry.segments.list[i].offset)
                abort();
            end = entry.segments.list[i].offset + entry.segments.list[i].size;
        }
        while (tar_reader_data(&reader, UINT64_MAX, &data, &result) > 0)
            ;
        tar_entry_free(&entry);
    }
}

static void unpack(int fd) {
    Result result = {0};
    DIR *folder;
    int n = 0;
    (void)mkdir(inner, 0755);
    copy_in_worker(&(CopyRequest){.path = inner}, fd, -1, &result);
    folder = opendir(outer);
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    if (n != 3) /* ".", ".." and the inner one */
        abort();
    remove_tree(AT_FDCWD, inner);
}

static void remove_outer(void) {
    (void)rmdir(outer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!outer[0]) {
        strcpy(outer, "/tmp/ramet-fuzz-tar-XXXXXX");
        if (!mkdtemp(outer))
            abort();
        (void)snprintf(inner, sizeof(inner), "%s/in", outer);
        (void)atexit(remove_outer);
    }
    int fd = memfd_create("archive", MFD_CLOEXEC);

    if (fd < 0 || write_all(fd, data, size) < 0)
        abort();
    (void)lseek(fd, 0, SEEK_SET);
    parse(fd);
    (void)lseek(fd, 0, SEEK_SET);
    unpack(fd);
    (void)close(fd);
    return 0;
}
