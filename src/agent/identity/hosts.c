/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity/hosts.h"

#include <string.h>
#include <unistd.h>

#include "agent/identity/bind_cover.h"

#define LINE_MAX_BYTES 80 /* an address, a name of 64 and what is between */
#define NAME_LINE "127.0.1.1\t"

static BindCover hosts_file = {
    .path = "/etc/hosts", .name = "hosts", .mode = 0644, .create = true, .fd = -1};

/* The image's lines: read once, and then a part of what clones start with. */
static char lines[BIND_COVER_MAX - LINE_MAX_BYTES];
static bool known, unfit; /* unfit: too long for us, so it stays as it is */

static void read_lines(void) {
    ssize_t length = read_text(hosts_file.path, lines, sizeof(lines) - 1);
    known = true;
    unfit = length >= (ssize_t)sizeof(lines) - 2;
    if (length <= 0)
        copy_text(lines, sizeof(lines), "127.0.0.1\tlocalhost");
    length = (ssize_t)strlen(lines);
    if (lines[length - 1] != '\n')
        copy_text(lines + length, sizeof(lines) - (size_t)length, "\n");
}

void hosts_prepare(void) {
    if (getpid() == 1 && known && !unfit)
        bind_cover_prepare(&hosts_file);
}

int hosts_set(const char *hostname) {
    char text[BIND_COVER_MAX];
    if (getpid() != 1 || strlen(hostname) > 64)
        return 0;
    if (!known)
        read_lines();
    if (unfit)
        return 0;
    size_t length = strlen(lines);
    copy_text(text, sizeof(text), lines);
    copy_text(text + length, sizeof(text) - length, NAME_LINE);
    length += strlen(NAME_LINE);
    copy_text(text + length, sizeof(text) - length, hostname);
    length += strlen(hostname);
    copy_text(text + length, sizeof(text) - length, "\n");
    return bind_cover_set(&hosts_file, text);
}
