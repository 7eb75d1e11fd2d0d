/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "keeper/keeper.h"
#include "memory/ram.h"

/* The agent's mailbox (AgentMailbox): what the keeper says first and the agent answers at once. Its
 * address is what a guest once said, so nothing but a page of that guest's own memory is read or
 * written; and only a page with the marker, which a snapshot keeps, is the mailbox. */

/* QEMU, hw/i386/microvm.c: memory beyond 3 GiB begins at 4 GiB. */
#define HOLE_START (3 * GIB)
#define HOLE_END (4 * GIB)

#define LOOK_MIN_USEC 100u
#define LOOK_MAX_USEC 20000u
#define WAIT_SHARE 64

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
    uint32_t number = htole32((uint32_t)size), one = htole32(1);
    int r = guest_ram_write(ram, offset + offsetof(AgentMailbox, bytes), bytes, size, error);
    if (r == 0)
        r = guest_ram_write(ram, offset + offsetof(AgentMailbox, wants_answers), &one, sizeof one,
                            error);
    if (r == 0)
        r = guest_ram_write(ram, offset + offsetof(AgentMailbox, size), &number, sizeof number,
                            error);
    if (r == 0)
        link_output_taken(&keeper->link, size);
    return r;
}

/* Answers. The guest can write there what it likes: each byte is taken once, none beyond the page,
 * and the link holds them against its rules as if they had come through the port. */

static bool read_answered(const Keeper *keeper, size_t *answered) {
    const Mailbox *mailbox = &keeper->mailbox;
    uint32_t number;
    if (guest_ram_read(&mailbox->ram, mailbox->offset + offsetof(AgentMailbox, answered), &number,
                       sizeof number, NULL) < 0)
        return false;
    *answered = MIN_OF((size_t)le32toh(number), (size_t)AGENT_MAILBOX_ANSWERS);
    return true;
}

static bool take_part(Keeper *keeper, size_t end) {
    Mailbox *mailbox = &keeper->mailbox;
    uint64_t at = mailbox->offset + offsetof(AgentMailbox, answers) + mailbox->taken;
    size_t room, size;
    uint8_t *space = link_space(&keeper->link, &room);
    size = MIN_OF(room, end - mailbox->taken);
    if (size == 0 || guest_ram_read(&mailbox->ram, at, space, size, NULL) < 0)
        return false;
    mailbox->taken += size;
    link_received(&keeper->link, size);
    return true;
}

void mailbox_take(Keeper *keeper) {
    Mailbox *mailbox = &keeper->mailbox;
    size_t end;
    if (!mailbox->timer || !read_answered(keeper, &end))
        return;
    while (mailbox->taken < end && take_part(keeper, end))
        ;
}

/* An answer is looked for more seldom the longer it takes: a guest that needs a second is not
 * served better by a look each tenth of a millisecond. */
static uint64_t next_look(const Mailbox *mailbox) {
    uint64_t now = clock_monotonic_usec(), waited = now - mailbox->since;
    return now + MIN_OF(MAX_OF(waited / WAIT_SHARE, LOOK_MIN_USEC), LOOK_MAX_USEC);
}

static void on_look(void *data) {
    Keeper *keeper = data;
    mailbox_take(keeper);
    session_finish(keeper); /* as after a read from the port */
    if (start_goes_on(keeper))
        loop_set_timer(keeper->mailbox.timer, next_look(&keeper->mailbox));
    else
        mailbox_stop(keeper);
}

static void look(Keeper *keeper, GuestRam *ram, uint64_t offset) {
    Mailbox *mailbox = &keeper->mailbox;
    *mailbox = (Mailbox){.ram = *ram, .offset = offset, .since = clock_monotonic_usec()};
    *ram = GUEST_RAM_INIT;
    mailbox->timer = loop_add_timer(keeper->loop, next_look(mailbox), on_look, keeper);
}

void mailbox_stop(Keeper *keeper) {
    keeper->mailbox.timer = loop_remove(keeper->mailbox.timer);
    guest_ram_close(&keeper->mailbox.ram);
}

/* The greeting is made here and not before, so that its time is as near as can be. */
int mailbox_post(Keeper *keeper, GuestRam *ram, Error *error) {
    _cleanup_error_ Error missing = ERROR_INIT;
    uint64_t offset = to_offset(keeper->plan.mailbox);
    size_t size;
    int r = wake_greet(keeper, keeper->plan.marker, error);
    if (r < 0)
        return r;
    (void)link_output(&keeper->link, &size);
    if (size > sizeof((AgentMailbox *)0)->bytes || !is_mailbox(keeper, ram, offset, &missing)) {
        log_warning("the agent's mailbox is not where it was; it is greeted over the port");
        port_flush(keeper);
        return 0;
    }
    r = put(keeper, ram, offset, error);
    if (r == 0)
        look(keeper, ram, offset);
    return r;
}
