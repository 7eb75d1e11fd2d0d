/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "keeper/keeper.h"
#include "memory/ram.h"

/* The agent's mailbox (AgentMailbox). Its address is what a guest once said, so nothing but a page
 * of that guest's own memory is read or written; and only a page with the marker, which a snapshot
 * keeps, is the mailbox. */

/* QEMU, hw/i386/microvm.c: memory beyond 3 GiB begins at 4 GiB. */
#define HOLE_START (3 * GIB)
#define HOLE_END (4 * GIB)

static uint64_t to_offset(uint64_t physical) {
    return physical < HOLE_END ? physical : physical - (HOLE_END - HOLE_START);
}

static bool is_mailbox(const Keeper *keeper, const GuestRam *ram, uint64_t offset, Error *error) {
    uint8_t marker[AGENT_MARKER_SIZE];
    return guest_ram_read(ram, offset + offsetof(AgentMailbox, marker), marker, sizeof marker,
                          error) == 0 &&
           memcmp(marker, keeper->plan.marker, sizeof marker) == 0;
}

static int put(Keeper *keeper, const GuestRam *ram, uint64_t offset, Error *error) {
    size_t size;
    const uint8_t *bytes = link_output(&keeper->link, &size);
    uint32_t number = htole32((uint32_t)size);
    int r = guest_ram_write(ram, offset + offsetof(AgentMailbox, bytes), bytes, size, error);
    if (r == 0)
        r = guest_ram_write(ram, offset + offsetof(AgentMailbox, size), &number, sizeof number,
                            error);
    if (r == 0)
        link_output_taken(&keeper->link, size);
    return r;
}

int mailbox_post(Keeper *keeper, const GuestRam *ram, Error *error) {
    _cleanup_error_ Error missing = ERROR_INIT;
    uint64_t offset = to_offset(keeper->plan.mailbox);
    size_t size;
    (void)link_output(&keeper->link, &size);
    if (size <= sizeof((AgentMailbox *)0)->bytes && is_mailbox(keeper, ram, offset, &missing))
        return put(keeper, ram, offset, error);
    log_warning("the agent's mailbox is not where it was; it is greeted over the port");
    port_flush(keeper);
    return 0;
}
