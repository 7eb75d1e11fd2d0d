/* SPDX-License-Identifier: Apache-2.0 */

#include "prove/connections.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define ENDS_MAX 4096
#define ESTABLISHED 1u

typedef struct End {
    size_t vm;
    char address[33], peer[33]; /* as the kernel prints them: only compared */
    unsigned port, peer_port;
} End;

typedef struct Ends {
    End *items; /* owned */
    size_t count;
} Ends;

/* An IPv4 address that an IPv6 socket has is the same as with an IPv4 socket. */
static void read_address(const char *digits, char address[33]) {
    static const char mapped[] = "0000000000000000FFFF0000";
    size_t skip = strncmp(digits, mapped, strlen(mapped)) == 0 ? strlen(mapped) : 0;
    (void)snprintf(address, 33, "%s", digits + skip);
}

/* 127.0.0.0/8 and ::1, as a little-endian machine prints them. */
static bool is_inner(const char *address) {
    return (strlen(address) == 8 && str_equal(address + 6, "7F")) ||
           str_equal(address, "00000000000000000000000001000000");
}

static void add_line(Ends *ends, size_t vm, const char *line) {
    char own[33], peer[33];
    unsigned state;
    End end = {.vm = vm};
    if (sscanf(line, " %*u: %32[0-9A-F]:%x %32[0-9A-F]:%x %x", own, &end.port, peer, &end.peer_port,
               &state) != 5 ||
        state != ESTABLISHED || ends->count == ENDS_MAX)
        return;
    read_address(own, end.address);
    read_address(peer, end.peer);
    if (!is_inner(end.address))
        ends->items[ends->count++] = end;
}

static void add_text(Ends *ends, size_t vm, const char *text) {
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        add_line(ends, vm, line);
}

static bool is_of_vm(const Ends *ends, const char *address) {
    for (size_t i = 0; i < ends->count; i++)
        if (str_equal(ends->items[i].address, address))
            return true;
    return false;
}

static bool has_other_end(const Ends *ends, const End *end) {
    for (size_t i = 0; i < ends->count; i++) {
        const End *other = &ends->items[i];
        if (str_equal(other->address, end->peer) && str_equal(other->peer, end->address) &&
            other->port == end->peer_port && other->peer_port == end->port)
            return true;
    }
    return false;
}

size_t connections_check(const char *const *texts, size_t count, char **broken) {
    Ends ends = {.items = calloc(ENDS_MAX, sizeof(End))};
    size_t whole = 0;
    if (!ends.items)
        abort();
    *broken = NULL;
    for (size_t i = 0; i < count; i++)
        add_text(&ends, i, texts[i]);
    for (size_t i = 0; i < ends.count; i++) {
        const End *end = &ends.items[i];
        if (has_other_end(&ends, end))
            whole++;
        else if (!*broken && is_of_vm(&ends, end->peer))
            *broken = str_format("port %u of VM %zu of the lab is connected to port %u, which does "
                                 "not know of it",
                                 end->port, end->vm + 1, end->peer_port);
    }
    free(ends.items);
    return whole / 2;
}
