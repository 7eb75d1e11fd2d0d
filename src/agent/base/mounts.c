/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/base/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void mounts_free(Mounts *mounts) {
    free(mounts->list);
    *mounts = (Mounts){0};
}

/* The kernel writes blanks and backslashes as three octal digits. */
static void unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in; out++) {
        if (in[0] == '\\' && in[1] && in[2] && in[3]) {
            *out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = '\0';
}

static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* "36 35 98:0 / /mnt rw,noatime shared:1 - ext3 /dev/root rw,errors=continue" (proc(5)) */
static bool parse_line(char *line, Mount *mount) {
    char *dash = strstr(line, " - "), *words[6], *after[3];
    if (!dash)
        return false;
    *dash = '\0';
    dash += 3;
    for (size_t i = 0; i < 6; i++)
        if (!(words[i] = strsep(&line, " ")))
            return false;
    for (size_t i = 0; i < 3; i++)
        if (!(after[i] = strsep(&dash, " \n")))
            return false;
    char *colon = strchr(words[2], ':');
    mount->major = (unsigned)strtoul(words[2], NULL, 10);
    mount->minor = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
    unescape(words[4]);
    unescape(after[1]);
    copy_text(mount->folder, sizeof(mount->folder), words[4]);
    copy_text(mount->type, sizeof(mount->type), after[0]);
    copy_text(mount->source, sizeof(mount->source), after[1]);
    mount->read_only = has_word(words[5], "ro") || has_word(after[2], "ro");
    mount->on_disk =
        strncmp(mount->source, "/dev/", 5) == 0 && strcmp(mount->type, "devtmpfs") != 0;
    return true;
}

static int add_mount(Mounts *mounts, const Mount *mount) {
    if (mounts->n % 16 == 0) {
        Mount *list = realloc(mounts->list, (mounts->n + 16) * sizeof(*list));
        if (!list)
            return -ENOMEM;
        mounts->list = list;
    }
    mounts->list[mounts->n++] = *mount;
    return 0;
}

int mounts_read(Mounts *mounts) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    _cleanup_free_ char *line = NULL;
    size_t room = 0;
    Mounts found = {0};
    Mount mount;
    int r = 0;
    if (!file)
        return -errno;
    while (r == 0 && getline(&line, &room, file) > 0)
        if (parse_line(line, &mount))
            r = add_mount(&found, &mount);
    (void)fclose(file);
    if (r < 0)
        mounts_free(&found);
    else
        *mounts = found;
    return r;
}
