/* SPDX-License-Identifier: Apache-2.0 */

/* smaps is one head line a mapping ("START-END rwxp OFFSET DEVICE INODE NAME") and lines of figures
 * below it. Private_Dirty are the pages that nobody else has; SwapPss those of them that were
 * swapped out. Of the guest's RAM, which lies over a memfd, these would be also the memfd's own
 * pages that no other process has touched yet; there the anonymous pages are those that it wrote.
 * QEMU is no guest, but runs on for one: the text is bounded all the same. */

#include "machine/look/memory_use.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

#define SMAPS_MAX (16 * MIB)
#define ROLLUP_MAX (64 * KIB)

/* Where the pages of this mapping are counted. */
static uint64_t *find_counter(const char *head, ino_t ram_inode, MemoryUse *use) {
    unsigned long long inode = 0;
    char permissions[5] = "";
    if (sscanf(head, "%*x-%*x %4s %*x %*s %llu", permissions, &inode) != 2)
        return NULL;
    if (inode != 0 && inode == ram_inode)
        return &use->guest_bytes;
    return inode == 0 && permissions[1] == 'w' && permissions[2] == 'x' ? &use->code_bytes
                                                                        : &use->qemu_bytes;
}

static void parse_line(const char *line, ino_t ram_inode, MemoryUse *use, uint64_t **counter) {
    const char *own =
        *counter == &use->guest_bytes ? "Anonymous: %llu kB" : "Private_Dirty: %llu kB";
    unsigned long long kib;
    if (line[0] < 'A' || line[0] > 'Z')
        *counter = find_counter(line, ram_inode, use);
    else if (*counter &&
             (sscanf(line, own, &kib) == 1 || /* NOLINT(clang-diagnostic-format-nonliteral) */
              sscanf(line, "SwapPss: %llu kB", &kib) == 1))
        **counter += kib * KIB;
}

void memory_use_parse(const char *smaps, ino_t ram_inode, MemoryUse *use) {
    uint64_t *counter = NULL;
    *use = (MemoryUse){0};
    for (const char *line = smaps; *line; line++) {
        parse_line(line, ram_inode, use, &counter);
        line = strchrnul(line, '\n');
        if (!*line)
            break;
    }
}

int memory_use_read(pid_t pid, ino_t ram_inode, MemoryUse *use) {
    _cleanup_free_ char *path = str_format("/proc/%d/smaps", (int)pid), *text = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, path, SMAPS_MAX, &text, &size);
    if (r < 0)
        return r;
    memory_use_parse(text, ram_inode, use);
    return 0;
}

int memory_share_parse(const char *rollup, MemoryShare *share) {
    unsigned long long resident = 0, anonymous = 0, swapped = 0;
    unsigned found = 0;
    for (const char *line = rollup; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        found += (unsigned)(sscanf(line, "Rss: %llu kB", &resident) == 1);
        found += (unsigned)(sscanf(line, "Pss_Anon: %llu kB", &anonymous) == 1);
        (void)sscanf(line, "SwapPss: %llu kB", &swapped);
    }
    if (found < 2)
        return -ENODATA;
    share->private_bytes = (anonymous + swapped) * KIB;
    share->shared_bytes = resident > anonymous ? (resident - anonymous) * KIB : 0;
    return 0;
}

int memory_share_read(pid_t pid, MemoryShare *share) {
    _cleanup_free_ char *path = str_format("/proc/%d/smaps_rollup", (int)pid), *text = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, path, ROLLUP_MAX, &text, &size);
    return r < 0 ? r : memory_share_parse(text, share);
}
